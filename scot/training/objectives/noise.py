"""Noise on text vectors, so that captions may stand in for pictures."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn.functional import normalize

from scot.training.objectives.batch import Batch, rank, world
from scot.training.objectives.config import LossConfig


def noised(batch: Batch, config: LossConfig, seed: int) -> Batch:
    """The batch with noise on T_m and T_u: normalize(t + σ u ε), u ~ U(0, 1) a row, ε ~ N(0, 1) a component.

    σ = 1 is LinCIR's noise (Gu et al., arXiv 2312.01998), on vectors that are not normalised. A unit vector of D
    components gets noise of its own length at σ u = 1/√D. The noise of the global batch is drawn from ``seed`` and each
    worker takes its rows of it, so that it does not depend on the number of workers.
    """
    if not config.edit_noise and not config.target_noise:
        return batch
    generator = torch.Generator(batch.edit_BD.device).manual_seed(seed)
    edit_BD = _noised(batch.edit_BD, config.edit_noise, generator)
    return replace(batch, edit_BD=edit_BD, edited_BD=_noised(batch.edited_BD, config.target_noise, generator))


def _noised(text_BD: torch.Tensor, sigma: float, generator: torch.Generator) -> torch.Tensor:
    if not sigma:
        return text_BD
    rows, dim = text_BD.shape
    amount_G1 = torch.rand((rows * world(), 1), generator=generator, device=text_BD.device)
    noise_GD = torch.randn((rows * world(), dim), generator=generator, device=text_BD.device)
    mine = slice(rank() * rows, (rank() + 1) * rows)
    return normalize(text_BD + sigma * amount_G1[mine] * noise_GD[mine], dim=-1)
