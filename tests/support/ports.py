"""Free ports for services that a test starts."""

from __future__ import annotations

import socket


def free_port() -> int:
    """A port that nothing listens on, outside the range that is reserved for Ray's workers."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if not 10_000 <= port < 20_000:
            return port
