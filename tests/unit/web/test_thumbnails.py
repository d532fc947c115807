"""Requests for pictures at the same time are one gRPC call, and each has the answer that it would have alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from scot.v1 import index_pb2
from services.web.calls import Call
from services.web.methods import Method
from services.web.problems import Problem
from services.web.thumbnails import MAX_IDS, Thumbnails
from services.web.upstream import Metadata, Upstream

MISSING = "there is no picture"


class Counted(Upstream):
    """The real connection, which notes its calls."""

    def __init__(self, address: str) -> None:
        super().__init__(address, timeout_s=10)
        self.calls: list[tuple[list[str], dict[str, str]]] = []

    async def call(self, method: Method, request: Any, metadata: Metadata) -> Any:
        self.calls.append((list(request.item_ids), dict(metadata)))
        return await super().call(method, request, metadata)


def together(address: str, *asked: tuple[str, str, Call]) -> tuple[list[Any], Counted]:
    """What requests at the same time are answered, problems as their sentences; and the calls that were made."""

    async def run() -> tuple[list[Any], Counted]:
        upstream = Counted(address)
        thumbnails = Thumbnails(upstream)
        try:
            answers = await asyncio.gather(*(thumbnails.get(*each) for each in asked), return_exceptions=True)
        finally:
            await upstream.close()
        return [told(each) for each in answers], upstream

    return asyncio.run(run())


def told(answer: Any) -> Any:
    if isinstance(answer, Problem):
        return answer.detail
    assert answer is None or isinstance(answer, index_pb2.Picture), answer
    return MISSING if answer is None else answer.item_id


def call(**headers: str) -> Call:
    return Call.of({name.replace("_", "-"): value for name, value in headers.items()})


def test_they_are_one_call_and_each_has_its_own_picture(address: str) -> None:
    answers, upstream = together(address, *((each, "", call()) for each in ("red", "..", "nobody", "red", "vector")))
    assert answers == ["red", "..", MISSING, "red", MISSING]
    assert [ids for ids, _ in upstream.calls] == [["red", "..", "nobody", "vector"]]


def test_another_key_or_collection_is_another_call(address: str) -> None:
    keys = [call(authorization=f"Bearer {key}") for key in ("a", "b", "a")]
    asked = [("red", "", keys[0]), ("red", "", keys[1]), ("..", "", keys[2]), ("red", "nowhere", keys[0])]
    answers, upstream = together(address, *asked)
    assert answers[:3] == ["red", "red", ".."]
    assert "nowhere" in answers[3]
    sent = [(ids, metadata["authorization"]) for ids, metadata in upstream.calls]
    assert sorted(sent) == [(["red"], "Bearer a"), (["red"], "Bearer b"), (["red", ".."], "Bearer a")]


def test_a_malformed_id_fails_alone(address: str) -> None:
    long = "a" * 513
    answers, upstream = together(address, ("red", "", call()), (long, "", call()), ("..", "", call()))
    alone, _ = together(address, (long, "", call()))
    assert answers == ["red", alone[0], ".."]
    assert "512" in alone[0]
    assert [len(ids) for ids, _ in upstream.calls] == [3, 1, 1, 1]


def test_what_is_wrong_with_the_call_is_told_to_all_and_not_tried_again(address: str) -> None:
    answers, upstream = together(address, *((each, "../up", call()) for each in ("red", "..")))
    assert answers[0] == answers[1]
    assert answers[0].startswith("collection:")
    assert len(upstream.calls) == 1


def test_a_request_that_names_itself_is_a_call_of_its_own(address: str) -> None:
    named = call(x_request_id="mine-1")
    traced = call(traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    answers, upstream = together(address, ("red", "", call()), ("red", "", named), ("..", "", traced))
    assert answers == ["red", "red", ".."]
    assert sorted(len(ids) for ids, _ in upstream.calls) == [1, 1, 1]
    assert "mine-1" in [metadata["x-request-id"] for _, metadata in upstream.calls]
    assert traced.traceparent in [metadata.get("traceparent") for _, metadata in upstream.calls]


def test_more_than_a_call_takes_are_several(address: str) -> None:
    ids = [f"nobody-{number}" for number in range(2 * MAX_IDS)]
    answers, upstream = together(address, *((each, "", call()) for each in [*ids, "red", ids[0]]))
    assert answers == [MISSING] * len(ids) + ["red", MISSING]
    assert [len(ids) for ids, _ in upstream.calls] == [MAX_IDS, MAX_IDS, 2]


def test_a_client_that_leaves_takes_nothing_from_the_others(address: str) -> None:
    async def run() -> tuple[Any, int]:
        upstream = Counted(address)
        thumbnails = Thumbnails(upstream)
        leaving = asyncio.create_task(thumbnails.get("red", "", call()))
        staying = asyncio.create_task(thumbnails.get("..", "", call()))
        await asyncio.sleep(0)
        leaving.cancel()
        try:
            found = await staying
        finally:
            await upstream.close()
        assert leaving.cancelled()
        return told(found), len(upstream.calls)

    assert asyncio.run(run()) == ("..", 1)


@pytest.mark.parametrize("many", [1, 3])
def test_a_service_that_is_gone_is_told_to_each(many: int) -> None:
    answers, _ = together("127.0.0.1:9", *(("red", "", call()) for _ in range(many)))
    assert answers == ["the search service does not answer; try again later"] * many
