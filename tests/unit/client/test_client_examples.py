"""What the examples in docs/clients.md name is in the contract, and their service config is our client's."""

from __future__ import annotations

import json
import re
from pathlib import Path

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


def example(kind: str) -> str:
    (found,) = blocks(PAGE, kind)
    return str(found)


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


def json_of(javascript: str) -> object:
    """A literal of plain keys as JSON, with what is computed as null."""
    text = re.sub(r"fs\.readFileSync\([^)]*\)", "null", javascript)
    return json.loads(re.sub(r",(\s*[}\]])", r"\1", re.sub(r"(\w+):", r'"\1":', text)))


def test_node_names_fields_and_methods_of_the_contract() -> None:
    script = example("js")
    literals = [re.search(r"const request = (\{.*?\n\});", script, re.S), *re.finditer(r"\.write\((\{.*\})\)", script)]
    assert len(literals) == 3
    for literal in literals:
        assert literal is not None
        request = json_of(literal[1])
        assert unknown_keys(request, MESSAGES["ComposeSearchRequest"], "ComposeSearchRequest") == []
    assert set(re.findall(r"client\.(\w+)\(", script)) <= SERVICES["SearchService"]
    hit = {camel(field.name) for field in MESSAGES["Hit"].fields}
    answer = {camel(field.name) for field in MESSAGES["ComposeSearchResponse"].fields}
    assert set(re.findall(r"\bhit\.(\w+)", script)) <= hit
    assert set(re.findall(r"\b(?:answer|response)\.(\w+)", script)) <= answer
    for path in re.findall(r'"(scot/v1/\w+\.proto)"', script):
        assert (ROOT / "protos" / path).exists()
    config = re.search(r"const serviceConfig = (\{.*?\n\});", script, re.S)
    assert config is not None
    text = re.sub(r"(?<=[{\s])(\w+):(?= )", r'"\1":', config[1])
    assert json.loads(re.sub(r",(\s*[}\]])", r"\1", text))["methodConfig"] == OURS


def test_go_names_fields_and_methods_of_the_contract() -> None:
    script = example("go")
    for client, method in re.findall(r"scot\.New(\w+)Client\(\w+\)\.(\w+)\(", script):
        assert method in SERVICES[client]
    types = set(re.findall(r"\bscot\.([A-Z]\w*)", script)) - {f"New{name}Client" for name in SERVICES}
    fields = {camel("_" + field.name) for message in MESSAGES.values() for field in message.fields}
    oneofs = {camel("_" + oneof.name) for message in MESSAGES.values() for oneof in message.oneofs}
    for name in types:
        message, _, member = name.partition("_")
        assert message in MESSAGES
        assert not member or member in {camel("_" + field.name) for field in MESSAGES[message].fields}
    assert set(re.findall(r"(?<=[{\t ])([A-Z]\w*):", script)) <= fields | oneofs
    assert set(re.findall(r"\.Get(\w+)\(\)", script)) <= fields
    config = re.search(r"serviceConfig = `(.*?)`", script, re.S)
    assert config is not None
    assert json.loads(config[1])["methodConfig"] == OURS


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
