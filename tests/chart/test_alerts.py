"""The alerts: promtool reads them, each is tested firing and silent, and each has a page that says what to do."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.support.doc_commands import blocks
from tests.support.prometheus import HELM, ROOT, needs_prometheus

ALERTS = HELM / "alerts.yaml"
CASES = ROOT / "tests" / "chart" / "alerts_test.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks"
PAGES = sorted(page.stem for page in RUNBOOKS.glob("*.md") if page.stem != "README")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def cases() -> list[dict[str, Any]]:
    tests: list[dict[str, Any]] = yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]
    return tests


def promtool(*arguments: object) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@needs_prometheus
def test_promtool_accepts_the_rules() -> None:
    assert promtool("check", "rules", "--lint=all", "--lint-fatal", ALERTS) == ""


@needs_prometheus
def test_alerts_fire_when_they_should_and_only_then() -> None:
    assert promtool("test", "rules", CASES) == ""


def test_each_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    assert [case["name"] for case in cases()] == [rule["alert"] for rule in rules()]
    for case in cases():
        early, late = case["promql_expr_test"]
        expression = f'ALERTS{{alertname="{case["name"]}", alertstate="firing"}}'
        assert (early["expr"], late["expr"], early["exp_samples"]) == (expression, expression, [])
        fired = {
            match for sample in late["exp_samples"] for match in re.findall(r'namespace="(\w+)"', sample["labels"])
        }
        inputs = {match for each in case["input_series"] for match in re.findall(r'namespace="(\w+)"', each["series"])}
        assert "bad" in fired
        assert inputs - fired, "a namespace in which all is well"


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_is(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    summary, description = rule["annotations"]["summary"], rule["annotations"]["description"]
    assert len(summary) < 60
    assert description.endswith(".")
    assert rule["annotations"]["runbook"] == f"docs/runbooks/{rule['alert']}.md"
    (case,) = [case for case in cases() if case["name"] == rule["alert"]]
    known = re.findall(r"(\w+)=", case["promql_expr_test"][1]["exp_samples"][0]["labels"])
    assert set(re.findall(r"\$labels\.(\w+)", description)) <= set(known)  # each label that is spoken of is there


def test_alerts_and_runbooks_are_one_to_one() -> None:
    assert sorted(rule["alert"] for rule in rules()) == PAGES


def test_the_list_of_runbooks_says_what_the_rules_say() -> None:
    listed = re.findall(
        r"^\| \[(\w+)\]\(\1\.md\) \| (\w+) \| ([\w ]+) \| (.*) \|$", (RUNBOOKS / "README.md").read_text(), re.M
    )
    assert listed == [
        (r["alert"], r["labels"]["severity"], r.get("for", "at once"), r["annotations"]["summary"]) for r in rules()
    ]


@pytest.mark.parametrize("name", PAGES)
def test_a_runbook_says_what_it_means_where_to_look_and_what_to_do(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    title, meaning, look, do = re.fullmatch(
        r"# (\w+)\n\n(.+?)\n\n## Look\n\n(.+?)\n\n## Do\n\n(.+)", text, re.S
    ).groups()  # type: ignore[union-attr]
    assert title == name
    assert meaning.strip()
    assert list(blocks(look, "bash"))
    assert do.strip()
