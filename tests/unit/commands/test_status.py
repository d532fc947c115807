"""What ``scot status`` says of the composers, and how it waits."""

from __future__ import annotations

import pytest

import scot.commands.status as status_command
from scot.client import ComposerInfo
from scot.commands.service import ServicePlace
from scot.commands.status import StatusConfig, answering, status
from scot.errors import Unavailable
from tests.support.unknown_names import UnknownNames


def info(name: str, *, released: bool = False, share: float = 0.0, shadow: bool = False) -> ComposerInfo:
    return ComposerInfo(name, released, "combiner", "e", {}, share, shadow)


@pytest.mark.parametrize(
    ("composers", "line"),
    [
        ([info("v1", released=True, share=1.0), info("sum")], "composer v1 answers; also loaded: sum"),
        ([info("v1", released=True), info("sum")], "composer v1 answers; also loaded: sum"),
        ([info("sum")], "composer none answers; also loaded: sum"),
        (
            [info("v1", released=True, share=0.9), info("v2", share=0.1), info("v3", shadow=True), info("sum")],
            "composers v1 (90.0%), v2 (10.0%) answer; v3 is their shadow; also loaded: sum",
        ),
        (
            [info("v1", released=True), info("v2", share=1.0), info("sum")],
            "composer v2 answers; also loaded: sum",
        ),
    ],
)
def test_who_answers_is_one_line(composers: list[ComposerInfo], line: str) -> None:
    assert answering(composers) == line


def test_waiting_looks_a_name_up_again_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_command, "_POLL_S", 0.01)
    with UnknownNames() as names:
        config = StatusConfig(ServicePlace(names.address), wait=0.3)
        with pytest.raises(Unavailable, match="no SCOT service is serving"):
            status(config)
        assert names.asked > 4  # for each family of addresses once would be two
