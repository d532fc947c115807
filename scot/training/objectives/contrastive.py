"""InfoNCE, its hard-negative weights, and the candidates that a query is told apart from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy

from scot.training.objectives.batch import Batch, gather, rank
from scot.training.objectives.config import LossConfig

_NEVER = -1e9  # the logit of what is left out of a sum: a finite one, whose gradient is 0 rather than not a number
_PICTURE = -2  # a text that no T_u has


@dataclass(slots=True)
class Candidates:
    """What the B queries of a worker are compared with: M shared columns, then K that each row has for itself.

    ``positive_B`` is the column of each row's T_u. ``same_BM`` is True where a candidate's text is the row's T_u:
    not a negative, since many captions repeat. ``absent_BM`` is True where a row has no candidate. Both are
    ``(B, M + K)``.
    """

    vectors_MD: torch.Tensor
    positive_B: torch.Tensor
    same_BM: torch.Tensor
    absent_BM: torch.Tensor
    own_BKD: torch.Tensor | None


def candidates_of(batch: Batch, config: LossConfig) -> Candidates:
    """The T_u of all workers' rows and, where chosen, their T_o, their T_m and the queue; own: I, and sibling T_u."""
    sources = [(batch.edited_BD, batch.edited_B)]
    if config.caption_negatives:
        sources.append((batch.caption_BD, batch.caption_B))
    if config.edit_negatives:
        sources.append((batch.edit_BD, batch.edit_B))
    vectors, texts = [gather(rows) for rows, _ in sources], [gather(text) for _, text in sources]
    if batch.queued_QD is not None and batch.queued_Q is not None:
        vectors.append(batch.queued_QD)
        texts.append(batch.queued_Q)
    rows = len(batch.edited_B)
    text_BM = torch.cat(texts).expand(rows, -1)
    own = []
    if config.image_negatives:
        own.append(batch.image_BD[:, None])
        text_BM = torch.cat([text_BM, text_BM.new_full((rows, 1), _PICTURE)], dim=1)
    if batch.sibling_BKD is not None and batch.sibling_BK is not None:
        own.append(batch.sibling_BKD)
        text_BM = torch.cat([text_BM, batch.sibling_BK], dim=1)
    return Candidates(
        vectors_MD=torch.cat(vectors),
        positive_B=own_columns(batch.edited_B),
        same_BM=text_BM == batch.edited_B[:, None],
        absent_BM=text_BM == -1,
        own_BKD=torch.cat(own, dim=1) if own else None,
    )


def own_columns(rows_B: torch.Tensor) -> torch.Tensor:
    """Where a worker's own rows are among the gathered ones."""
    return torch.arange(len(rows_B), device=rows_B.device) + rank() * len(rows_B)


def logits(
    query_BD: torch.Tensor, candidates_MD: torch.Tensor, scale: torch.Tensor, own_BKD: torch.Tensor | None = None
) -> torch.Tensor:
    """s·cosine of each query with the shared candidates and with its own, ``(B, M + K)``."""
    logits_BM = scale * query_BD @ candidates_MD.T
    if own_BKD is not None:
        logits_BM = torch.cat([logits_BM, scale * (query_BD[:, None] * own_BKD).sum(-1)], dim=1)
    return logits_BM


def info_nce(
    query_BD: torch.Tensor,
    candidates_MD: torch.Tensor,
    positive_B: torch.Tensor,
    scale: torch.Tensor,
    *,
    masked_BM: torch.Tensor | None = None,
    own_BKD: torch.Tensor | None = None,
    hardness: float = 0.0,
) -> torch.Tensor:
    """InfoNCE (van den Oord et al., arXiv 1807.03748), mean over the rows, with the weights of HN-NCE.

    L = −1/B Σ_b log [ exp(s q_b·c_p(b)) / (exp(s q_b·c_p(b)) + Σ_m w_bm exp(s q_b·c_m)) ], where p(b) is the
    positive's column and m goes over the N negatives of the row. HN-NCE (Radenovic et al., arXiv 2301.02280, α = 1):
    w_bm = N exp(β s q_b·c_m) / Σ_n exp(β s q_b·c_n), mean 1 over the row; with β = 0, plain InfoNCE, every weight is 1.

    Args:
        query_BD: unit rows with gradient.
        candidates_MD: unit rows to tell apart.
        positive_B: the column of each row's positive.
        scale: s, the inverse temperature.
        masked_BM: True where a candidate is left out of the row's sum (a false negative), over the shared and the own
            candidates; the positive stays.
        own_BKD: K more negatives for each row, which no other row sees.
        hardness: β.
    """
    logits_BM = logits(query_BD, candidates_MD, scale, own_BKD)
    if masked_BM is None and not hardness:
        return cross_entropy(logits_BM, positive_B)
    out_BM = torch.zeros_like(logits_BM, dtype=torch.bool) if masked_BM is None else masked_BM
    right_BM = torch.zeros_like(out_BM).scatter_(1, positive_B[:, None], True)
    if hardness:
        negative_BM = ~(out_BM | right_BM)
        tilt_BM = (hardness * logits_BM).masked_fill(~negative_BM, _NEVER)
        count_B1 = negative_BM.sum(1, keepdim=True).clamp(min=1)
        weight_BM = count_B1.log() + tilt_BM - tilt_BM.logsumexp(1, keepdim=True)
        logits_BM = torch.where(negative_BM, logits_BM + weight_BM, logits_BM)
    return cross_entropy(logits_BM.masked_fill(out_BM & ~right_BM, -math.inf), positive_B)
