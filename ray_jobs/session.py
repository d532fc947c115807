"""Ray for one job: join the cluster there is, or start a small private one and stop it at the end."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

ROOT = Path(__file__).resolve().parents[1]
_OBJECT_STORE_BYTES = 400 * 1024**2


@contextmanager
def ray_session(num_cpus: int | None = None) -> Iterator[None]:
    """Connect to Ray for the time of the block.

    With ``RAY_ADDRESS`` set (as ``ray job submit`` does) the job joins that cluster. Otherwise it starts a local Ray
    with ``num_cpus`` (by default all cores), a small object store, no dashboard and quiet logs, and stops it after.
    A Ray that this process has already started is used as it is, and left running.
    """
    if ray.is_initialized():
        yield
        return
    # Workers must import the same scot as this process, wherever the job was started from.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
    else:
        # A private Ray on this machine's loopback serves this process only.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # glibc gives every large buffer back to the kernel and faults it in anew: a third of the image tower's time.
        os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "1073741824")
        os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "1073741824")
        # Ray runs workers 15 steps nicer than their driver; here they are the job, and must not starve behind the rest.
        os.environ.setdefault("RAY_worker_niceness", "0")
        ray.init(
            address="local",
            num_cpus=num_cpus or os.cpu_count(),
            object_store_memory=_OBJECT_STORE_BYTES,
            include_dashboard=False,
            **quiet,
        )
    try:
        yield
    finally:
        ray.shutdown()
