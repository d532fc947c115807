"""The envelope of a call, on a plain gRPC server with the edit service: key, request id, status, log line, metrics."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest

from scot.edits.record import CaptionEdits
from scot.keys import digest_of
from scot.v1 import edits_pb2, edits_pb2_grpc
from services.access import Keys
from services.calls import INTERNAL_SENTENCE
from services.edits.servicer import EditContext, EditServicer

OK, UNAUTHENTICATED = grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED
OVERLOADED, INTERNAL = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL


class Generator:
    """No edits; a caption "break" is a defect."""

    generator, prompt_version = "none", "0"

    async def generate(
        self, captions: list[str], *, count: int, seed: int, image_ids: Sequence[str] = ()
    ) -> list[CaptionEdits]:
        if "break" in captions:
            raise RuntimeError("pid=7, ip=10.0.0.1")
        return [CaptionEdits() for _ in captions]


class Metrics:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def request(self, method: str, code: str, seconds: float) -> None:
        assert seconds >= 0
        self.calls.append((method, code))

    def results(self, results: list[CaptionEdits]) -> None: ...


def request(*captions: str) -> edits_pb2.GenerateEditsRequest:
    return edits_pb2.GenerateEditsRequest(captions=[edits_pb2.Caption(text=text) for text in captions])


def metadata(key: str = "shop", request_id: str = "") -> list[tuple[str, str]]:
    sent = [("x-request-id", request_id)] if request_id else []
    return [("authorization", f"Bearer {key}"), *sent] if key else sent


async def ended(call: Any) -> tuple[grpc.StatusCode, str, str]:
    """The status, its sentence and the request id of a call."""
    if hasattr(call, "__aiter__"):
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for _ in call:
                pass
    trailing = dict(await call.trailing_metadata())
    return await call.code(), await call.details(), str(trailing["x-request-id"])


@pytest.mark.parametrize("streaming", [False, True])
def test_every_call_has_one_envelope(tmp_path: Path, caplog: pytest.LogCaptureFixture, streaming: bool) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{digest_of('shop').hex()} name=shop rate=0.001 burst=2\n")
    context = EditContext(Keys(keys), 64, Generator(), Metrics())  # type: ignore[arg-type]
    caplog.set_level(logging.INFO)

    async def run() -> None:
        server = grpc.aio.server()
        edits_pb2_grpc.add_EditServiceServicer_to_server(EditServicer(context), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = edits_pb2_grpc.EditServiceStub(channel)

            def call(text: str, sent: list[tuple[str, str]]) -> Any:
                if streaming:
                    return stub.GenerateEditsStream(iter([request(text)]), metadata=sent, timeout=20)
                return stub.GenerateEdits(request(text), metadata=sent, timeout=20)

            assert await ended(call("a", metadata(request_id="mine-1"))) == (OK, "", "mine-1")
            code, details, request_id = await ended(call("break", metadata(request_id="not an id")))
            assert (code, details) == (INTERNAL, INTERNAL_SENTENCE)
            assert len(request_id) == 32
            assert (await ended(call("a", metadata())))[0] is OVERLOADED
            assert (await ended(call("a", metadata(key=""))))[0] is UNAUTHENTICATED
        await server.stop(None)

    asyncio.run(run())
    name = "generate_edits_stream" if streaming else "generate_edits"
    codes = ["OK", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAUTHENTICATED"]
    assert context.metrics.calls == [(name, code) for code in codes]  # type: ignore[attr-defined]
    lines = [json.loads(record.message) for record in caplog.records if record.levelno == logging.INFO]
    assert [(line["method"], line["status"], line.get("key")) for line in lines] == [
        (name, code, "shop" if code != "UNAUTHENTICATED" else None) for code in codes
    ]
    assert lines[0]["request_id"] == "mine-1"
    assert "pid=7" not in json.dumps(lines)
    ours = [record for record in caplog.records if record.name != "asyncio"]  # where gRPC's poller reports, under load
    assert [record.exc_info is not None for record in ours if record.levelno == logging.ERROR] == [True]
