"""Evaluation on a drawn world: composers, baselines and the oracle over one gallery with exact answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from scot.composers import BASELINES, FITTED_BASELINES, Composer, baseline, fitted_baseline
from scot.data.atomic_io import write_tensors
from scot.data.captioned import read_captioned
from scot.data.records import CaptionedImage, Refusals
from scot.embeddings.images import embed_images
from scot.encoders import Encoder, MultiVectorEncoder, MultiVectors, Vectors
from scot.errors import InvalidInput
from scot.evaluation.metrics import Estimate, ranks, recall, subset_ranks
from scot.evaluation.query_states import QueryStates, query_states
from scot.worlds.gallery import Query
from scot.worlds.queries import QUERIES, read_queries

ORACLE = "oracle"
RECALL_AT = (1, 5, 10, 50)
SUBSET_AT = (1, 2, 3)
_CHUNK = 512  # queries whose hidden states are put side by side
WEIGHTS = tuple(round(0.1 * i, 1) for i in range(1, 10))


@dataclass(frozen=True, slots=True)
class WorldVectors:
    """A gallery with its embeddings. Rows: ``gallery_ND`` by item, ``edit_QD`` and ``oracle_QD`` by query.

    With ``multi_NVD``, pictures are ranked by the best of their V vectors; ``gallery_ND`` is what composers then see of
    a reference. ``states`` is there where a composer reads them.
    """

    world: str
    folder: Path
    encoder_id: str
    item_ids: tuple[str, ...]
    queries: tuple[Query, ...]
    gallery_ND: Vectors
    edit_QD: Vectors
    oracle_QD: Vectors
    multi_NVD: MultiVectors | None = None
    states: QueryStates | None = None

    @property
    def ranked(self) -> Vectors | MultiVectors:
        """What queries are scored against (:func:`scot.evaluation.metrics.similarity`)."""
        return self.gallery_ND if self.multi_NVD is None else self.multi_NVD

    @property
    def index(self) -> Mapping[str, int]:
        """Item id to gallery row."""
        return {item_id: row for row, item_id in enumerate(self.item_ids)}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result: a way of composing, and its recalls by name (``recall@1``, ``recall_subset@1`` …)."""

    name: str
    metrics: Mapping[str, Estimate]

    @property
    def learned(self) -> bool:
        """Whether it is a trained composer, neither a baseline nor the oracle."""
        return self.name.split(":")[0] not in (*BASELINES, *FITTED_BASELINES, ORACLE)


@dataclass(frozen=True, slots=True)
class WorldResult:
    """The table of one world."""

    world: str
    encoder: str
    gallery: int
    queries: int
    rows: tuple[Row, ...]

    def value(self, name: str, metric: str = "recall@1") -> float:
        """A metric of a row by the row's name."""
        return next(row.metrics[metric].value for row in self.rows if row.name == name)

    def best_baseline(self) -> Row:
        """The best row by R@1 that needs no training."""
        plain = (row for row in self.rows if not row.learned and row.name != ORACLE)
        return max(plain, key=lambda row: row.metrics["recall@1"].value)

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {**asdict(self), "rows": {row.name: {k: asdict(v) for k, v in row.metrics.items()} for row in self.rows}}


def encode_gallery(
    folder: Path,
    encoder: Encoder,
    cache: Path,
    *,
    multi: bool = False,
    states: bool = False,
    on_progress: Callable[[str], None] = lambda line: None,
) -> WorldVectors:
    """Embed a drawn gallery and its queries; embeddings of this encoder and gallery are kept in ``cache``.

    ``multi`` keeps every vector that the encoder has of a picture, to rank by the best of them; ``states`` the hidden
    states of references and edits, for composers that read them.

    Raises:
        NotFound, InvalidInput: the gallery is not whole, or the encoder has one vector a picture, or tells no states.
    """
    several = encoder if multi and isinstance(encoder, MultiVectorEncoder) else None
    if multi and several is None:
        raise InvalidInput(f"the encoder {encoder.id} has one vector a picture: there is no best of several")
    world, queries = read_queries(folder)
    refusals = Refusals()
    records = list(read_captioned(folder, refusals))
    ids = tuple(record.image_id for record in records)
    missing = {query.reference_id for query in queries} - set(ids)
    if refusals.total or missing:
        raise InvalidInput(
            f"{folder} is not a whole gallery: {refusals.summary() or f'{len(missing)} references are missing'}"
        )
    key = hashlib.sha256(
        "\n".join([encoder.id, *["multi"] * multi, *ids, (folder / QUERIES).read_text(encoding="utf-8")]).encode()
    ).hexdigest()[:16]
    file = cache / f"{world}-{key}.safetensors"
    if file.exists():
        tensors = load_file(file)
    else:
        on_progress(f"encoding {len(records):,} pictures of {world}")
        embed = several.encode_pixels_multi if several else None
        batches = list(embed_images(records, CaptionedImage.load, encoder, batch_size=256, embed=embed))
        if refused := [record.image_id for batch in batches for record, _ in batch.refused]:
            raise InvalidInput(f"{folder} is not a whole gallery: {refused[0]} cannot be decoded")
        pictures = np.concatenate([batch.vectors for batch in batches])
        tensors = {
            **({"gallery": several.pool(pictures), "multi": pictures} if several else {"gallery": pictures}),
            "edit": encoder.encode_texts([query.edit for query in queries]),
            "oracle": encoder.encode_texts([query.edited_caption for query in queries]),
        }
        write_tensors(file, {name: torch.from_numpy(vectors) for name, vectors in tensors.items()})
    inside = query_states(records, queries, encoder, cache / f"{world}-{key}-states.safetensors") if states else None
    roles = (tensors["gallery"], tensors["edit"], tensors["oracle"], tensors.get("multi"), inside)
    return WorldVectors(world, folder, encoder.id, ids, queries, *roles)


def evaluate_world(
    vectors: WorldVectors, composers: Sequence[Composer], *, weights: Sequence[float] = WEIGHTS
) -> WorldResult:
    """Recall of each composer, of the baselines and of the oracle; a query's reference does not compete.

    Sum, slerp and centred sum are shown at the weight that suits this very gallery best, and the last with the means of
    this very gallery and its queries' edits, which favours them.
    """
    pool = torch.from_numpy(vectors.gallery_ND), torch.from_numpy(vectors.edit_QD)
    rows = [Row(composer.name, measure(vectors, compose(vectors, composer))) for composer in composers]
    rows += [Row(name, measure(vectors, compose(vectors, baseline(name)))) for name in ("image_only", "text_only")]
    for name in ("sum", "slerp", *FITTED_BASELINES):
        tried = []
        for full in (f"{name}:{weight}" for weight in weights):
            composer = fitted_baseline(full, *pool) if name in FITTED_BASELINES else baseline(full)
            tried.append(Row(full, measure(vectors, compose(vectors, composer))))
        rows.append(max(tried, key=lambda row: row.metrics["recall@1"].value))
    rows.append(Row(ORACLE, measure(vectors, vectors.oracle_QD)))
    several = vectors.multi_NVD
    scored = vectors.encoder_id if several is None else f"{vectors.encoder_id}, best of {several.shape[1]} vectors"
    return WorldResult(vectors.world, scored, len(vectors.item_ids), len(vectors.queries), tuple(rows))


def compose(vectors: WorldVectors, composer: Composer) -> Vectors:
    """The query vectors ``(Q, D)`` of a composer. Raises InvalidInput when it reads states, and there are none."""
    index = vectors.index
    reference_QD = torch.from_numpy(vectors.gallery_ND[[index[query.reference_id] for query in vectors.queries]])
    edit_QD = torch.from_numpy(vectors.edit_QD)
    if not composer.reads_states:
        return composer.compose(reference_QD, edit_QD).numpy()
    if vectors.states is None:
        raise InvalidInput(f"the composer {composer.name} reads hidden states, and this gallery was encoded without")
    parts = []
    for at in range(0, len(edit_QD), _CHUNK):
        rows = slice(at, at + _CHUNK)
        parts.append(composer.compose(reference_QD[rows], edit_QD[rows], *vectors.states.rows(rows)))
    return torch.cat(parts).numpy()


def measure(vectors: WorldVectors, query_QD: Vectors) -> dict[str, Estimate]:
    """Recall over the gallery and over the six-picture subsets."""
    index = vectors.index
    targets = [[index[target] for target in query.targets] for query in vectors.queries]
    references = [[index[query.reference_id]] for query in vectors.queries]
    subsets = [[index[member] for member in query.subset if member != query.reference_id] for query in vectors.queries]
    whole = ranks(query_QD, vectors.ranked, targets, references)
    few = subset_ranks(query_QD, vectors.ranked, targets, subsets)
    return {
        **{f"recall@{k}": recall(whole, k) for k in RECALL_AT},
        **{f"recall_subset@{k}": recall(few, k) for k in SUBSET_AT},
    }
