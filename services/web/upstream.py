"""The gRPC connections to the search service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from google.protobuf.message import Message

from scot.channels import SEARCH_OPTIONS, SERVING, FinalStatus
from scot.hedging import AsyncHedged, Hedges, open_channels
from services.web.methods import METHODS, Method
from services.web.problems import OTHER_VERSION, Problem, from_rpc

Metadata = Sequence[tuple[str, str]]
_HEALTH = "/grpc.health.v1.Health/Check"
_HEALTH_S = 3.0
_LOOK_UP_S = 1.0
_SEARCH = "scot.v1.SearchService.ComposeSearch"


class Upstream:
    """Calls the service's methods; a failure is a :class:`Problem`.

    Args:
        address: HOST:PORT.
        tls: whether the service is behind TLS.
        timeout_s: the deadline of a call, and of the wait for each response of a stream.
    """

    def __init__(self, address: str, *, tls: bool = False, timeout_s: float = 30.0) -> None:
        self._timeout_s, self._address = timeout_s, address
        self._credentials = grpc.ssl_channel_credentials() if tls else None
        self._hedges = Hedges()
        self._closing: list[asyncio.Future[None]] = []
        self._open()

    def _open(self) -> None:
        self._opened = time.monotonic()
        self._channels = open_channels(grpc.aio, self._address, self._credentials, SEARCH_OPTIONS)
        self._stubs = {
            method.full_name: [self._stub(channel, method) for channel in self._channels] for method in METHODS
        }
        self._stubs |= {_HEALTH: [channel.unary_unary(_HEALTH) for channel in self._channels]}
        self._search = AsyncHedged(self._stubs[_SEARCH], self._hedges)

    def _look_up_again(self, error: grpc.aio.AioRpcError) -> None:
        """After a name did not exist, gRPC waits for up to two minutes; new channels look it up at once.

        A web service often starts before the Service of the search service is there.
        """
        if "resol" in str(error.details()) and time.monotonic() - self._opened > _LOOK_UP_S:
            self._closing = [asyncio.ensure_future(each.close(self._timeout_s)) for each in self._channels]
            self._open()

    def _best(self, name: str) -> Any:
        return self._search if name == _SEARCH else self._stubs[name][self._hedges.first]

    @staticmethod
    def _stub(channel: Any, method: Method) -> Any:
        kind = f"{_kind(method.client_streaming)}_{_kind(method.server_streaming)}"
        return getattr(channel, kind)(
            method.grpc_path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )

    async def call(self, method: Method, request: Message, metadata: Metadata) -> Any:
        """One response. Raises Problem."""
        try:
            return _readable(await self._best(method.full_name)(request, timeout=self._timeout_s, metadata=metadata))
        except grpc.aio.AioRpcError as error:
            self._look_up_again(error)
            raise from_rpc(error) from error
        except grpc.aio.UsageError as error:  # the channel is closed
            raise Problem("UNAVAILABLE", "the web service is stopping; try again") from error

    async def stream(self, method: Method, requests: Sequence[Message], metadata: Metadata) -> AsyncIterator[Message]:
        """The responses of a stream. Raises Problem."""
        given = iter(requests) if method.client_streaming else requests[0]
        call = self._best(method.full_name)(given, metadata=metadata)
        status = FinalStatus(call)
        try:
            while (response := await asyncio.wait_for(call.read(), self._timeout_s)) is not grpc.aio.EOF:
                yield _readable(response)
        except TimeoutError:
            raise Problem("DEADLINE_EXCEEDED", "the search service did not answer in time") from None
        except grpc.aio.AioRpcError as error:
            raise from_rpc(status.error(error)) from error
        finally:
            call.cancel()

    async def serving(self) -> bool:
        """Whether the service answers and reports that it serves."""
        try:
            return bool(await self._best(_HEALTH)(b"", timeout=_HEALTH_S) == SERVING)
        except grpc.aio.AioRpcError as error:
            self._look_up_again(error)
            return False

    async def close(self) -> None:
        """Close the connections; calls under way are cancelled."""
        for channel in self._channels:
            await channel.close()


def _kind(streaming: bool) -> str:
    return "stream" if streaming else "unary"


def _readable(response: Message | None) -> Message:
    """The response; grpc.aio gives None for one that it cannot parse."""
    if response is None:
        raise Problem("INTERNAL", OTHER_VERSION)
    return response
