"""The dashboards as Grafana's own types read them (grafana-foundation-sdk, generated from Grafana's schemas)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.support.prometheus import DASHBOARDS

register_default_plugins()


def read(dashboard: dict[str, Any]) -> dict[str, Any]:
    """What is left of a dashboard when the types of its schema have read it: fields that those do not have are lost."""
    found: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(dashboard)))
    return found


def lost(ours: object, theirs: object, path: str = "") -> Iterator[str]:
    """The fields of ours that theirs has not, or has with another value."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            yield from lost(value, theirs[key], f"{path}.{key}") if key in theirs else [f"{path}.{key}"]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(our, their, f"{path}[{number}]")
    elif ours != theirs:
        yield f"{path}: {ours!r} is {theirs!r}"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_grafana_knows_every_field(path: Path) -> None:
    ours = json.loads(path.read_text(encoding="utf-8"))
    assert list(lost(ours, read(ours))) == []


def test_a_field_that_grafana_does_not_know_is_found() -> None:
    ours = json.loads(DASHBOARDS[0].read_text(encoding="utf-8"))
    panel = next(each for each in ours["panels"] if each["type"] == "timeseries")
    panel["options"]["legend"]["placment"] = "right"
    panel["fieldConfig"]["defaults"]["units"] = "s"
    found = list(lost(ours, read(ours)))
    assert {each.rpartition(".")[2] for each in found} == {"units", "placment"}
