"""Hidden states of a drawn gallery's references and edits, for composers that read them; kept beside the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file

from scot.composers.base import States, padded
from scot.data.atomic_io import write_tensors
from scot.data.records import CaptionedImage
from scot.embeddings.images import embed_images
from scot.encoders import Encoder, state_encoder
from scot.worlds.gallery import Query

_NAMES = ("reference", "reference_there", "edit", "edit_there", "reference_row")


@dataclass(frozen=True, slots=True)
class QueryStates:
    """The states of R distinct references, which of them each of Q queries has, and the states of the Q edits."""

    reference: States
    edit: States
    reference_Q: torch.Tensor

    def rows(self, queries: slice) -> tuple[States, States]:
        """References' and edits' states of some queries."""
        rows = self.reference_Q[queries]
        return States(*(part[rows] for part in self.reference)), States(*(part[queries] for part in self.edit))


def query_states(
    records: Sequence[CaptionedImage], queries: Sequence[Query], encoder: Encoder, file: Path
) -> QueryStates:
    """Embed the references, among ``records``, and the edits of a gallery's queries, or read them from ``file``.

    ``file`` is written where it is not there.

    Raises:
        InvalidInput: the encoder does not tell its hidden states.
    """
    if not file.exists():
        found = _encode(records, queries, encoder)
        write_tensors(file, dict(zip(_NAMES, (*found.reference, *found.edit, found.reference_Q), strict=True)))
    tensors = load_file(file)
    reference, reference_there, edit, edit_there, row = (tensors[name] for name in _NAMES)
    return QueryStates(States(reference, reference_there), States(edit, edit_there), row)


def _encode(records: Sequence[CaptionedImage], queries: Sequence[Query], encoder: Encoder) -> QueryStates:
    wanted = {query.reference_id for query in queries}
    references = [record for record in records if record.image_id in wanted]
    batches = list(embed_images(references, CaptionedImage.load, encoder, batch_size=256, states=True))
    inside = [states for batch in batches for states in batch.states]
    ids = [record.image_id for batch in batches for record in batch.sources]
    _, edits = state_encoder(encoder).encode_texts_states([query.edit for query in queries])
    row = {image_id: n for n, image_id in enumerate(ids)}
    return QueryStates(padded(inside), padded(edits), torch.tensor([row[query.reference_id] for query in queries]))
