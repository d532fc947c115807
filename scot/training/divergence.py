"""A loss or gradient that is not finite, and what it comes from."""

from __future__ import annotations

import torch

from scot.embeddings.cache import TripletEmbeddings
from scot.errors import ScotError
from scot.training.data import gather_batch


class Diverged(ScotError):
    """The loss or the gradient is not finite; the message names the step and triplets of its batch."""


def divergence(data: TripletEmbeddings, rows_B: torch.Tensor, step: int, lr: float) -> Diverged:
    """The error of a step, counted from 0, whose batch has these rows: embeddings that are not finite, or the rate."""
    batch = gather_batch(data, rows_B)
    sides = (batch.image_BD, batch.edit_BD, batch.caption_BD, batch.edited_BD)
    nonfinite_B = ~torch.stack([side_BD.isfinite().all(1) for side_BD in sides]).all(0)
    if nonfinite_B.any():
        named = _named(data, rows_B[nonfinite_B])
        return Diverged(f"the embeddings of {named} are not finite (step {step + 1}): encode again")
    return Diverged(
        f"the loss or its gradient is not finite at step {step + 1}, whose batch has {_named(data, rows_B)}: "
        f"lower the learning rate ({lr:g})"
    )


def _named(data: TripletEmbeddings, rows_B: torch.Tensor) -> str:
    """The ids of the first three triplets, and the number of the others."""
    ids = [data.triplet_ids[row] for row in rows_B[:3].tolist()]
    more = f" and {len(rows_B) - len(ids)} more" if len(rows_B) > len(ids) else ""
    return f"the triplet{'s' if len(rows_B) > 1 else ''} {', '.join(ids)}{more}"
