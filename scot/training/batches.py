"""A step's batch, gathered from the tables of an embedding cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import torch

from scot.composers.base import States
from scot.embeddings.cache import TripletEmbeddings, unit_rows
from scot.training.objectives import Batch, MinedTargets

NO_COMPANIONS = MinedTargets()


def gather_batch(
    data: TripletEmbeddings, rows_B: torch.Tensor, companions: MinedTargets = NO_COMPANIONS, *, states: bool = False
) -> Batch:
    """The frozen vectors of some triplets and of what was looked up for them; with ``states``, hidden states too."""
    edit_B, caption_B, edited_B = data.edit_N[rows_B], data.caption_N[rows_B], data.edited_N[rows_B]
    batch = Batch(
        image_BD=unit_rows(data.image_UD, data.image_N[rows_B]),
        edit_BD=unit_rows(data.text_VD, edit_B),
        caption_BD=unit_rows(data.text_VD, caption_B),
        edited_BD=unit_rows(data.text_VD, edited_B),
        edit_B=edit_B,
        caption_B=caption_B,
        edited_B=edited_B,
    )
    if states:
        batch.states = data.states(rows_B)
    if companions.sibling_NK is not None:
        batch.sibling_BK = companions.sibling_NK[rows_B]
        batch.sibling_BKD = unit_rows(data.text_VD, batch.sibling_BK.clamp(min=0))
    if companions.retrieved_N is not None:
        batch.retrieved_B = companions.retrieved_N[rows_B]
        batch.retrieved_BD = unit_rows(data.image_UD, batch.retrieved_B)
    return batch


def each_tensor(batch: Batch, change: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
    """The batch with every tensor changed."""
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    tensors = {name: change(value) for name, value in values.items() if isinstance(value, torch.Tensor)}
    return replace(batch, **tensors, states=tuple(States(*map(change, side)) for side in batch.states))
