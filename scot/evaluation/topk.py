"""Exact ranking of a gallery that comes in blocks: nothing larger than queries × block is in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

BLOCK = 8_192
"""Images a block: large enough for the matrix product, small enough that 1,000 queries' scores are 33 MB."""


def similarity(query_QD: torch.Tensor, gallery: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """Dot products ``(Q, N)`` with a gallery ``(N, D)``, or with ``(N, V, D)`` the largest over an image's V vectors.

    The second is the score of BLIP-2 (arXiv 2301.12597): MaxSim for a query of one vector.
    """
    if gallery.ndim == 2:
        return torch.mm(query_QD, gallery.T, out=out)
    scores_QN = torch.mm(query_QD, gallery[:, 0].T, out=out)
    for vector in range(1, gallery.shape[1]):
        torch.maximum(scores_QN, query_QD @ gallery[:, vector].T, out=scores_QN)
    return scores_QN


def top_k(
    query_QD: torch.Tensor, blocks: Iterable[torch.Tensor], k: int, excluded: Sequence[Sequence[int]] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``k`` best gallery rows of each query by :func:`similarity`; of equal scores, the earlier row first.

    Args:
        query_QD: queries, float32, on the device of the blocks.
        blocks: the gallery in order, float32 ``(B, D)`` or ``(B, V, D)`` each.
        k: how many rows; fewer are returned where the gallery is smaller.
        excluded: for each query the rows that do not compete.

    Returns:
        Rows ``(Q, K)`` int64 and their scores ``(Q, K)``; an excluded row that is needed to fill up scores -inf.
    """
    queries, device = len(query_QD), query_QD.device
    best_QK = torch.empty(queries, 0, device=device)
    rows_QK = torch.empty(queries, 0, dtype=torch.int64, device=device)
    out = [(query, row) for query, rows in enumerate(excluded or ()) for row in rows]
    start = 0
    memory = torch.empty(0, device=device)
    for block in blocks:
        if memory.numel() < queries * len(block):
            memory = torch.empty(queries * len(block), device=device)
        scores_QB = memory[: queries * len(block)].view(queries, len(block))
        similarity(query_QD, block, out=scores_QB)
        here = [(query, row - start) for query, row in out if start <= row < start + len(block)]
        if here:
            scores_QB[tuple(torch.tensor(here).T)] = -torch.inf
        values_QK, columns_QK = _block_top(scores_QB, k)
        # The earlier rows stand first in both halves, so that a stable sort settles ties by row.
        best_QK = torch.cat([best_QK, values_QK], dim=1)
        rows_QK = torch.cat([rows_QK, columns_QK + start], dim=1)
        best_QK, order_QK = best_QK.sort(dim=1, descending=True, stable=True)
        best_QK, rows_QK = best_QK[:, :k], rows_QK.gather(1, order_QK[:, :k])
        start += len(block)
    return rows_QK, best_QK


def _block_top(scores_QB: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The best ``k`` columns by score, and of equal scores the earlier ones; returned in the order of the columns."""
    width = scores_QB.shape[1]
    values_QK, columns_QK = scores_QB.topk(min(k + 1, width), dim=1)
    if width > k:
        # topk may keep any of the columns that tie at its end; one place more shows whether some do.
        for query in (values_QK[:, k - 1] == values_QK[:, k]).nonzero()[:, 0].tolist():
            values_B, columns_B = scores_QB[query].sort(descending=True, stable=True)
            values_QK[query, :k], columns_QK[query, :k] = values_B[:k], columns_B[:k]
        values_QK, columns_QK = values_QK[:, :k], columns_QK[:, :k]
    columns_QK, order_QK = columns_QK.sort(dim=1)
    return values_QK.gather(1, order_QK), columns_QK
