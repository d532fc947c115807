"""A private Ray on this machine's loopback interface, for one process only: its environment and its start."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from scot.errors import InvalidInput, Unavailable, first_line

LOCAL_RAY: Mapping[str, str] = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray gives workers a niceness of 15; here the workers do the main work and need normal priority.
    "RAY_worker_niceness": "0",
    # By default glibc returns every large buffer to the kernel: page faults take a third of the image tower's time.
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
}
"""Set these before Ray starts."""

QUIET: Mapping[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
"""Arguments of ``ray.init``: errors only."""
_ATTEMPTS = 3
_RAY_PROCESSES = logging.getLogger("ray._private.services")

_SOCKET_PATH = 107 if sys.platform == "linux" else 103  # bytes of the path of a Unix socket
_LONGEST = _SOCKET_PATH - len("/ray/session_2026-01-01_00-00-00_123456_1234567/sockets/plasma_store")


def temporary_folder(environment: Mapping[str, str], short: Path | None = None) -> Mapping[str, str]:
    """The variable that gives Ray a short folder where that of the environment is too long for its sockets.

    Args:
        environment: the variables of this process.
        short: the folder to use then, made if it is missing; by default one of this user in /tmp.

    Raises:
        InvalidInput: it is too long, and the short one cannot be used; the message names the variable.
    """
    names = ("RAY_TMPDIR", "TMPDIR") if sys.platform == "linux" else ("RAY_TMPDIR",)  # as Ray reads them
    name = next((name for name in names if name in environment), None)
    if name is None or (length := len(os.fsencode(environment[name]))) <= _LONGEST:
        return {}
    short = short or Path(f"/tmp/scot-{os.getuid()}")
    try:
        short.mkdir(mode=0o700, exist_ok=True)
        state = short.lstat()
        usable = short.is_dir() and not short.is_symlink() and state.st_uid == os.getuid() and os.access(short, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        raise InvalidInput(
            f"{name} is {length} bytes long, too long for Ray's sockets (at most {_LONGEST}), and {short} is not "
            "usable; set RAY_TMPDIR to a short folder"
        )
    return {"RAY_TMPDIR": str(short)}


def start_private_ray(
    *,
    stop: Callable[[], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
    attempted: Callable[[], None] = lambda: None,
    **options: Any,
) -> None:
    """Start a Ray of this process's own, without a dashboard and with quiet logs, at most three times.

    Args:
        stop: ends what an attempt that failed has started; by default ``ray.shutdown``.
        stopped: whether not to try again; then Ray may not run when this returns.
        attempted: is called after each attempt, since Ray replaces the handler of SIGTERM.
        options: further arguments of ``ray.init``.

    Raises:
        Unavailable: no attempt succeeded.
    """
    import ray

    _RAY_PROCESSES.addFilter(_not_about_the_dashboard)
    for attempts_left in reversed(range(_ATTEMPTS)):
        try:
            ray.init(address="local", include_dashboard=False, **QUIET, **options)
            return
        except Exception as error:
            # Ray waits 30 seconds for its own processes, which may not be enough on a busy machine.
            (stop or ray.shutdown)()
            if stopped():
                return
            if not attempts_left:
                hint = "is the machine very busy, or out of memory?"
                raise Unavailable(f"Ray does not start; {hint} {first_line(error)}") from error
        finally:
            attempted()


def _not_about_the_dashboard(record: logging.LogRecord) -> bool:
    """Whether this is no error of the dashboard's process: Ray starts it when told not to, and goes on without it."""
    return record.funcName != "start_api_server"
