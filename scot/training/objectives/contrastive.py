"""InfoNCE with hard-negative weights, the sigmoid loss, and the candidates that they compare a query with."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn.functional import cross_entropy, softplus

from scot.training.distributed import rank_and_world
from scot.training.objectives.batch import TripletBatch, gather
from scot.training.objectives.config import LossConfig

_NEVER = -1e9  # the logit of an excluded candidate: finite, so that its gradient is 0 and not NaN
_IMAGE = -2  # a text number that no T_u has


@dataclass(slots=True)
class Candidates:
    """The candidates of a worker's B queries: M shared columns, then K columns of each row's own.

    ``positive_B`` is the column of each row's T_u. ``same_BM`` is True if a candidate's text is the row's T_u: it is
    not a negative, since many captions repeat. ``absent_BM`` is True if a row has no candidate there. Both are
    ``(B, M + K)``.
    """

    vectors_MD: torch.Tensor
    positive_B: torch.Tensor
    same_BM: torch.Tensor
    absent_BM: torch.Tensor
    own_BKD: torch.Tensor | None


def candidates_of(batch: TripletBatch, config: LossConfig) -> Candidates:
    """The T_u of all workers' rows and, if configured, their T_o, their T_m and the queue; own: I, and sibling T_u."""
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
        text_BM = torch.cat([text_BM, text_BM.new_full((rows, 1), _IMAGE)], dim=1)
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
    """The columns of a worker's own rows among the gathered ones."""
    return torch.arange(len(rows_B), device=rows_B.device) + rank_and_world()[0] * len(rows_B)


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
        candidates_MD: unit rows that the query is compared with.
        positive_B: the column of each row's positive.
        scale: s, the inverse temperature.
        masked_BM: True where a candidate is excluded from the row's sum (a false negative), over the shared and the
            own candidates; the positive stays.
        own_BKD: K more negatives of each row alone.
        hardness: β.
    """
    logits_BM = logits(query_BD, candidates_MD, scale, own_BKD)
    if masked_BM is None and not hardness:
        return cross_entropy(logits_BM, positive_B)
    out_BM = torch.zeros_like(logits_BM, dtype=torch.bool) if masked_BM is None else masked_BM
    positive_BM = torch.zeros_like(out_BM).scatter_(1, positive_B[:, None], True)
    if hardness:
        negative_BM = ~(out_BM | positive_BM)
        tilt_BM = (hardness * logits_BM).masked_fill(~negative_BM, _NEVER)
        count_B1 = negative_BM.sum(1, keepdim=True).clamp(min=1)
        weight_BM = count_B1.log() + tilt_BM - tilt_BM.logsumexp(1, keepdim=True)
        logits_BM = torch.where(negative_BM, logits_BM + weight_BM, logits_BM)
    return cross_entropy(logits_BM.masked_fill(out_BM & ~positive_BM, -math.inf), positive_B)


def sigmoid_loss(
    logits_BM: torch.Tensor, same_BM: torch.Tensor, absent_BM: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """The sigmoid loss with several positives (SigLIP, Zhai et al., arXiv 2303.15343), summed over the candidates.

    L = −1/B Σ_b Σ_m log σ( z_bm (s q_b·c_m + t) ), where z is 1 for a candidate whose text is the row's T_u, else −1.

    Args:
        logits_BM: s q·c.
        same_BM: True where z is 1.
        absent_BM: True where there is no candidate; it is ignored.
        bias: t; starts negative, since nearly all candidates are negatives.
    """
    sign_BM = torch.where(same_BM, 1.0, -1.0)
    loss_BM = softplus(-sign_BM * (logits_BM + bias))
    return loss_BM.masked_fill(absent_BM, 0.0).sum(1).mean()
