"""What the objective sees of a step, and how the workers share it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist

from scot.composers.base import States


@dataclass(slots=True)
class Batch:
    """The frozen side of B triplets: unit float32 rows, and for each text or picture the number that tells equal ones.

    What is None below was not asked for. ``queued_QD`` is the same for all workers; the rest is a worker's own share.
    """

    image_BD: torch.Tensor
    edit_BD: torch.Tensor
    caption_BD: torch.Tensor
    edited_BD: torch.Tensor
    edit_B: torch.Tensor
    caption_B: torch.Tensor
    edited_B: torch.Tensor
    states: tuple[States, ...] = ()
    """Hidden states of I and T_m, for a composer that reads them."""
    sibling_BKD: torch.Tensor | None = None
    """T_u of other edits of the same picture."""
    sibling_BK: torch.Tensor | None = None
    """Their texts; −1 where a picture has fewer."""
    retrieved_BD: torch.Tensor | None = None
    """R, the picture retrieved for T_u."""
    retrieved_B: torch.Tensor | None = None
    queued_QD: torch.Tensor | None = None
    """T_u of earlier steps."""
    queued_Q: torch.Tensor | None = None


def gather(rows_BX: torch.Tensor) -> torch.Tensor:
    """The rows of all workers in rank order, ``(world × B, …)``; without gradient. One worker: the rows themselves."""
    if world() == 1:
        return rows_BX
    parts = [torch.empty_like(rows_BX) for _ in range(world())]
    dist.all_gather(parts, rows_BX.contiguous())
    return torch.cat(parts)


def world() -> int:
    """The number of workers."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of the workers this is."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
