"""CONTRIBUTING's table "In two guesses" names files that exist, and no more of them than a change should touch."""

from __future__ import annotations

import re

import pytest

from tests.support.source_imports import ROOT

LIMITS = {
    "a composer network": 2,
    "a filter operator": 3,
    "a field of ComposeSearchRequest": 3,
    "how queries are batched": 1,
    "an aspect of edits": 2,
    "a benchmark": 2,
    "a metric with its panel": 3,
    "how the page looks": 1,
    "how images are decoded": 1,
    "a value of the chart": 2,
    "a serving setting": 1,
}


def table() -> dict[str, list[str]]:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## In two guesses")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", section, re.M)
    return {change: re.findall(r"`([^`]+)`", files) for change, files in rows if "`" in files}


def test_the_table_has_every_kind_of_change() -> None:
    assert table().keys() == LIMITS.keys()


@pytest.mark.parametrize(("change", "limit"), LIMITS.items())
def test_the_files_of_a_change(change: str, limit: int) -> None:
    files = table()[change]
    assert 1 <= len(files) <= limit
    assert [file for file in files if not (ROOT / file).is_file()] == []
