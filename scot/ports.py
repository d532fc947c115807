"""Ports of this machine: whether a service can listen on one, and one that is free."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from itertools import cycle
from random import Random

from scot.errors import Conflict, InvalidInput

_RAY_PORTS = range(10_002, 20_000)
_OWN_PORTS = range(20_000, 30_000)  # below those that systems give to outgoing connections and to port 0
_ORDER = cycle(Random().sample(_OWN_PORTS, len(_OWN_PORTS)))  # another one in each process, whatever is seeded


def free_port() -> int:
    """A port that nothing listens on now, and that no connection or other call takes before the caller listens."""
    while True:
        port = next(_ORDER)
        with suppress(Conflict):
            check_port(port)
            return port


def port_or_free(port: int) -> int:
    """The port if a service can listen on it, or else one that is free. Raises InvalidInput: there is no such port."""
    try:
        check_port(port)
    except Conflict:
        return free_port()
    return port


def check_port(port: int) -> None:
    """Check that a service can listen on a port of this machine.

    Raises:
        InvalidInput: there is no such port, Ray reserves it for its workers, or it needs privileges.
        Conflict: it is in use.
    """
    if not 1 <= port <= 65_535:
        raise InvalidInput(f"port {port} is not between 1 and 65535")
    if port in _RAY_PORTS:
        raise InvalidInput(f"port {port} is in the range that Ray reserves for its workers; choose one below 10002")
    for family, host in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((host, port))
        except PermissionError as error:
            raise InvalidInput(f"port {port} needs privileges; choose one from 1024 on") from error
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Conflict(f"port {port} is in use; stop what listens there or choose another port") from error
