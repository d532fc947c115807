"""The chart's ``README.md``, ``values.schema.json`` and ``defaults.yaml``, from ``helm/values.yaml`` and its comments.

The comment ``# -- TEXT`` above a value describes it. The type of a value is the type of its default; ``# @schema {…}``
after the description adds what a type cannot express (an enum, a pattern, a bound). The schema refuses unknown keys,
except in values whose default is ``{}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_CHART = Path(__file__).resolve().parents[2] / "helm"
_QUANTITIES = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
_RESOURCES = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"requests": _QUANTITIES, "limits": _QUANTITIES},
}
_DEFAULTS = "# The values of values.yaml, which a template cannot read. `make generate` writes this file.\n"
_DIGEST = {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"}


class Comment(NamedTuple):
    """What stands above a value in ``values.yaml``."""

    text: str
    rule: dict[str, Any]


def comments(text: str) -> Iterator[tuple[str, Comment]]:
    """``(path, comment)`` of every value that has a description, in the order of the file.

    Raises:
        ValueError: a rule is not JSON, or does not stand between a description and its value.
    """
    parents: list[tuple[int, str]] = []
    comment: Comment | None = None
    for line in text.splitlines():
        if found := re.fullmatch(r"\s*# -- (.*)", line):
            comment = Comment(found[1], {})
        elif found := re.fullmatch(r"\s*# @schema (.*)", line):
            if comment is None:
                raise ValueError(f"no description above {line.strip()!r}")
            comment = Comment(comment.text, json.loads(found[1]))
        elif found := re.match(r"( *)([A-Za-z][A-Za-z0-9]*):", line):
            indent, key = len(found[1]), found[2]
            parents = [*(parent for parent in parents if parent[0] < indent), (indent, key)]
            if comment:
                yield ".".join(name for _, name in parents), comment
            comment = None


def files() -> dict[str, str]:
    """Path in the repository to text. Raises ValueError when a comment of ``values.yaml`` is malformed."""
    text = (_CHART / "values.yaml").read_text(encoding="utf-8")
    values, described = yaml.safe_load(text), dict(comments(text))
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", **_schema(values, "", described)}
    return {
        "helm/values.schema.json": json.dumps(schema, indent=2) + "\n",
        "helm/README.md": _readme(values, described),
        "helm/defaults.yaml": _DEFAULTS + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1000),
    }


def _schema(values: dict[str, Any], path: str, described: dict[str, Comment]) -> dict[str, Any]:
    properties = {key: _property(f"{path}{key}", value, described) for key, value in values.items()}
    if not path:
        properties["global"] = {"type": "object", "description": "Values that a parent chart shares; not read"}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _property(path: str, value: Any, described: dict[str, Comment]) -> dict[str, Any]:
    name, comment = path.rpartition(".")[2], described.get(path)
    if name == "resources":
        found: dict[str, Any] = dict(_RESOURCES)
    elif name == "digest":
        found = dict(_DIGEST)
    elif isinstance(value, dict) and value and not _free(path):
        return _schema(value, f"{path}.", described)
    else:
        found = {"type": _type(value)} | (comment.rule if comment else {})
    return found | ({"description": comment.text} if comment else {})


def _free(path: str) -> bool:
    return path.endswith(("annotations", "labels")) and not path.endswith("monitoring.annotations")


def _type(value: Any) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer" if value > 100 else "number"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _readme(values: dict[str, Any], described: dict[str, Comment]) -> str:
    rows = [f"| `{path}` | `{_shown(values, path)}` | {comment.text} |" for path, comment in described.items()]
    table = "\n".join(["| value | default | description |", "|---|---|---|", *rows])
    return (_CHART / "README.md.in").read_text(encoding="utf-8").replace("{{values}}", table)


def _shown(values: dict[str, Any], path: str) -> str:
    value: Any = values
    for key in path.split("."):
        value = value[key]
    return json.dumps(value, separators=(", ", ": ")).replace("|", "\\|")
