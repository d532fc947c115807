"""The held-out images of a run: selected by a hash of their id, so that every run and worker selects the same."""

from __future__ import annotations

import torch

from scot.composers.base import ComposerModule
from scot.embeddings.cache import TripletEmbeddings, folds, unit_rows
from scot.embeddings.memory_mapped import split_mapped
from scot.errors import InvalidInput

_MOST = 4096  # triplets measured; more would change only the third digit
_CHUNK = 512


def split(data: TripletEmbeddings, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """``(training, held-out)`` rows of the triplets; all triplets of one image are on the same side.

    Raises:
        InvalidInput: one side would be empty.
    """
    limit = int(share * 2**32)
    if data.mapped is not None:
        training, measured = split_mapped(data, limit)
    else:
        held_N = torch.from_numpy(folds(data.image_ids) < limit)[data.image_N]
        training, measured = (~held_N).nonzero().flatten(), held_N.nonzero().flatten()
    if not len(training) or not len(measured):
        raise InvalidInput(
            f"{len(data)} triplets of {len(data.image_ids)} images are too few to hold out a share of {share:g}"
        )
    return training, measured


@torch.inference_mode()
def evaluate(
    module: ComposerModule, data: TripletEmbeddings, rows_M: torch.Tensor, device: str | torch.device = "cpu"
) -> dict[str, float]:
    """How well V_c finds its T_u among all distinct T_u of the held-out triplets; ``module`` is on ``device``.

    Returns:
        ``recall@1``, ``recall@10``, and ``beats_caption``: the share of queries nearer to T_u than to their own T_o.
    """
    rows_M = rows_M[:: max(1, len(rows_M) // _MOST)]
    texts_K, target_M = torch.unique(data.edited_N[rows_M], return_inverse=True)
    gallery_KD = unit_rows(data.text_VD, texts_K).to(device)
    training, hits, nearer = module.training, torch.zeros(2), torch.zeros(2)
    module.eval()
    try:
        for start in range(0, len(rows_M), _CHUNK):
            rows, target = rows_M[start : start + _CHUNK], target_M[start : start + _CHUNK, None].to(device)
            image_BD = unit_rows(data.image_UD, data.image_N[rows]).to(device)
            edit_BD = unit_rows(data.text_VD, data.edit_N[rows]).to(device)
            states = [each.to(device) for each in data.states(rows)] if module.reads_states else []
            query_BD = module(image_BD, edit_BD, *states).float()
            scores_BK = query_BD @ gallery_KD.T
            goal_B1 = scores_BK.gather(1, target)
            rank_B = (~(scores_BK < goal_B1)).sum(1) - 1  # a tie or a NaN score is not a hit
            hits += torch.tensor([float((rank_B < 1).sum()), float((rank_B < 10).sum())])
            own_B = (query_BD * unit_rows(data.text_VD, data.caption_N[rows]).to(device)).sum(-1)
            changed_B = (data.caption_N[rows] != data.edited_N[rows]).to(device)
            nearer += torch.tensor([float(((goal_B1[:, 0] > own_B) & changed_B).sum()), float(changed_B.sum())])
    finally:
        module.train(training)
    count = len(rows_M)
    return {
        "recall@1": float(hits[0]) / count,
        "recall@10": float(hits[1]) / count,
        "beats_caption": float(nearer[0] / nearer[1].clamp(min=1)),
    }
