"""The parts of the search service that need no service: streams in order, public errors, edits, payloads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf import struct_pb2
from ray.exceptions import ActorUnavailableError, TaskCancelledError, WorkerCrashedError
from ray.serve.exceptions import gRPCStatusError

from scot import flags
from scot.client import Edit
from scot.errors import Conflict, EncoderMismatch, InvalidInput, NotFound
from scot.index.config import CollectionConfig, SearchParams
from scot.v1 import search_pb2
from services.ordered_map import ordered_map
from services.search.composer.loaded_composers import LoadedComposers
from services.search.local.config import LocalConfig
from services.search.rollout import Rollout
from services.search.rpc.turns import parse_edits
from services.search.rpc.validation import checked_payload
from services.search.serve_calls import CALLS, drop_reported, public_error
from services.search.settings import from_args
from tests.support.named_encoder import NamedEncoder


def test_answers_keep_the_order_and_the_window() -> None:
    async def run() -> None:
        working = most = 0
        gates = [asyncio.Event() for _ in range(20)]

        async def work(number: int) -> int:
            nonlocal working, most
            working += 1
            most = max(most, working)
            if number % 2:  # odd ones finish only after their even successor has begun
                await gates[number].wait()
            elif number:
                gates[number - 1].set()
            working -= 1
            return number

        async def numbers() -> AsyncIterator[int]:
            for number in range(20):
                yield number
            gates[19].set()

        assert [answer async for answer in ordered_map(numbers(), work, window=4)] == list(range(20))
        assert most <= 4 + 1

    asyncio.run(run())


def test_an_answer_does_not_wait_for_the_next_request() -> None:
    async def run() -> None:
        answered = asyncio.Event()

        async def conversation() -> AsyncIterator[int]:
            yield 1
            await answered.wait()
            yield 2

        async def work(number: int) -> int:
            return number

        seen = []
        async for answer in ordered_map(conversation(), work, window=8):
            seen.append(answer)
            answered.set()
        assert seen == [1, 2]

    asyncio.run(run())


def test_a_broken_stream_raises_after_its_answers() -> None:
    async def run() -> None:
        async def broken() -> AsyncIterator[int]:
            yield 1
            raise ConnectionError

        async def work(number: int) -> int:
            return number

        seen = []
        with pytest.raises(ConnectionError):  # noqa: PT012
            async for answer in ordered_map(broken(), work, window=2):
                seen.append(answer)
        assert seen == [1]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InvalidInput("limit: too much"), "INVALID_ARGUMENT", "limit: too much"),
        (NotFound("no item"), "NOT_FOUND", "no item"),
        (EncoderMismatch("another"), "FAILED_PRECONDITION", "another"),
        (Conflict("busy"), "FAILED_PRECONDITION", "busy"),
        (ActorUnavailableError("pid=7", None), "UNAVAILABLE", "a part of the service is unavailable; try again"),
        (WorkerCrashedError(), "UNAVAILABLE", "a part of the service is unavailable; try again"),
        (RuntimeError("pid=7, ip=10.0.0.1"), "INTERNAL", "something went wrong inside the service"),
    ],
)
def test_what_a_caller_sees_of_an_error(error: Exception, status: str, message: str) -> None:
    assert public_error(error) == (status, message)


@pytest.mark.parametrize("gone", [asyncio.CancelledError, GeneratorExit, TaskCancelledError])
def test_a_caller_that_has_gone_is_no_failure(gone: type[BaseException]) -> None:
    counted: list[tuple[str, str]] = []
    metrics = SimpleNamespace(request=lambda method, code, _: counted.append((method, code)))
    context: Any = SimpleNamespace(invocation_metadata=list, set_trailing_metadata=lambda _: None)

    async def stream_of(_: object, requests: AsyncIterator[int]) -> AsyncIterator[int]:
        raise gone
        yield 0

    async def run() -> None:
        gateway = SimpleNamespace(context=SimpleNamespace(keys=None, metrics=metrics))
        async for _ in CALLS.streaming(stream_of)(gateway, None, context):
            pass

    with pytest.raises(gone):
        asyncio.run(run())
    assert counted == [("stream_of", "CANCELLED")]


def test_a_refused_stream_leaves_no_stack_in_the_log() -> None:
    def record(error: Exception | None) -> logging.LogRecord:
        stack = None if error is None else (type(error), error, None)
        return logging.LogRecord("ray.serve", logging.ERROR, "", 0, "Request failed.", None, stack)

    refused = gRPCStatusError(NotFound("x"), code=grpc.StatusCode.NOT_FOUND, details="x")
    assert not drop_reported(record(refused))
    assert drop_reported(record(RuntimeError("not reported yet")))
    assert drop_reported(record(None))


def test_neighboring_plain_edits_are_one() -> None:
    edits = [
        search_pb2.Edit(text=" red "),
        search_pb2.Edit(text="striped", weight=1.0),
        search_pb2.Edit(text="old", negative=True),
        search_pb2.Edit(text="long", weight=0.5),
        search_pb2.Edit(text="wide"),
    ]
    assert parse_edits("edits", edits) == (
        Edit("red and striped"),
        Edit("old", negative=True),
        Edit("long", weight=0.5),
        Edit("wide"),
    )


def test_composers_stay_loaded_but_not_every_requested_weight() -> None:
    loaded = LoadedComposers(None, NamedEncoder("encoder", 4))
    assert loaded.get("sum") is loaded.get("sum")
    assert loaded.get("sum:0.25") is not loaded.get("sum:0.25")
    loaded.roll_out(Rollout("sum:0.25"))
    assert loaded.get("") is loaded.get("sum:0.25")


def test_payload_numbers_come_back_whole() -> None:
    message = struct_pb2.Struct()
    message.update({"n": 3, "x": 2.5, "list": [1, {"deep": 2}], "flag": True, "none": None})
    assert checked_payload("payload", message) == {
        "n": 3,
        "x": 2.5,
        "list": [1, {"deep": 2}],
        "flag": True,
        "none": None,
    }
    assert isinstance(checked_payload("payload", message)["n"], int)


@pytest.mark.parametrize("payload", [{"x": float("nan")}, {"_scot_item_id": "a"}, {"x": "a" * 70_000}])
def test_payloads_that_cannot_be_kept(payload: dict[str, object]) -> None:
    message = struct_pb2.Struct()
    message.update(payload)
    with pytest.raises(InvalidInput, match="payload"):
        checked_payload("payload", message)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({}, "either store"),
        ({"store": "a", "qdrant_url": "http://b"}, "either store"),
        ({"store": "a", "gateways": 2}, "one gateway"),
        ({"store": "a", "colour": "red"}, "no setting 'colour'"),
    ],
)
def test_settings_that_contradict(args: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        from_args(args)


@pytest.mark.parametrize("indexes", [["kind:keyword", "price:float"], "kind:keyword price:float"])
def test_settings_of_a_server_are_flat(indexes: object) -> None:
    args = {"qdrant_url": "https://qdrant:6333", "payload_index": indexes, "quantization": "int8", "strict": True}
    settings = from_args({**args, "oversampling": 4.0, "gateways": 2})
    assert settings.service.qdrant.qdrant_url == "https://qdrant:6333"
    assert settings.service.collections == CollectionConfig(("kind:keyword", "price:float"), "int8", strict=True)
    assert settings.service.search == SearchParams(4.0)
    assert from_args(flags.flat(settings)) == settings


def test_settings_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOT_QDRANT_URL", "http://qdrant:6333")
    monkeypatch.setenv("SCOT_PAYLOAD_INDEX", "kind:keyword price:float")
    settings = from_args({"quantization": "turbo"})
    assert settings.service.collections == CollectionConfig(("kind:keyword", "price:float"), "turbo")


def test_a_key_is_no_setting() -> None:
    """It would be on a command line, where everybody's `ps` shows it."""
    with pytest.raises(InvalidInput, match="no setting 'qdrant_api_key'"):
        from_args({"qdrant_url": "http://qdrant:6333", "qdrant_api_key": "secret"})


def test_a_local_service_hands_its_flags_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["--qdrant-url", "https://qdrant:6333", "--qdrant-ca", "ca.pem", "--payload-index", "a:bool", "b:integer"]
    settings = flags.parse(LocalConfig, argv, prog="scot serve").settings()
    assert settings.store is None
    assert settings.service.qdrant.qdrant_ca == tmp_path / "ca.pem"
    assert settings.service.collections.payload_index == ("a:bool", "b:integer")
    assert LocalConfig().settings().store == str(tmp_path / "scot-data/qdrant")
