"""Source preservation: what the edit did not ask to change stays as it is in the reference."""

from __future__ import annotations

import torch
from torch.nn.functional import cosine_similarity

from scot.training.objectives.batch import gather
from scot.training.objectives.direction import edit_direction


def preservation_loss(
    query_BD: torch.Tensor, image_BD: torch.Tensor, caption_BD: torch.Tensor, edited_BD: torch.Tensor
) -> torch.Tensor:
    """1 − cos(P(V_c − μ_T), P(I − μ_I)), mean over the rows, with P x = x − (x·d) d and d = (T_u − T_o) / ‖T_u − T_o‖.

    P takes the edit's direction out, so that only the rest is tied to the reference: the idea of PACT's source
    preservation, in a form of our own. An identity edit, T_u = T_o, has no direction: there P is the identity and all
    of V_c is tied. V_c lies among the texts, so each side is centred on its own modality: μ_T and μ_I are the means of
    T_u and I over the global batch.
    """
    direction_BD = edit_direction(caption_BD, edited_BD)

    def rest(rows_BD: torch.Tensor) -> torch.Tensor:
        return rows_BD - (rows_BD * direction_BD).sum(-1, keepdim=True) * direction_BD

    kept_BD = rest(query_BD - gather(edited_BD).mean(0))
    wanted_BD = rest(image_BD - gather(image_BD).mean(0))
    return (1.0 - cosine_similarity(kept_BD, wanted_BD, dim=-1)).mean()
