"""The environment of a private Ray on this machine's loopback, which serves one process only."""

from __future__ import annotations

from collections.abc import Mapping

LOCAL_RAY: Mapping[str, str] = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray runs workers 15 steps nicer than their driver; here they are the work, and must not starve behind the rest.
    "RAY_worker_niceness": "0",
    # glibc gives every large buffer back to the kernel and faults it in anew: a third of the image tower's time.
    "MALLOC_MMAP_THRESHOLD_": "1073741824",
    "MALLOC_TRIM_THRESHOLD_": "1073741824",
}
"""To be set before Ray starts."""
