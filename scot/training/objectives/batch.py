"""The data of one step: a batch of triplets, its noise, the queue of earlier targets, and gathering over workers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch.nn.functional import normalize

from scot.composers.base import States
from scot.training.distributed import rank_and_world
from scot.training.objectives.config import LossConfig


@dataclass(slots=True)
class TripletBatch:
    """The frozen vectors of B triplets: unit float32 rows, and the number of each text or image (equal ones are equal).

    Optional fields are None if the loss does not need them. ``queued_QD`` is the same for all workers; the rest is a
    worker's own share.
    """

    image_BD: torch.Tensor
    edit_BD: torch.Tensor
    caption_BD: torch.Tensor
    edited_BD: torch.Tensor
    edit_B: torch.Tensor
    caption_B: torch.Tensor
    edited_B: torch.Tensor
    states: tuple[States, ...] = ()
    """Hidden states of I and T_m, for composers that read them."""
    sibling_BKD: torch.Tensor | None = None
    """T_u of other edits of the same image."""
    sibling_BK: torch.Tensor | None = None
    """Their texts; −1 if an image has fewer."""
    retrieved_BD: torch.Tensor | None = None
    """R, the image retrieved for T_u."""
    retrieved_B: torch.Tensor | None = None
    queued_QD: torch.Tensor | None = None
    """T_u of earlier steps."""
    queued_Q: torch.Tensor | None = None


def gather(rows_BX: torch.Tensor) -> torch.Tensor:
    """The rows of all workers in rank order, ``(world × B, …)``; without gradient. One worker: the rows themselves."""
    _, world = rank_and_world()
    if world == 1:
        return rows_BX
    parts = [torch.empty_like(rows_BX) for _ in range(world)]
    dist.all_gather(parts, rows_BX.contiguous())
    return torch.cat(parts)


def noised(batch: TripletBatch, config: LossConfig, seed: int) -> TripletBatch:
    """The batch with noise on T_m and T_u: normalize(t + σ u ε), u ~ U(0, 1) a row, ε ~ N(0, 1) a component.

    σ = 1 is LinCIR's noise (Gu et al., arXiv 2312.01998), on vectors that are not normalised. A unit vector of D
    components gets noise of its own length at σ u = 1/√D. The noise of the global batch is drawn from ``seed`` and each
    worker takes its own rows, so that the noise does not depend on the number of workers.
    """
    if not config.edit_noise and not config.target_noise:
        return batch
    generator = torch.Generator(batch.edit_BD.device).manual_seed(seed)
    edit_BD = add_noise(batch.edit_BD, config.edit_noise, generator)
    return replace(batch, edit_BD=edit_BD, edited_BD=add_noise(batch.edited_BD, config.target_noise, generator))


def add_noise(text_BD: torch.Tensor, sigma: float, generator: torch.Generator) -> torch.Tensor:
    """The noise of :func:`noised` on the rows of one side, ``(B, D)``."""
    if not sigma:
        return text_BD
    rows, dim = text_BD.shape
    rank, world = rank_and_world()
    amount_G1 = torch.rand((rows * world, 1), generator=generator, device=text_BD.device)
    noise_GD = torch.randn((rows * world, dim), generator=generator, device=text_BD.device)
    own = slice(rank * rows, (rank + 1) * rows)
    return normalize(text_BD + sigma * amount_G1[own] * noise_GD[own], dim=-1)


class TargetQueue:
    """The global T_u of the last ``steps`` steps (MoCo, arXiv 1911.05722; cross-batch memory, arXiv 1912.06798).

    Those papers' queues go stale as their encoder learns; this one cannot, since T_u is frozen. A queued T_u with the
    text of a row's own T_u is not a negative of that row. The queue follows from the order of the data, so checkpoints
    do not store it: a resumed run pushes the steps before its first one again.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._vectors_QD: torch.Tensor | None = None
        self._text_Q: torch.Tensor | None = None

    def push(self, batch: TripletBatch, step: int) -> None:
        """Store the T_u of all workers' rows of a step, in the place of those ``steps`` steps before."""
        edited_BD, edited_B = gather(batch.edited_BD), gather(batch.edited_B)
        rows = len(edited_B)
        if self._vectors_QD is None or self._text_Q is None:
            self._vectors_QD = edited_BD.new_zeros((self.steps * rows, edited_BD.shape[1]))
            self._text_Q = edited_B.new_full((self.steps * rows,), -1)
        place = slice(step % self.steps * rows, (step % self.steps + 1) * rows)
        self._vectors_QD[place], self._text_Q[place] = edited_BD, edited_B

    def attach(self, batch: TripletBatch) -> None:
        """Set the queued targets of a batch; places not yet filled are absent."""
        batch.queued_QD, batch.queued_Q = self._vectors_QD, self._text_Q
