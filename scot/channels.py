"""gRPC channels of SCOT's clients."""

from __future__ import annotations

from collections.abc import Sequence
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
