"""gRPC channels of SCOT's clients."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import grpc


def open_channel(
    kind: Any,
    target: str,
    credentials: grpc.ChannelCredentials | None,
    options: Sequence[tuple[str, Any]] | None = None,
) -> Any:
    """A channel of ``kind``, which is ``grpc`` or ``grpc.aio``; with TLS if there are ``credentials``."""
    if credentials is None:
        return kind.insecure_channel(target, options=options)
    return kind.secure_channel(target, credentials, options=options)


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
