"""The environment of a private Ray on this machine's loopback interface, for one process only."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from scot.errors import InvalidInput

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
