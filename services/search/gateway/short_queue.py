"""A short queue in front of a gateway that listens itself (docs/adr/0006, docs/adr/0029).

A call waits in a server of grpc.aio until its event loop takes it; by default, gRPC drops new ones when a thousand
wait, without reading their messages. An event loop that takes a thousand calls only to refuse them needs half a second
for that. So gRPC drops calls as soon as more wait than the gateway has places for.

This uses a private part of Serve: the list of its servers' options. A test names it.
"""

from __future__ import annotations

from services.search.rpc.limits import MAX_WAITING


def shorten_queue() -> None:
    """Let the gRPC servers that Serve starts in this process from now on have short queues."""
    from ray.serve._private.constants import DEFAULT_GRPC_SERVER_OPTIONS

    DEFAULT_GRPC_SERVER_OPTIONS += [
        ("grpc.server.max_pending_requests", MAX_WAITING),  # from here on some are dropped, at random
        ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_WAITING),
    ]
