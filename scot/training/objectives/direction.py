"""Losses on the direction of an edit, T_u − T_o: the query moves along it, keeps the rest, and ends where it leads."""

from __future__ import annotations

import torch
from torch.nn.functional import cosine_similarity, normalize

from scot.training.objectives.batch import gather

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

    Both differences stay inside one modality, so the gap between modalities cancels. A row whose edit changes nothing
    (T_u = T_o) has no direction and counts as 0, so that the mean over workers is the mean over the global batch.
    """
    wanted_BD = edited_BD - caption_BD
    changed_B = wanted_BD.norm(dim=-1) > _CHANGED
    loss_B = 1.0 - cosine_similarity(query_BD - image_BD, wanted_BD, dim=-1)
    return torch.where(changed_B, loss_B, 0.0).mean()


def preservation_loss(
    query_BD: torch.Tensor, image_BD: torch.Tensor, caption_BD: torch.Tensor, edited_BD: torch.Tensor
) -> torch.Tensor:
    """1 − cos(P(V_c − μ_T), P(I − μ_I)), mean over the rows, with P x = x − (x·d) d and d = (T_u − T_o) / ‖T_u − T_o‖.

    P removes the edit's direction, so that only the rest is compared with the reference: the idea of PACT's source
    preservation, in a form of SCOT's own. An identity edit, T_u = T_o, has no direction: then P is the identity and all
    of V_c is compared. V_c lies among the texts, so each side is centred on its own modality: μ_T and μ_I are the means
    of T_u and I over the global batch.
    """
    direction_BD = edit_direction(caption_BD, edited_BD)

    def rest(rows_BD: torch.Tensor) -> torch.Tensor:
        return rows_BD - (rows_BD * direction_BD).sum(-1, keepdim=True) * direction_BD

    query_rest_BD = rest(query_BD - gather(edited_BD).mean(0))
    image_rest_BD = rest(image_BD - gather(image_BD).mean(0))
    return (1.0 - cosine_similarity(query_rest_BD, image_rest_BD, dim=-1)).mean()


def moved(
    image_BD: torch.Tensor, from_BD: torch.Tensor, to_BD: torch.Tensor, gap_D: torch.Tensor, share: float
) -> torch.Tensor:
    """n(σ (I + μ_T − μ_I + to − from) + (1 − σ) to): the image moved as its caption moves, and the caption's own pull.

    I + T_u − T_o is the analogy of word vectors (Mikolov et al., NAACL 2013); PDV (arXiv 2502.07215) searches with it
    when a caption is known. Here it is a target for a composer that has no captions. What the edit leaves unchanged
    comes from the image itself, and the wording of the caption cancels. T_u adds what the image does not show. σ is
    ``share``; ``gap_D``, μ_T − μ_I, moves the image to the texts' side of the modality gap.
    """
    return normalize(share * (image_BD + gap_D + to_BD - from_BD) + (1.0 - share) * to_BD, dim=-1)


def modality_gap(image_BD: torch.Tensor, text_BD: torch.Tensor) -> torch.Tensor:
    """μ_T − μ_I, the difference of the means over the global batch: ``(D,)``."""
    return gather(text_BD).mean(0) - gather(image_BD).mean(0)
