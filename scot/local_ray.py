"""The environment of a private Ray on this machine's loopback interface, for one process only."""

from __future__ import annotations

from collections.abc import Mapping

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
