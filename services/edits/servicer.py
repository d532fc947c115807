"""scot.v1.EditService over a generator of edits."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from scot.edits.generators import MAX_COUNT, EditGenerator
from scot.edits.record import CaptionEdits
from scot.errors import EngineRefused, InvalidInput, Overloaded, Unavailable
from scot.v1 import edits_pb2, edits_pb2_grpc
from services.access import Keys
from services.calls import Envelope, count_request
from services.edits.metrics import WAITING, EditMetrics
from services.ordered_map import ordered_map

logger = logging.getLogger("scot.edits")

MAX_CAPTIONS = 256
DEFAULT_COUNT = 4
_STREAM_WINDOW = 4  # requests of one stream that are answered at a time
CALLS = Envelope(logging.getLogger("scot.edits"))


@dataclass(slots=True)
class EditContext:
    """What the calls of the service share; ``generator`` is set once the engine is loaded."""

    keys: Keys | None
    max_waiting: int
    generator: EditGenerator | None = None
    metrics: EditMetrics = field(default_factory=EditMetrics)
    _waiting: int = 0

    @contextmanager
    def reserve(self, captions: int) -> Iterator[None]:
        """Count captions as under way while the block runs. Raises Overloaded over ``max_waiting``."""
        if self._waiting and self._waiting + captions > self.max_waiting:
            raise Overloaded(f"{self._waiting} captions are under way already; try again later")
        self._waiting += captions
        WAITING.set(self._waiting)
        try:
            yield
        finally:
            self._waiting -= captions
            WAITING.set(self._waiting)


async def generate_edits(
    context: EditContext, request: edits_pb2.GenerateEditsRequest
) -> edits_pb2.GenerateEditsResponse:
    """Edits of each caption, in order."""
    if context.generator is None:
        raise Unavailable("the engine is still loading")
    count = request.edits_per_caption or DEFAULT_COUNT
    if count > MAX_COUNT:
        raise InvalidInput(f"edits_per_caption must be at most {MAX_COUNT}, not {count}")
    if len(request.captions) > MAX_CAPTIONS:
        raise InvalidInput(f"captions: at most {MAX_CAPTIONS} in a request, not {len(request.captions)}")
    with context.reserve(len(request.captions)):
        try:
            results = await context.generator.generate(
                [c.text for c in request.captions],
                count=count,
                seed=request.seed,
                image_ids=[c.caption_id for c in request.captions],
            )
        except EngineRefused as error:
            logger.error("%s", error)  # with the URL, which is not the callers' business
            raise Unavailable("the language model's endpoint refuses the service; its log says why") from error
    context.metrics.results(results)
    return edits_pb2.GenerateEditsResponse(
        results=[_message(c.caption_id, r) for c, r in zip(request.captions, results, strict=True)],
        generator=context.generator.generator,
        prompt_version=context.generator.prompt_version,
    )


async def generate_edits_stream(
    context: EditContext, requests: AsyncIterator[edits_pb2.GenerateEditsRequest]
) -> AsyncIterator[edits_pb2.GenerateEditsResponse]:
    """The same for many requests, answered in order; a few are under way at a time."""

    async def answer(request: edits_pb2.GenerateEditsRequest) -> edits_pb2.GenerateEditsResponse:
        await count_request(request)
        return await generate_edits(context, request)

    async for response in ordered_map(requests, answer, window=_STREAM_WINDOW):
        yield response


class EditServicer(edits_pb2_grpc.EditServiceServicer):
    """GenerateEdits and its streaming twin."""

    def __init__(self, context: EditContext) -> None:
        self.context = context

    GenerateEdits = CALLS.unary(generate_edits, edits_pb2.GenerateEditsResponse)
    GenerateEditsStream = CALLS.streaming(generate_edits_stream)


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
