"""Recall on the held-out triplets: of a composer, of the baselines, and of vectors that know the captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from scot.composers import Composer, tuned_baselines
from scot.composers.base import ComposerModule
from scot.embeddings.cache import TripletEmbeddings, unit_rows
from scot.training.held_out_pairs import PREFIX
from scot.training.objectives.direction import moved as moved_image
from scot.training.objectives.stand_ins import StandIns

_MOST = 4096  # triplets measured; more would change only the third digit
_CHUNK = 512

_AT_1 = "/recall@1"

Recall = dict[str, float]
"""``recall@1``, ``recall@10``, and ``beats_caption``: the share of queries nearer to T_u than to their own T_o."""

ORACLES = ("oracle", "oracle_moved")
"""The rows that search with the true captions: T_u, and I + T_u − T_o between the modality means."""


def evaluate(
    module: ComposerModule,
    data: TripletEmbeddings,
    rows_M: torch.Tensor,
    device: str | torch.device = "cpu",
    *,
    stand_ins: StandIns | None = None,
) -> Recall:
    """How well V_c finds its T_u among all distinct T_u of the held-out triplets; ``module`` is on ``device``.

    References are images, or where the data has none captions that stand in for them, with noise that is the same in
    every call.
    """

    def query(rows_B: torch.Tensor) -> torch.Tensor:
        states = [each.to(device) for each in data.states(rows_B)] if module.reads_states else []
        image_BD, edit_BD = (each.to(device) for each in _inputs(data, rows_B, stand_ins))
        query_BD: torch.Tensor = module(image_BD, edit_BD, *states)
        return query_BD.float()

    training = module.training
    module.eval()
    try:
        return _measure(query, data, rows_M, device)
    finally:
        module.train(training)


def references(
    data: TripletEmbeddings, training_N: torch.Tensor, rows_M: torch.Tensor, stand_ins: StandIns | None = None
) -> dict[str, Recall]:
    """The same measure for what needs no training, by name, as ``scot evaluate`` names it.

    Sums and slerp have the weight that is best for these very triplets, which favors them. The gallery is T_u, so the
    oracle finds it always; I + T_u − T_o (:data:`ORACLES`) lies beside it as far as a caption leaves things out.
    """
    pool_N = training_N[:: max(1, len(training_N) // _MOST)]
    image_ND, edit_ND = _inputs(data, pool_N, stand_ins)
    found: dict[str, Recall] = {}
    for composers in tuned_baselines(image_ND, edit_ND):
        tried = {name: _measure(_composed(each, data, stand_ins), data, rows_M) for name, each in composers.items()}
        best = max(tried, key=lambda name: tried[name]["recall@1"])
        found[best] = tried[best]
    to_text_D = unit_rows(data.text_VD, data.caption_N[pool_N]).mean(0) - image_ND.mean(0)

    def moved(rows_B: torch.Tensor) -> torch.Tensor:
        image_BD, _ = _inputs(data, rows_B, stand_ins)
        caption_BD, edited_BD = (unit_rows(data.text_VD, each[rows_B]) for each in (data.caption_N, data.edited_N))
        return moved_image(image_BD, caption_BD, edited_BD, to_text_D, share=1.0)

    found["oracle"] = _measure(lambda rows_B: unit_rows(data.text_VD, data.edited_N[rows_B]), data, rows_M)
    return found | {"oracle_moved": _measure(moved, data, rows_M)}


def as_metrics(references: Mapping[str, Recall]) -> dict[str, float]:
    """``NAME/recall@1`` of every row of :func:`references`, for the metrics of an artifact."""
    return {f"{name}{_AT_1}": recall["recall@1"] for name, recall in references.items()}


def objection(metrics: Mapping[str, float]) -> str:
    """Why a composer with these metrics must not be released: it loses to a baseline; empty if it does not.

    The held-out pairs of images decide where there are some, else the held-out edits.
    """
    tested = f"{PREFIX}recall@1" in metrics
    start, where = (PREFIX, " on pairs of images") if tested else ("", "")
    named = {name.removeprefix(start): value for name, value in metrics.items() if name.startswith(start)}
    rivals = {name.removesuffix(_AT_1): value for name, value in named.items() if name.endswith(_AT_1)}
    best = max((name for name in rivals if name not in ORACLES and "/" not in name), key=rivals.__getitem__, default="")
    own = named["recall@1"]
    if not best or own >= rivals[best]:
        return ""
    return f"its held-out recall@1 {own:.3f}{where} is below the {rivals[best]:.3f} of {best}, which is untrained"


def _composed(
    composer: Composer, data: TripletEmbeddings, stand_ins: StandIns | None
) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda rows_B: composer.compose(*_inputs(data, rows_B, stand_ins))


def _inputs(
    data: TripletEmbeddings, rows_B: torch.Tensor, stand_ins: StandIns | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """References and edits."""
    image_BD = unit_rows(data.image_UD, data.image_N[rows_B])
    if data.info.captions_only and stand_ins is not None:
        image_BD = stand_ins.of(image_BD, torch.Generator().manual_seed(int(rows_B[0])))
    return image_BD, unit_rows(data.text_VD, data.edit_N[rows_B])


@torch.inference_mode()
def _measure(
    query: Callable[[torch.Tensor], torch.Tensor],
    data: TripletEmbeddings,
    rows_M: torch.Tensor,
    device: str | torch.device = "cpu",
) -> Recall:
    """The recall of the query vectors ``(B, D)`` that ``query`` returns for rows of triplets."""
    rows_M = rows_M[:: max(1, len(rows_M) // _MOST)]
    texts_K, target_M = torch.unique(data.edited_N[rows_M], return_inverse=True)
    gallery_KD = unit_rows(data.text_VD, texts_K).to(device)
    hits, nearer = torch.zeros(2), torch.zeros(2)
    for start in range(0, len(rows_M), _CHUNK):
        rows, target_B1 = rows_M[start : start + _CHUNK], target_M[start : start + _CHUNK, None].to(device)
        query_BD = query(rows)
        scores_BK = query_BD @ gallery_KD.T
        goal_B1 = scores_BK.gather(1, target_B1)
        rank_B = (~(scores_BK < goal_B1)).sum(1) - 1  # a tie or a NaN score is not a hit
        hits += torch.tensor([float((rank_B < 1).sum()), float((rank_B < 10).sum())])
        own_B = (query_BD * unit_rows(data.text_VD, data.caption_N[rows]).to(device)).sum(-1)
        changed_B = (data.caption_N[rows] != data.edited_N[rows]).to(device)
        nearer += torch.tensor([float(((goal_B1[:, 0] > own_B) & changed_B).sum()), float(changed_B.sum())])
    count = len(rows_M)
    return {
        "recall@1": float(hits[0]) / count,
        "recall@10": float(hits[1]) / count,
        "beats_caption": float(nearer[0] / nearer[1].clamp(min=1)),
    }
