"""The workers of one run as a process group: ranks, shared values, and steps that succeed on all of them or none."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from scot.errors import InvalidInput, ScotError

BACKENDS = "cpu:gloo,cuda:nccl"
"""The backends of a process group whose workers have GPUs: tensors travel over NCCL, small objects over gloo."""


class WorkerFailed(ScotError):
    """A training worker stopped; the message is its reason in one sentence."""


def rank_and_world() -> tuple[int, int]:
    """``(rank, world)`` of this process; ``(0, 1)`` outside of a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def data_parallel(module: nn.Module) -> nn.Module:
    """A module whose gradients are the means over the workers of the process group.

    Searching for unused parameters keeps the first layout of the buckets, and so the order in which gradients are
    summed: a resumed run must add in the same order as an uninterrupted run.
    """
    return nn.parallel.DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=True)


def reduced(value: torch.Tensor, operation: dist.ReduceOp.RedOpType) -> torch.Tensor:
    """``value`` reduced over the workers, the same on all of them."""
    if rank_and_world()[1] > 1:
        value = value.clone()
        dist.all_reduce(value, operation)
    return value


def from_first(value: Any) -> Any:
    """The first worker's ``value``, on all of them."""
    box = [value]
    if rank_and_world()[1] > 1:
        dist.broadcast_object_list(box, src=0)
    return box[0]


@contextlib.contextmanager
def all_or_none() -> Iterator[None]:
    """A step that succeeds on all workers or on none: an error on one worker is raised on every worker.

    Without it, when one worker stops (its disk is full), the others would wait for it in their next collective.

    Raises:
        ScotError: the worker's own error, or :class:`WorkerFailed` with the message of another worker's.
    """
    own: ScotError | None = None
    try:
        yield
    except ScotError as error:
        own = error
    message = None if own is None else str(own)
    messages: list[str | None] = [message]
    if rank_and_world()[1] > 1:
        messages *= rank_and_world()[1]
        dist.all_gather_object(messages, message)
    if own is not None:
        raise own
    if reason := next(filter(None, messages), None):
        raise WorkerFailed(reason)


def check_shares(batch_size: int, fewest: int, most: int = 0) -> None:
    """Check that the workers share the global batch evenly, for each possible number of workers.

    Raises:
        InvalidInput: they cannot; the message names the nearest batch sizes with which they can.
    """
    most = max(fewest, most)
    unit = math.lcm(*range(fewest, most + 1))
    if batch_size % unit:
        workers = f"{fewest} workers" if most == fewest else f"every number of workers from {fewest} to {most}"
        near = batch_size // unit * unit
        right = f"{near} or {near + unit}" if near else f"{unit}"
        raise InvalidInput(f"batch_size {batch_size} cannot be shared evenly by {workers}, but {right} can")
