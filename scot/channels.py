"""gRPC channels of SCOT's clients."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import grpc

_REPLACED = "Internal error from Core"
"""What grpc.aio says then."""


def open_channel(
    kind: Any,
    target: str,
    credentials: grpc.ChannelCredentials | None,
    options: Sequence[tuple[str, Any]] | None = None,
) -> Any:
    """A channel of ``kind``, which is ``grpc`` or ``grpc.aio``; with TLS if there are ``credentials``.

    A channel to this machine never uses a proxy.
    """
    if is_loopback(target):
        options = [*(options or ()), ("grpc.enable_http_proxy", 0)]
    if credentials is None:
        return kind.insecure_channel(target, options=options)
    return kind.secure_channel(target, credentials, options=options)


class FinalStatus:
    """The status with which a service ends a call of grpc.aio.

    A request that can no longer be written because the call has ended makes grpc.aio replace the status by INTERNAL. So
    one of ten streams that a service refuses at once would lose the reason.
    """

    def __init__(self, call: Any) -> None:
        self._status: tuple[Any, Any, str] | None = None
        call.add_done_callback(self._keep)

    def error(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """The error that the call has raised, with the service's own status."""
        if error.details() != _REPLACED or self._status is None:
            return error
        code, trailing, details = self._status
        return grpc.aio.AioRpcError(code, error.initial_metadata(), trailing, details, error.debug_error_string())

    def _keep(self, call: Any) -> None:
        code, trailing, details = (_now(each) for each in (call.code(), call.trailing_metadata(), call.details()))
        if details != _REPLACED:
            self._status = self._status or (code, trailing, details)


def _now(finished: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that has nothing to wait for."""
    try:
        finished.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("the call has not ended")


def is_loopback(target: str) -> bool:
    """Whether ``HOST:PORT`` is this machine by its loopback interface."""
    host = _host(target)
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_of(target: str, environment: Mapping[str, str] | None = None) -> str:
    """Which proxy a channel to ``HOST:PORT`` uses, as the end of a sentence; empty: none.

    gRPC reads these variables itself; of the address only host and port are shown, since it may hold a password.
    """
    variables = os.environ if environment is None else environment
    name = next((name for name in ("grpc_proxy", "https_proxy", "http_proxy") if variables.get(name)), None)
    host = _host(target)
    without = variables.get("no_grpc_proxy") or variables.get("no_proxy") or ""
    if name is None or is_loopback(target) or any(host.endswith(each.strip()) for each in without.split(",") if each):
        return ""
    proxy = urlsplit(variables[name])
    return f" through the proxy {proxy.hostname}:{proxy.port or 80}, which the variable {name} names"


def _host(target: str) -> str:
    """The host of ``HOST``, ``HOST:PORT``, ``[IPv6]:PORT`` or one of these behind ``dns:///`` or ``ipv6:``."""
    plain = re.sub(r"^(dns:(//[^/]*/)?|ipv4:|ipv6:)", "", target)
    if plain.startswith("["):
        return plain[1:].partition("]")[0]
    return plain.rpartition(":")[0] if plain.count(":") == 1 else plain


def retrying(names: Iterable[dict[str, str]], *, attempts: int, first_s: float, longest_s: float, growth: float) -> str:
    """A gRPC service config (gRFC A6) that retries calls which end with UNAVAILABLE, within their deadline.

    Args:
        names: the methods, which must be safe to run twice: ``{"service": …}`` or ``{"service": …, "method": …}``.
        attempts: the largest number of attempts, the first included; gRPC allows 5.
        first_s: seconds before the second attempt.
        longest_s: the longest pause before an attempt.
        growth: the factor by which the pause grows with each attempt.
    """
    policy = {
        "maxAttempts": attempts,
        "initialBackoff": f"{first_s:g}s",
        "maxBackoff": f"{longest_s:g}s",
        "backoffMultiplier": growth,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps({"methodConfig": [{"name": [*names], "retryPolicy": policy}]})


# Every call may run twice, because items are stored by their id. So gRPC retries a call that reached no service (a
# replica that left, a proxy that restarts), within the deadline of the call.
_SEARCH = [{"service": "scot.v1.SearchService"}, {"service": "scot.v1.IndexService"}]
SEARCH_OPTIONS: Sequence[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", 64 * 2**20),
    ("grpc.max_send_message_length", -1),
    ("grpc.service_config", retrying(_SEARCH, attempts=5, first_s=0.2, longest_s=1, growth=2.5)),
    ("grpc.lb_policy_name", "round_robin"),  # over every address that a name resolves to
    # An address of Kubernetes may lead to a replica that has ended until its proxies know: try again soon, and then for
    # a service that restarts.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # A machine that has lost its network or power says nothing. What was sent and is not confirmed for three seconds
    # ends the connection (TCP_USER_TIMEOUT, which gRPC sets if there is a keepalive).
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_time_ms", 3_600_000),  # pings of a call that is silent would be refused as too many
    ("grpc.min_reconnect_backoff_ms", 1_000),
]
"""The options of a channel to the search service."""
APART: tuple[str, Any] = ("grpc.use_local_subchannel_pool", 1)
"""The option of a channel with connections of its own; channels to one target otherwise share theirs."""
SERVING = b"\x08\x01"
"""HealthCheckResponse{status: SERVING}, written out to need no grpcio-health-checking."""
