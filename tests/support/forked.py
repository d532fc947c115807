"""Processes that start in a moment: forked from a server of its own that has imported PyTorch and SCOT once.

A process that imports PyTorch itself needs seconds of a core. The server has no threads and has computed nothing, so
its copies are as good as new.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing

_PRELOADED = [
    "torch",
    "torch._dynamo",
    "open_clip",
    "pytest",
    "scot.embeddings.encode",
    "scot.encoders.clip",
    "scot.training.loop",
    "scot.index.sync",
    "tests.support.forked",
]


def forkserver() -> ForkServerContext:
    """Where such processes come from; it has imported everything when this returns."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    first = context.Process(target=os.getpid)
    first.start()
    first.join()
    return context


def run_workers(world: int, folder: Path, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What ``function`` returns in each of ``world`` processes of one gloo group; makes ``folder`` for their files."""
    folder.mkdir()
    forkserver()
    torch.multiprocessing.start_processes(  # type: ignore[attr-defined]
        _worker, (world, folder, function, arguments), nprocs=world, start_method="forkserver"
    )
    return [torch.load(folder / f"{rank}.pt") for rank in range(world)]


def _worker(rank: int, world: int, folder: Path, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    save = torch.save  # the function may replace it
    save(function(*arguments), folder / f"{rank}.pt")
    dist.destroy_process_group()
