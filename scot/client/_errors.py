"""gRPC statuses back into SCOT's errors: the reverse of :data:`scot.errors.GRPC_STATUS`."""

from __future__ import annotations

import grpc

from scot.errors import GRPC_STATUS, Overloaded, ScotError, Unavailable

_BY_STATUS: dict[str, type[ScotError]] = {}
for _error, _status in GRPC_STATUS.items():
    _BY_STATUS.setdefault(_status, _error)


def from_rpc(error: grpc.RpcError, target: str) -> ScotError:
    """The error that the service meant."""
    code: grpc.StatusCode = error.code()
    details = str(error.details() or "")
    if code is grpc.StatusCode.UNAVAILABLE and ("connect" in details.lower() or "resolution" in details.lower()):
        return Unavailable(f"no SCOT service answers at {target}")  # gRPC's own text is about sockets
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        details = f"the service at {target} did not answer in time"
    if (code.name, details) == ("CANCELLED", "CANCELLED"):  # so a server's gRPC drops calls once a thousand wait for it
        return Overloaded("the service is at its limit and dropped the call; try again later")
    return from_status(code.name, details)


def from_status(status: str, message: str) -> ScotError:
    """An error by the name of its status."""
    cls = _BY_STATUS.get(status, ScotError)
    return cls(message or status)
