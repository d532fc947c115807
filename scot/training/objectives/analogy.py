"""The analogy: a query ends where the reference would, had it moved as its caption did."""

from __future__ import annotations

import torch
from torch.nn.functional import cosine_similarity

from scot.training.objectives.batch import gather


def analogy_loss(
    query_BD: torch.Tensor, image_BD: torch.Tensor, caption_BD: torch.Tensor, edited_BD: torch.Tensor
) -> torch.Tensor:
    """1 − cos(V_c, ½ (I − μ_I + μ_T + T_u − T_o) + ½ T_u), mean over the rows.

    I + T_u − T_o is the analogy of word vectors (Mikolov et al., NAACL 2013), by which PDV (arXiv 2502.07215) searches
    where a caption is known. Here it teaches a composer that will not see captions. What the edit leaves alone comes
    from the picture itself, so it need not be read off and said again, and the wording of the caption cancels. T_u
    beside it says what that picture does not show. μ_I and μ_T, the means of I and T_u over the global batch, bring
    the moved picture to where the texts are.
    """
    gap_D = gather(edited_BD).mean(0) - gather(image_BD).mean(0)
    moved_BD = image_BD + gap_D + edited_BD - caption_BD
    return (1.0 - cosine_similarity(query_BD, 0.5 * (moved_BD + edited_BD), dim=-1)).mean()
