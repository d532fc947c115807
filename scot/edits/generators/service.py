"""SCOT's own EditService as an edit generator: sends small batches of captions, waits while it is unavailable."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import grpc

from scot.channels import open_channel
from scot.edits.concurrency import gather_or_cancel
from scot.edits.engines.config import EngineConfig
from scot.edits.generators.base import with_images
from scot.edits.record import CaptionEdits, EditRecord
from scot.errors import InvalidInput, PermissionDenied, Unauthenticated, Unavailable
from scot.v1 import edits_pb2, edits_pb2_grpc

_CAPTIONS_PER_CALL = 16
_RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


class ServiceGenerator:
    """GenerateEdits calls of a few captions each; the service batches all calls in progress.

    ``generator`` and ``prompt_version`` are those of the service, requested once.

    Raises:
        Unavailable: the service does not answer within the config's timeout.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._address, self._credentials = _address(config)
        self._timeout = config.timeout_s
        self._metadata = [("authorization", f"Bearer {config.api_key}")] if config.api_key else None
        self._slots = asyncio.Semaphore(config.concurrency)
        self._channel: grpc.aio.Channel | None = None
        self.generator, self.prompt_version = self._read_names()

    async def generate(
        self, captions: Sequence[str], *, count: int, seed: int, image_ids: Sequence[str] = ()
    ) -> list[CaptionEdits]:
        """See :class:`scot.edits.generators.base.EditGenerator`."""
        named = list(with_images(captions, image_ids))
        starts = range(0, len(named), _CAPTIONS_PER_CALL)
        results = await gather_or_cancel(
            self._generate(named[start : start + _CAPTIONS_PER_CALL], count, seed) for start in starts
        )
        return [edits for part in results for edits in part]

    async def _generate(self, named: Sequence[tuple[str, str]], count: int, seed: int) -> list[CaptionEdits]:
        request = edits_pb2.GenerateEditsRequest(
            captions=[edits_pb2.Caption(caption_id=image_id, text=text) for text, image_id in named],
            edits_per_caption=count,
            seed=seed,
        )
        async with self._slots:
            response = await self._call(request)
        return [_edits(result) for result in response.results]

    async def check(self) -> None:
        """Raise Unavailable when the service does not answer."""
        try:
            await self._stub().GenerateEdits(edits_pb2.GenerateEditsRequest(), timeout=10, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise _scot_error(error) from error

    async def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            await self._channel.close()

    def _stub(self) -> edits_pb2_grpc.EditServiceStub:
        if self._channel is None:  # bound to the event loop that uses it
            self._channel = open_channel(grpc.aio, self._address, self._credentials)
        return edits_pb2_grpc.EditServiceStub(self._channel)

    async def _call(self, request: edits_pb2.GenerateEditsRequest) -> edits_pb2.GenerateEditsResponse:
        """Retry at growing intervals until the service answers or the timeout is over."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self._timeout, 0.2
        while True:
            try:
                response: edits_pb2.GenerateEditsResponse = await self._stub().GenerateEdits(
                    request, timeout=max(0.1, deadline - loop.time()), metadata=self._metadata
                )
                return response
            except grpc.aio.AioRpcError as error:
                if error.code() not in _RETRIED or loop.time() + pause > deadline:
                    raise _scot_error(error) from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)

    def _read_names(self) -> tuple[str, str]:
        with open_channel(grpc, self._address, self._credentials) as channel:
            stub = edits_pb2_grpc.EditServiceStub(channel)
            try:
                response = stub.GenerateEdits(
                    edits_pb2.GenerateEditsRequest(),
                    timeout=self._timeout,
                    metadata=self._metadata,
                    wait_for_ready=True,
                )
            except grpc.RpcError as error:
                raise _scot_error(error) from error
        return response.generator, response.prompt_version


def _address(config: EngineConfig) -> tuple[str, grpc.ChannelCredentials | None]:
    """HOST:PORT, and the credentials of an ``https://`` URL (None: no TLS)."""
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


def _scot_error(error: grpc.RpcError) -> Exception:
    code = error.code()
    if code == grpc.StatusCode.UNAUTHENTICATED:
        return Unauthenticated("the edit service requires a valid API key: --api-key")
    if code == grpc.StatusCode.PERMISSION_DENIED:
        return PermissionDenied("the edit service refuses this API key")
    if code == grpc.StatusCode.INVALID_ARGUMENT:
        return InvalidInput(f"the edit service refuses the request: {error.details()}")
    return Unavailable(f"the edit service does not answer ({code.name})")
