"""The sigmoid loss: each candidate is right or wrong by itself, and several may be right."""

from __future__ import annotations

import torch
from torch.nn.functional import softplus


def sigmoid_loss(
    logits_BM: torch.Tensor, same_BM: torch.Tensor, absent_BM: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """The sigmoid loss with several positives (SigLIP, Zhai et al., arXiv 2303.15343), summed over the candidates.

    L = −1/B Σ_b Σ_m log σ( z_bm (s q_b·c_m + t) ), where z is 1 for a candidate whose text is the row's T_u, else −1.

    Args:
        logits_BM: s q·c.
        same_BM: True where z is 1.
        absent_BM: True where there is no candidate; it counts for nothing.
        bias: t; negative at first, since nearly all candidates are wrong.
    """
    sign_BM = torch.where(same_BM, 1.0, -1.0)
    loss_BM = softplus(-sign_BM * (logits_BM + bias))
    return loss_BM.masked_fill(absent_BM, 0.0).sum(1).mean()
