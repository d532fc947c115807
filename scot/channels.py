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
    """A channel of ``kind``, which is ``grpc`` or ``grpc.aio``: TLS with ``credentials``, plain without."""
    if credentials is None:
        return kind.insecure_channel(target, options=options)
    return kind.secure_channel(target, credentials, options=options)


def retrying(names: Iterable[dict[str, str]], *, attempts: int, first_s: float, longest_s: float, growth: float) -> str:
    """gRPC's service config (gRFC A6) by which calls that found nobody go out again, within their own deadline.

    UNAVAILABLE says that nobody was found.

    Args:
        names: of the methods, which must be safe to run twice: ``{"service": …}`` or ``{"service": …, "method": …}``.
        attempts: how often a call goes out at most; gRPC takes no more than 5.
        first_s: seconds before the second attempt, on average.
        longest_s: and the most before a later one.
        growth: by what the pause grows from one attempt to the next.
    """
    policy = {
        "maxAttempts": attempts,
        "initialBackoff": f"{first_s:g}s",
        "maxBackoff": f"{longest_s:g}s",
        "backoffMultiplier": growth,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps({"methodConfig": [{"name": [*names], "retryPolicy": policy}]})
