"""The direction loss: from the reference to the query as from the caption to the edited caption."""

from __future__ import annotations

import torch
from torch.nn.functional import cosine_similarity, normalize

_CHANGED = 1e-3  # shorter than this, T_u − T_o has no direction


def edit_direction(caption_BD: torch.Tensor, edited_BD: torch.Tensor) -> torch.Tensor:
    """(T_u − T_o) / ‖T_u − T_o‖, and zeros where the edit changes nothing: rows ``(B, D)``."""
    change_BD = edited_BD - caption_BD
    changed_B1 = change_BD.norm(dim=-1, keepdim=True) > _CHANGED
    return torch.where(changed_B1, normalize(change_BD, dim=-1), 0.0)


def direction_loss(
    query_BD: torch.Tensor, image_BD: torch.Tensor, caption_BD: torch.Tensor, edited_BD: torch.Tensor
) -> torch.Tensor:
    """1 − cos(V_c − I, T_u − T_o), mean over the rows (the direction of StyleGAN-NADA, arXiv 2108.00946).

    Both differences stay inside one modality, so the gap between modalities cancels. Rows whose edit changes nothing
    (T_u = T_o) have no direction and count as 0, so that the mean over workers is the mean over the global batch.
    """
    wanted_BD = edited_BD - caption_BD
    changed_B = wanted_BD.norm(dim=-1) > _CHANGED
    loss_B = 1.0 - cosine_similarity(query_BD - image_BD, wanted_BD, dim=-1)
    return torch.where(changed_B, loss_B, 0.0).mean()
