"""What a release publishes: every image that the chart names, built from its Dockerfile, scanned and signed first."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = ROOT / ".github" / "workflows"
CHART = yaml.safe_load((ROOT / "helm" / "Chart.yaml").read_text(encoding="utf-8"))
PUBLISH = yaml.safe_load((WORKFLOWS / "publish.yml").read_text(encoding="utf-8"))
JOBS: dict[str, Any] = PUBLISH["jobs"]
BUILT = {f"scot/{path.name.removesuffix('.Dockerfile')}" for path in (ROOT / "docker").glob("*.Dockerfile")}


def step(job: str, name: str) -> int:
    """Where a job uses an action, or runs a command that begins so."""
    (found,) = [
        number
        for number, each in enumerate(JOBS[job]["steps"])
        if each.get("uses", "").startswith(name) or re.search(rf"^{re.escape(name)}", each.get("run", ""), re.M)
    ]
    return found


def test_every_image_of_the_chart_is_built_here() -> None:
    values = yaml.safe_load((ROOT / "helm" / "values.yaml").read_text(encoding="utf-8"))
    named = {
        values["image"]["repository"],
        values["edits"]["image"]["repository"],
        values["web"]["image"]["repository"],
    }
    published = {f"scot/{each['name']}" for each in JOBS["image"]["strategy"]["matrix"]["include"]}
    assert named == BUILT == published
    variants = {each["name"] + each["suffix"] for each in JOBS["image"]["strategy"]["matrix"]["include"]}
    listed = yaml.safe_load(CHART["annotations"]["artifacthub.io/images"])
    assert {each["name"] for each in listed} == variants
    assert {each["image"].partition(":")[2].removesuffix("-cpu") for each in listed} == {CHART["appVersion"]}


def test_an_image_has_its_name_after_it_was_scanned_and_signed() -> None:
    order = [
        step("image", name)
        for name in ("docker/build-push-action", "aquasecurity/trivy-action", "cosign sign", "docker buildx imagetools")
    ]
    assert order == sorted(order)
    build = JOBS["image"]["steps"][order[0]]["with"]
    assert (build["provenance"], build["sbom"], build["push"]) == ("mode=max", True, True)
    assert build["tags"].endswith("-candidate")
    assert JOBS["image"]["steps"][order[1]]["with"]["exit-code"] == "1"


def test_the_chart_comes_after_its_images_and_is_signed() -> None:
    assert JOBS["chart"]["needs"] == "image"
    assert JOBS["image"]["needs"] == "test"
    assert "workflow_call" in yaml.safe_load((WORKFLOWS / "ci.yml").read_text(encoding="utf-8"))[True]  # YAML's "on"
    assert step("chart", "cosign sign") < step("chart", "actions/attest-build-provenance")


def test_permissions_are_what_a_job_needs() -> None:
    assert PUBLISH["permissions"] == {"contents": "read"}
    for job in ("image", "chart"):
        assert JOBS[job]["permissions"] == {"contents": "read", "id-token": "write", "attestations": "write"}


def test_make_builds_the_same_images() -> None:
    done = subprocess.run(["make", "-n", "images"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = re.search(r"for name in (.*?);", done.stdout)
    assert names is not None
    assert {f"scot/{name}" for name in names[1].split()} == BUILT
    assert f"-t scot/search:{CHART['appVersion']}-cpu" in done.stdout
