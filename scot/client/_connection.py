"""What the synchronous and the asyncio client share: the channel, its stubs, and statuses as SCOT's errors."""

from __future__ import annotations

from typing import Any, ClassVar

import grpc

from scot.channels import SEARCH_OPTIONS, proxy_of
from scot.client import _checks as checks
from scot.errors import GRPC_STATUS, InvalidInput, Overloaded, ScotError, Unavailable
from scot.hedging import Hedges, open_channels
from scot.keys import key_of
from scot.v1 import index_pb2_grpc, search_pb2_grpc

_HEALTH = "/grpc.health.v1.Health/Check"

_BY_STATUS: dict[str, type[ScotError]] = {}
for _error, _status in GRPC_STATUS.items():
    _BY_STATUS.setdefault(_status, _error)


class Connection:
    """The base of both clients; they document the arguments."""

    _grpc: ClassVar[Any]
    """``grpc`` or ``grpc.aio``."""

    def __init__(
        self,
        target: str = "localhost:9000",
        *,
        timeout: float = 30.0,
        api_key: str | None = None,
        tls: bool = False,
        bulk: bool = False,
    ) -> None:
        self.target, self.timeout = checks.text("target", target), checks.number("timeout", timeout)
        if not target.strip():
            raise InvalidInput("the address of the service is empty; it is HOST:PORT")
        self._metadata = _key_metadata(api_key)
        if checks.instance("bulk", bulk, bool):
            self._metadata.append(("x-priority", "bulk"))
        credentials = grpc.ssl_channel_credentials() if tls else None
        self._channels = open_channels(self._grpc, target, credentials, SEARCH_OPTIONS)
        self._hedges = Hedges()
        self._searches: list[Any] = [search_pb2_grpc.SearchServiceStub(each) for each in self._channels]
        self._indexes: list[Any] = [index_pb2_grpc.IndexServiceStub(each) for each in self._channels]

    @property
    def _search(self) -> Any:
        return self._searches[self._hedges.first]

    @property
    def _index(self) -> Any:
        return self._indexes[self._hedges.first]

    @property
    def _health(self) -> Any:
        return self._channels[self._hedges.first].unary_unary(_HEALTH)

    def _options(self, timeout: float | None) -> dict[str, Any]:
        return {"timeout": self._timeout(timeout, self.timeout), "metadata": self._metadata}

    def _timeout(self, timeout: float | None, default: float | None) -> float | None:
        return default if timeout is None else checks.number("timeout", timeout)


def from_rpc(error: grpc.RpcError, target: str) -> ScotError:
    """The error of a failed call."""
    code: grpc.StatusCode = error.code()
    details = str(error.details() or "")
    if code is grpc.StatusCode.UNAVAILABLE and ("connect" in details.lower() or "resol" in details.lower()):
        return Unavailable(f"no SCOT service answers at {target}{proxy_of(target)}")  # gRPC's own text is about sockets
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        details = f"the service at {target} did not answer in time"
    if (code.name, details) == ("CANCELLED", "CANCELLED"):  # gRPC's server drops calls when a thousand are waiting
        return Overloaded("the service is at its limit and dropped the call; try again later")
    return from_status(code.name, details)


def from_status(status: str, message: str) -> ScotError:
    """An error by the name of its status: the reverse of :data:`scot.errors.GRPC_STATUS`."""
    cls = _BY_STATUS.get(status, ScotError)
    return cls(message or status)


def _key_metadata(api_key: str | None) -> list[tuple[str, str]]:
    if not isinstance(api_key, str | None):
        raise InvalidInput(f"api_key: must be text, not {type(api_key).__name__}")
    key = key_of(api_key or "")
    if not key:
        return []
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidInput("the API key must be printable ASCII characters without spaces and line breaks")
    return [("authorization", f"Bearer {key}")]
