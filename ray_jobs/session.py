"""Ray for one job: join a cluster, or start a small private one and stop it at the end."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from scot.bundled import python_path
from scot.local_ray import LOCAL_RAY, temporary_folder

_OBJECT_STORE_BYTES = 400 * 1024**2


@contextmanager
def ray_session(num_cpus: int | None = None) -> Iterator[None]:
    """Connect to Ray while the block runs.

    With ``RAY_ADDRESS`` set (as ``ray job submit`` does) the job joins that cluster. Otherwise it starts a local Ray
    with ``num_cpus`` (by default all cores), a small object store, no dashboard and quiet logs, and stops it after.
    If this process is connected to Ray already, it stays connected.
    """
    if ray.is_initialized():
        yield
        return
    # Workers must import the same scot as this process, whatever the working directory.
    os.environ["PYTHONPATH"] = python_path()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
    else:
        for name, value in LOCAL_RAY.items():
            os.environ.setdefault(name, value)
        os.environ.update(temporary_folder(os.environ))
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
