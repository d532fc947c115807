"""The code in docs/clients.md and docs/http.md is that of examples/, whose service config is our client's.

tests/examples runs the programs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor

from scot.channels import SEARCH_OPTIONS
from scot.v1 import index_pb2, search_pb2
from tests.support.doc_commands import blocks

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
MESSAGES: dict[str, Descriptor] = {
    name: message for file in (search_pb2, index_pb2) for name, message in file.DESCRIPTOR.message_types_by_name.items()
}
SERVICES = {
    name: {method.name for method in service.methods}
    for file in (search_pb2, index_pb2)
    for name, service in file.DESCRIPTOR.services_by_name.items()
}
OURS = json.loads(dict(SEARCH_OPTIONS)["grpc.service_config"])["methodConfig"]


def parts(page: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each run of lines that a page shows of a program: the program is the last one linked before it, … is a cut."""
    text = page.read_text(encoding="utf-8")
    for block in re.finditer(r"^```(?:python|js|go)\n(.*?)^```", text, re.M | re.S):
        linked = re.findall(r"\]\(\.\./(examples/[^)]+\.(?:py|js|go|html))\)", text[: block.start()])
        assert linked, f"{page.name} shows code before it links a program"
        yield from (
            (ROOT / linked[-1], part.splitlines()) for part in re.split(r"^\n?(?:#|//) …\n", block[1], flags=re.M)
        )


def stands_in(lines: list[str], program: list[str]) -> bool:
    """Whether the lines follow each other in the program, all indented by as much more."""
    for start in range(len(program) - len(lines) + 1):
        indent = re.match(r"\s*", program[start])
        assert indent is not None
        if [indent[0] + line if line else "" for line in lines] == program[start : start + len(lines)]:
            return True
    return False


@pytest.mark.parametrize("name", ["clients.md", "http.md"])
def test_a_page_shows_what_the_programs_do(name: str) -> None:
    shown = list(parts(ROOT / "docs" / name))
    assert shown
    for program, lines in shown:
        assert stands_in(lines, program.read_text(encoding="utf-8").splitlines()), (program.name, lines)


def test_a_line_that_differs_is_found() -> None:
    program = ["def f():", "    a = 1", "", "    return a"]
    assert stands_in(["a = 1", "", "return a"], program)
    assert not stands_in(["a = 2", "", "return a"], program)
    assert not stands_in(["a = 1", "return a"], program)


def test_nodes_service_config_is_ours() -> None:
    script = (ROOT / "examples" / "node" / "grpc.js").read_text(encoding="utf-8")
    config = re.search(r"const serviceConfig = (\{.*?\n\});", script, re.S)
    assert config is not None
    text = re.sub(r"(?<=[{\s])(\w+):(?= )", r'"\1":', config[1])
    assert json.loads(re.sub(r",(\s*[}\]])", r"\1", text))["methodConfig"] == OURS


def test_gos_service_config_is_ours() -> None:
    script = (ROOT / "examples" / "go" / "main.go").read_text(encoding="utf-8")
    config = re.search(r"serviceConfig = `(.*?)`", script, re.S)
    assert config is not None
    assert json.loads(config[1])["methodConfig"] == OURS


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def unknown_keys(value: object, message: Descriptor, name: str) -> list[str]:
    """The keys of a JSON-like request that its message has not, under either spelling."""
    if isinstance(value, list):
        return [key for each in value for key in unknown_keys(each, message, name)]
    if not isinstance(value, dict):
        return []
    fields = {spelling: field for field in message.fields for spelling in (field.name, camel(field.name))}
    found = [f"{name}.{key}" for key in value if key not in fields]
    for key, inner in value.items():
        if key in fields and fields[key].message_type is not None:
            found += unknown_keys(inner, fields[key].message_type, fields[key].message_type.name)
    return found


def test_grpcurl_names_fields_and_methods_of_the_contract() -> None:
    script = "".join(blocks(PAGE, "bash"))
    for message in re.findall(r"describe scot\.v1\.(\w+)", script):
        assert message in MESSAGES
    called = re.findall(r"-d '(.*?)' \S+ scot\.v1\.(\w+)/(\w+)", script)
    assert called
    for body, service, method in called:
        assert method in SERVICES[service]
        assert unknown_keys(json.loads(body), MESSAGES[f"{method}Request"], method) == []


def test_an_unknown_field_would_be_told() -> None:
    request = {"edits": [{"txt": "a"}], "filter": {"must": [{"range": {"most": 1}}]}, "lmit": 1}
    unknown = ["ComposeSearchRequest.lmit", "Edit.txt", "Range.most"]
    assert sorted(unknown_keys(request, MESSAGES["ComposeSearchRequest"], "ComposeSearchRequest")) == unknown
