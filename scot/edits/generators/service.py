"""SCOT's own EditService as a writer: captions travel in small batches, and a service that is away is waited for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import grpc

from scot.channels import open_channel
from scot.edits.engines.config import EngineConfig
from scot.edits.gather_or_cancel import gather_or_cancel
from scot.edits.record import CaptionEdits, EditRecord
from scot.errors import InvalidInput, PermissionDenied, Unauthenticated, Unavailable
from scot.v1 import edits_pb2, edits_pb2_grpc

_TOGETHER = 16  # captions of one call
_AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


class ServiceGenerator:
    """GenerateEdits calls of a few captions each; the service batches all that are under way.

    ``generator`` and ``prompt_version`` are the service's own, asked for once.

    Raises:
        Unavailable: the service does not answer within the config's timeout.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._address, self._credentials = _address(config)
        self._timeout = config.timeout_s
        self._metadata = [("authorization", f"Bearer {config.api_key}")] if config.api_key else None
        self._places = asyncio.Semaphore(config.concurrency)
        self._channel: grpc.aio.Channel | None = None
        self.generator, self.prompt_version = self._ask()

    async def write(self, captions: Sequence[str], *, count: int, seed: int) -> list[CaptionEdits]:
        """See :class:`scot.edits.generators.base.EditGenerator`."""
        parts = [captions[start : start + _TOGETHER] for start in range(0, len(captions), _TOGETHER)]
        results = await gather_or_cancel(self._write(part, count, seed) for part in parts)
        return [edits for part in results for edits in part]

    async def _write(self, captions: Sequence[str], count: int, seed: int) -> list[CaptionEdits]:
        request = edits_pb2.GenerateEditsRequest(
            captions=[edits_pb2.Caption(caption_id=str(n), text=text) for n, text in enumerate(captions)],
            edits_per_caption=count,
            seed=seed,
        )
        async with self._places:
            answer = await self._call(request)
        return [_edits(result) for result in answer.results]

    async def check(self) -> None:
        """Raise Unavailable when the service is away."""
        try:
            await self._stub().GenerateEdits(edits_pb2.GenerateEditsRequest(), timeout=10, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise _told(error) from error

    async def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            await self._channel.close()

    def _stub(self) -> edits_pb2_grpc.EditServiceStub:
        if self._channel is None:  # bound to the loop that uses it
            self._channel = open_channel(grpc.aio, self._address, self._credentials)
        return edits_pb2_grpc.EditServiceStub(self._channel)

    async def _call(self, request: edits_pb2.GenerateEditsRequest) -> edits_pb2.GenerateEditsResponse:
        """Call until it is answered, at growing intervals, for as long as the timeout lasts."""
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + self._timeout, 0.2
        while True:
            try:
                left = max(0.1, until - loop.time())
                answer: edits_pb2.GenerateEditsResponse = await self._stub().GenerateEdits(
                    request, timeout=left, metadata=self._metadata
                )
                return answer
            except grpc.aio.AioRpcError as error:
                if error.code() not in _AGAIN or loop.time() + pause > until:
                    raise _told(error) from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)

    def _ask(self) -> tuple[str, str]:
        with open_channel(grpc, self._address, self._credentials) as channel:
            stub = edits_pb2_grpc.EditServiceStub(channel)
            try:
                answer = stub.GenerateEdits(
                    edits_pb2.GenerateEditsRequest(),
                    timeout=self._timeout,
                    metadata=self._metadata,
                    wait_for_ready=True,
                )
            except grpc.RpcError as error:
                raise _told(error) from error
        return answer.generator, answer.prompt_version


def _address(config: EngineConfig) -> tuple[str, grpc.ChannelCredentials | None]:
    """HOST:PORT, and the credentials of an ``https://`` URL (None: plain text)."""
    scheme, _, rest = config.url.rpartition("://")
    if scheme not in ("", "http", "https"):
        raise InvalidInput(f"the edit service's URL is HOST:PORT or https://HOST:PORT, not {config.url!r}")
    if scheme != "https":
        return rest, None
    try:
        authority = Path(config.tls_authority).read_bytes() if config.tls_authority else None
    except OSError as error:
        raise InvalidInput("the file of --tls-authority cannot be read") from error
    return rest, grpc.ssl_channel_credentials(authority)


def _edits(result: edits_pb2.CaptionEdits) -> CaptionEdits:
    edits = tuple(EditRecord(e.aspect, e.edit, e.edited_caption, e.kept) for e in result.edits)
    return CaptionEdits(edits, Counter(result.refused), result.prompt_tokens, result.completion_tokens)


def _told(error: grpc.RpcError) -> Exception:
    code = error.code()
    if code == grpc.StatusCode.UNAUTHENTICATED:
        return Unauthenticated("the edit service wants an API key that it knows: --api-key")
    if code == grpc.StatusCode.PERMISSION_DENIED:
        return PermissionDenied("the edit service refuses this API key")
    if code == grpc.StatusCode.INVALID_ARGUMENT:
        return InvalidInput(f"the edit service refuses the request: {error.details()}")
    return Unavailable(f"the edit service does not answer ({code.name})")
