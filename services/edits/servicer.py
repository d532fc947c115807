"""scot.v1.EditService over an edit generator."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import contextmanager
from typing import Any

import grpc

from scot.edits.generators import MAX_COUNT, EditGenerator
from scot.edits.record import CaptionEdits
from scot.errors import InvalidInput, Overloaded, ScotError, Unavailable, grpc_status
from scot.v1 import edits_pb2, edits_pb2_grpc
from services.access import Caller, Keys
from services.edits import metrics

logger = logging.getLogger("scot.edits")

MAX_CAPTIONS = 256
DEFAULT_COUNT = 4
_AT_ONCE = 4  # requests of one stream that are under way


class EditServicer(edits_pb2_grpc.EditServiceServicer):
    """GenerateEdits and its stream twin; ``generator`` is set once the engine is loaded."""

    def __init__(self, keys: Keys | None, most_waiting: int) -> None:
        self.generator: EditGenerator | None = None
        self._keys, self._most = keys, most_waiting
        self._waiting = 0

    async def GenerateEdits(self, request: edits_pb2.GenerateEditsRequest, context: Any) -> Any:
        """Edits of each caption, in order."""
        async with _Call(self, "GenerateEdits", context) as caller:
            return await self._answer(request, caller)

    async def GenerateEditsStream(
        self, request_iterator: AsyncIterator[edits_pb2.GenerateEditsRequest], context: Any
    ) -> AsyncIterator[Any]:
        """The same for many requests, answered in order; a few are under way at a time."""
        async with _Call(self, "GenerateEditsStream", context) as caller:
            under_way: list[asyncio.Task[Any]] = []
            try:
                async for request in request_iterator:
                    under_way.append(asyncio.create_task(self._answer(request, caller)))
                    if len(under_way) == _AT_ONCE:
                        yield await under_way.pop(0)
                while under_way:
                    yield await under_way.pop(0)
            finally:
                for task in under_way:
                    task.cancel()

    async def _answer(
        self, request: edits_pb2.GenerateEditsRequest, caller: Caller | None
    ) -> edits_pb2.GenerateEditsResponse:
        if caller is not None:
            caller.spend()
        if self.generator is None:
            raise Unavailable("the engine is still loading")
        count = request.edits_per_caption or DEFAULT_COUNT
        if count > MAX_COUNT:
            raise InvalidInput(f"edits_per_caption must be at most {MAX_COUNT}, not {count}")
        if len(request.captions) > MAX_CAPTIONS:
            raise InvalidInput(f"captions: at most {MAX_CAPTIONS} in a request, not {len(request.captions)}")
        with self._place(len(request.captions)):
            results = await self.generator.generate([c.text for c in request.captions], count=count, seed=request.seed)
        metrics.count(results)
        return edits_pb2.GenerateEditsResponse(
            results=[_message(c.caption_id, r) for c, r in zip(request.captions, results, strict=True)],
            generator=self.generator.generator,
            prompt_version=self.generator.prompt_version,
        )

    @contextmanager
    def _place(self, captions: int) -> Any:
        if self._waiting and self._waiting + captions > self._most:
            raise Overloaded(f"{self._waiting} captions are under way already; try again later")
        self._waiting += captions
        metrics.WAITING.set(self._waiting)
        try:
            yield
        finally:
            self._waiting -= captions
            metrics.WAITING.set(self._waiting)

    def admit(self, context: Any) -> Caller | None:
        """Whose key it is, or None where no key is asked for. Raises Unauthenticated."""
        if self._keys is None:
            return None
        return self._keys.admit(str(dict(context.invocation_metadata()).get("authorization", "")))


class _Call:
    """A call's key, its line in the log, its time, and its errors as gRPC statuses."""

    def __init__(self, servicer: EditServicer, method: str, context: Any) -> None:
        self._servicer, self._method, self._context = servicer, method, context

    async def __aenter__(self) -> Caller | None:
        self._begun = time.perf_counter()
        try:
            return self._servicer.admit(self._context)
        except ScotError as error:
            await self._refuse(error)
            raise

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None:
            self._log("OK")
        elif isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            self._log("CANCELLED")
        elif not isinstance(error, grpc.aio.AbortError):
            await self._refuse(error)

    async def _refuse(self, error: BaseException) -> None:
        status = grpc_status(error)
        known = isinstance(error, ScotError)
        if not known:
            logger.error("a call failed", exc_info=error)
        self._log(status, str(error) if known else "")
        await self._context.abort(
            grpc.StatusCode[status], str(error) if known else "something went wrong inside the service"
        )

    def _log(self, status: str, message: str = "") -> None:
        seconds = time.perf_counter() - self._begun
        metrics.SECONDS.labels(status).observe(seconds)
        event = {"event": "request", "method": self._method, "status": status, "seconds": round(seconds, 6)}
        logger.info(json.dumps({**event, "message": message} if message else event, ensure_ascii=False))


def _message(caption_id: str, result: CaptionEdits) -> edits_pb2.CaptionEdits:
    return edits_pb2.CaptionEdits(
        caption_id=caption_id,
        edits=[
            edits_pb2.EditRecord(aspect=e.aspect, edit=e.edit, edited_caption=e.edited_caption, kept=e.kept)
            for e in result.edits
        ],
        refused=dict(result.refused),
        prompt_tokens=result.prompt_tokens,
        completion_tokens=result.completion_tokens,
    )
