"""The contrastive objective of composer pretraining (SCOT, arXiv 2501.08347) and its optional terms.

Notation of the paper: I the reference image, T_m the edit (modification text), T_o its own caption, T_u the edited
caption, and V_c = f(I, T_m) the composed query. I, T_m, T_o, T_u come from a frozen encoder and carry no gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cosine_similarity, cross_entropy

from scot.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Which negatives a query sees, beside the T_u of the other rows of the batch."""

    caption_negatives: bool = True
    """The T_o of the batch: the own one punishes ignoring the edit."""
    edit_negatives: bool = False
    """The T_m of the batch: the own one punishes ignoring the image."""
    image_negatives: bool = False
    """The own I: punishes returning the reference itself."""
    direction_weight: float = 0.0
    """Weight of the direction loss."""
    logit_scale: float = 20.0
    """The inverse temperature s, or where it starts."""
    learn_scale: bool = True

    def __post_init__(self) -> None:
        if not 0.0 < self.logit_scale <= 100.0:
            raise InvalidInput(f"logit_scale must be above 0 and at most 100, not {self.logit_scale}")
        if self.direction_weight < 0.0:
            raise InvalidInput(f"direction_weight must not be negative, but is {self.direction_weight}")


@dataclass(slots=True)
class Batch:
    """The frozen side of B triplets: unit float32 rows, and for each text the number that tells equal texts."""

    image_BD: torch.Tensor
    edit_BD: torch.Tensor
    caption_BD: torch.Tensor
    edited_BD: torch.Tensor
    edit_B: torch.Tensor
    caption_B: torch.Tensor
    edited_B: torch.Tensor


def info_nce(
    query_BD: torch.Tensor,
    candidates_MD: torch.Tensor,
    positive_B: torch.Tensor,
    scale: torch.Tensor,
    *,
    masked_BM: torch.Tensor | None = None,
    own_BD: torch.Tensor | None = None,
) -> torch.Tensor:
    """InfoNCE (van den Oord et al., arXiv 1807.03748), mean over the rows.

    L = −1/B Σ_b log [ exp(s q_b·c_p(b)) / Σ_m exp(s q_b·c_m) ], where p(b) is the positive's column.

    Args:
        query_BD: unit rows with gradient.
        candidates_MD: unit rows to tell apart.
        positive_B: the column of each row's positive.
        scale: s, the inverse temperature.
        masked_BM: True where a candidate is left out of the row's sum (a false negative); the positive stays.
        own_BD: one more negative for each row, which no other row sees.
    """
    logits_BM = scale * query_BD @ candidates_MD.T
    if masked_BM is not None:
        keep_BM = torch.zeros_like(masked_BM).scatter_(1, positive_B[:, None], True)
        logits_BM = logits_BM.masked_fill(masked_BM & ~keep_BM, -math.inf)
    if own_BD is not None:
        logits_BM = torch.cat([logits_BM, scale * (query_BD * own_BD).sum(-1, keepdim=True)], dim=1)
    return cross_entropy(logits_BM, positive_B)


def direction_loss(
    query_BD: torch.Tensor, image_BD: torch.Tensor, caption_BD: torch.Tensor, edited_BD: torch.Tensor
) -> torch.Tensor:
    """1 − cos(V_c − I, T_u − T_o), mean over the rows (the direction of StyleGAN-NADA, arXiv 2108.00946).

    Both differences stay inside one modality, so the gap between modalities cancels. Rows whose edit changes nothing
    (T_u = T_o) have no direction and count as 0, so that the mean over workers is the mean over the global batch.
    """
    wanted_BD = edited_BD - caption_BD
    changed_B = wanted_BD.norm(dim=-1) > 1e-3
    loss_B = 1.0 - cosine_similarity(query_BD - image_BD, wanted_BD, dim=-1)
    return torch.where(changed_B, loss_B, 0.0).mean()


class ContrastiveLoss(nn.Module):
    """InfoNCE of V_c to T_u over the global batch, with the hard negatives of :class:`LossConfig`.

    Candidates of each query: the T_u of all workers' rows, and where chosen their T_o, their T_m, and the query's own
    I. With k workers of B/k rows each, every worker gathers the frozen side of the others (no gradient crosses), so the
    mean of the workers' losses is the loss of one worker with B rows.

    A candidate whose text is the query's own T_u is not a negative: many captions repeat.
    """

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.config = config
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.logit_scale)), requires_grad=config.learn_scale)

    def scale(self) -> torch.Tensor:
        """s = exp(log_scale), at most 100 (CLIP, arXiv 2103.00020)."""
        scale: torch.Tensor = self.log_scale.clamp(max=math.log(100.0)).exp()
        return scale

    def forward(self, query_BD: torch.Tensor, batch: Batch) -> torch.Tensor:
        """The loss of this worker's ``(B, D)`` queries: a scalar."""
        query_BD = query_BD.float()
        sources = [(batch.edited_BD, batch.edited_B)]
        if self.config.caption_negatives:
            sources.append((batch.caption_BD, batch.caption_B))
        if self.config.edit_negatives:
            sources.append((batch.edit_BD, batch.edit_B))
        candidates_MD = torch.cat([gather(vectors_BD) for vectors_BD, _ in sources])
        text_M = torch.cat([gather(text_B) for _, text_B in sources])
        offset = _rank() * len(query_BD)
        positive_B = torch.arange(len(query_BD), device=query_BD.device) + offset
        masked_BM = text_M[None, :] == batch.edited_B[:, None]
        own_BD = batch.image_BD if self.config.image_negatives else None
        loss = info_nce(query_BD, candidates_MD, positive_B, self.scale(), masked_BM=masked_BM, own_BD=own_BD)
        if self.config.direction_weight:
            direction = direction_loss(query_BD, batch.image_BD, batch.caption_BD, batch.edited_BD)
            loss = loss + self.config.direction_weight * direction
        return loss


def gather(rows_BX: torch.Tensor) -> torch.Tensor:
    """The rows of all workers in rank order, ``(world × B, …)``; without gradient. One worker: the rows themselves."""
    if _world() == 1:
        return rows_BX
    parts = [torch.empty_like(rows_BX) for _ in range(_world())]
    dist.all_gather(parts, rows_BX.contiguous())
    return torch.cat(parts)


def _world() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0
