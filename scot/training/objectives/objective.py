"""The weighted sum of the configured terms."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from scot.training.objectives.batch import TripletBatch, gather
from scot.training.objectives.config import LossConfig
from scot.training.objectives.contrastive import candidates_of, info_nce, logits, own_columns, sigmoid_loss
from scot.training.objectives.direction import direction_loss, modality_gap, moved, preservation_loss

_ON_DIRECTION = {"direction": direction_loss, "preservation": preservation_loss}


class ContrastiveLoss(nn.Module):
    """L = Σ_term weight · L_term over the terms of :class:`LossConfig`; by default InfoNCE of V_c to T_u alone.

    With k workers of B/k rows each, every worker gathers the frozen vectors of the others (without gradient), so the
    mean of the workers' losses is the loss of one worker with B rows, for every term.
    """

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.config = config
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.logit_scale)), requires_grad=config.learn_scale)
        if config.sigmoid_weight:
            self.bias = nn.Parameter(torch.tensor(config.sigmoid_bias))

    def scale(self) -> torch.Tensor:
        """s = exp(log_scale), at most 100 (CLIP, arXiv 2103.00020)."""
        scale: torch.Tensor = self.log_scale.clamp(max=math.log(100.0)).exp()
        return scale

    def forward(self, query_BD: torch.Tensor, batch: TripletBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of this worker's ``(B, D)`` queries, a scalar, and each term without weight and gradient."""
        query_BD, scale, weights = query_BD.float(), self.scale(), self.config.weights()
        terms: dict[str, torch.Tensor] = {}
        if "contrastive" in weights or "sigmoid" in weights:
            terms = self._to_text(query_BD, batch, scale)
        if "retrieved" in weights:
            terms["retrieved"] = self._to_image(query_BD, batch, scale)
        if "moved" in weights or "analogy" in weights:
            terms |= self._to_moved(query_BD, batch, scale)
        for name, term in _ON_DIRECTION.items():
            if name in weights:
                terms[name] = term(query_BD, batch.image_BD, batch.caption_BD, batch.edited_BD)
        total = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
        return total, {name: value.detach() for name, value in terms.items()}

    def _to_text(self, query_BD: torch.Tensor, batch: TripletBatch, scale: torch.Tensor) -> dict[str, torch.Tensor]:
        """InfoNCE and the sigmoid loss to T_u, over the same candidates."""
        config, found, terms = self.config, candidates_of(batch, self.config), {}
        if config.contrastive_weight:
            terms["contrastive"] = info_nce(
                query_BD,
                found.vectors_MD,
                found.positive_B,
                scale,
                masked_BM=found.same_BM | found.absent_BM,
                own_BKD=found.own_BKD,
                hardness=config.hardness,
            )
        if config.sigmoid_weight:
            logits_BM = logits(query_BD, found.vectors_MD, scale, found.own_BKD)
            terms["sigmoid"] = sigmoid_loss(logits_BM, found.same_BM, found.absent_BM, self.bias)
        return terms

    def _to_moved(self, query_BD: torch.Tensor, batch: TripletBatch, scale: torch.Tensor) -> dict[str, torch.Tensor]:
        """To the moved image M (:func:`scot.training.objectives.direction.moved`): InfoNCE, and 1 − cos(V_c, M).

        InfoNCE has the M of all rows as candidates and, with ``caption_negatives``, what they are without their move.
        """
        config, terms = self.config, {}
        image_BD, caption_BD, edited_BD = batch.image_BD, batch.caption_BD, batch.edited_BD
        gap_D, share = modality_gap(image_BD, edited_BD), config.moved_share
        moved_BD = moved(image_BD, caption_BD, edited_BD, gap_D, share)
        if config.moved_weight:
            candidates, texts = [gather(moved_BD)], [gather(batch.edited_B)]
            if config.caption_negatives:
                candidates.append(gather(moved(image_BD, caption_BD, caption_BD, gap_D, share)))
                texts.append(gather(batch.caption_B))
            terms["moved"] = info_nce(
                query_BD,
                torch.cat(candidates),
                own_columns(batch.edited_B),
                scale,
                masked_BM=torch.cat(texts) == batch.edited_B[:, None],
                hardness=config.hardness,
            )
        if config.analogy_weight:
            terms["analogy"] = (1.0 - cosine_similarity(query_BD, moved_BD, dim=-1)).mean()
        return terms

    def _to_image(self, query_BD: torch.Tensor, batch: TripletBatch, scale: torch.Tensor) -> torch.Tensor:
        """InfoNCE to R, an unlabelled image, among the R of all rows (CoVR-2, arXiv 2308.14746).

        L = InfoNCE(V_c; R). CoVR-2 gives each of its two targets half of the weight. R was retrieved for T_u, so it is
        similar to the edit's target but rarely equal; with ``image_negatives``, the own I is a negative here too.
        """
        assert batch.retrieved_BD is not None
        assert batch.retrieved_B is not None
        masked_BM = gather(batch.retrieved_B)[None, :] == batch.retrieved_B[:, None]
        own_BKD = None
        if self.config.image_negatives:
            own_BKD = batch.image_BD[:, None]
            masked_BM = torch.cat([masked_BM, torch.zeros_like(masked_BM[:, :1])], dim=1)
        return info_nce(
            query_BD,
            gather(batch.retrieved_BD),
            own_columns(batch.retrieved_B),
            scale,
            masked_BM=masked_BM,
            own_BKD=own_BKD,
            hardness=self.config.hardness,
        )
