"""Which tests one worker of ``make test`` runs: what is listed is there, and Ray runs once at a time."""

from __future__ import annotations

import inspect
import re

import pytest
from xdist.scheduler import LoadFileScheduling

from tests.support.distribution import TOGETHER, WITHOUT_RAY, FilesTogether, share
from tests.support.source_imports import ROOT

STARTS_RAY = re.compile(r"ray_session|ray\.init|scot_serve\(|services\.search\.local|cli\.main")


def test_the_scheduler_asks_the_hook_that_it_has() -> None:
    assert "_split_scope(nodeid)" in inspect.getsource(LoadFileScheduling.schedule)
    scheduler = FilesTogether.__new__(FilesTogether)
    assert scheduler._split_scope("tests/unit/data/test_images.py::test_one[a::b]") == "tests/unit/data/test_images.py"


@pytest.mark.parametrize("file", WITHOUT_RAY)
def test_a_file_of_its_own_starts_no_ray(file: str) -> None:
    assert share(f"{file}::test_it") == file
    assert not STARTS_RAY.search((ROOT / file).read_text(encoding="utf-8"))


def test_what_starts_ray_is_together() -> None:
    files = [
        path for path in (ROOT / "tests/integration").glob("test_*.py") if "ray_session" in path.read_text("utf-8")
    ]
    assert {share(f"{path.relative_to(ROOT)}::test_it") for path in files} == {"tests/integration/"}


@pytest.mark.parametrize("folder", TOGETHER)
def test_a_folder_that_is_together_is_there(folder: str) -> None:
    assert list((ROOT / folder).glob("test_*.py"))
