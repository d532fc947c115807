"""Ray for one job: join a cluster, or start a small private one and stop it at the end."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from scot.bundled import python_path
from scot.errors import InvalidInput, Unavailable, first_line, install_hint
from scot.local_ray import LOCAL_RAY, QUIET, start_private_ray, temporary_folder
from scot.signals import sigterm_raises

_OBJECT_STORE_BYTES = 400 * 1024**2
_CONNECT_S = 10.0


@contextmanager
def ray_session(num_cpus: int | None = None) -> Iterator[None]:
    """Connect to Ray while the block runs.

    With ``RAY_ADDRESS`` set (as ``ray job submit`` does) the job joins that cluster. Otherwise it starts a local Ray
    with ``num_cpus`` (by default all cores), a small object store, no dashboard and quiet logs, and stops it after.
    If this process is connected to Ray already, it stays connected. SIGTERM raises
    :class:`scot.signals.Terminated` in the block, so that what was started stops.

    Raises:
        InvalidInput: Ray is not installed.
        Unavailable: Ray does not start, or none answers at ``RAY_ADDRESS``.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise InvalidInput(f"this job needs Ray: {install_hint('train')}") from error
    if ray.is_initialized():
        yield
        return
    # Workers must import the same scot as this process, whatever the working directory.
    os.environ["PYTHONPATH"] = python_path()
    if address := os.environ.get("RAY_ADDRESS"):
        _check_listening(address)
        try:
            ray.init(**QUIET)
        except Exception as error:
            ray.shutdown()
            raise Unavailable(f"no Ray answers at RAY_ADDRESS={address}: {first_line(error)}") from error
    else:
        for name, value in LOCAL_RAY.items():
            os.environ.setdefault(name, value)
        os.environ.update(temporary_folder(os.environ))
        start_private_ray(num_cpus=num_cpus or os.cpu_count(), object_store_memory=_OBJECT_STORE_BYTES)
    try:
        with sigterm_raises():  # Ray has just set a handler of its own
            yield
    finally:
        ray.shutdown()


def _check_listening(address: str) -> None:
    """Raise Unavailable when nothing listens at ``HOST:PORT`` or ``ray://HOST:PORT``: Ray would try for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not (colon and port.isdecimal()):  # auto, or an address of another kind
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise Unavailable(f"no Ray answers at RAY_ADDRESS={address}: {first_line(error)}") from error
