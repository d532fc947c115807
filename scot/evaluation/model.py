"""Run composers on a benchmark: encode what is not cached yet, compose the queries, rank the gallery."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from scot.composers import Composer
from scot.composers.base import States
from scot.encoders import Encoder, MultiVectorEncoder
from scot.errors import InvalidInput, NotFound
from scot.evaluation.annotations import some
from scot.evaluation.base import SUBSET, WHOLE, Benchmark, Part, Query, Rankings
from scot.evaluation.embedding_store import StoredVectors, encode_images, encode_texts, pair_states
from scot.evaluation.images import ImageFile
from scot.evaluation.topk import similarity, top_k
from scot.progress import SILENT, Progress

_CHUNK = 256  # composed at once

QueryVectors = Mapping[str, torch.Tensor]
"""The unit query vectors ``(Q, D)`` of each part, by its name."""


@dataclass(frozen=True, slots=True)
class EncodedBenchmark:
    """A benchmark without its missing images, and the vectors of its images, by part."""

    benchmark: Benchmark
    encoder: Encoder
    images: Mapping[str, Mapping[str, ImageFile]]
    vectors: Mapping[str, StoredVectors]
    cache: Path
    cached_states: dict[tuple[str, int], tuple[States, States]] | None = field(default=None, repr=False)
    """The hidden states of each chunk of queries; None: they are computed again for every call of :meth:`compose`."""

    def compose(self, *composers: Composer) -> list[QueryVectors]:
        """Each composer's query vectors: the mean of the unit vectors of a query's edits, normalized.

        Hidden states are computed a chunk of queries at a time, once for all composers: all of them take too much room.

        Raises:
            InvalidInput: a composer reads hidden states, and the encoder does not expose them.
        """
        composed = [self._compose(part, composers) for part in self.benchmark.parts]
        names = [part.name for part in self.benchmark.parts]
        return [dict(zip(names, each, strict=True)) for each in zip(*composed, strict=True)]

    def oracle(self) -> QueryVectors:
        """T_u, the vectors of the edited captions: what a composer ends at that learned the caption target alone."""
        return {
            part.name: self.texts([query.edited_caption for query in part.queries]) for part in self.benchmark.parts
        }

    def oracle_moved(self) -> QueryVectors:
        """normalize(I + T_u − T_o): the reference moved as its caption moves, so that it keeps what no caption says."""
        moved = {}
        for part in self.benchmark.parts:
            image_QD = self.references(part.name, [query.reference for query in part.queries])
            caption_QD = self.texts([query.caption for query in part.queries])
            edited_QD = self.texts([query.edited_caption for query in part.queries])
            moved[part.name] = normalize(image_QD + edited_QD - caption_QD, dim=-1)
        return moved

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """The vectors of texts, ``(N, D)``, in their order."""
        vector_of = encode_texts(texts, self.encoder, self.cache)
        return torch.from_numpy(np.stack([vector_of[text] for text in texts]))

    def references(self, part: str, names: Sequence[str] | None = None) -> torch.Tensor:
        """One vector an image, ``(N, D)``: of these names, or of all the part's images in order."""
        stored = self.vectors[part]
        rows = stored.rows(stored.names if names is None else names)
        if len(stored.shape) == 1:
            return rows
        assert isinstance(self.encoder, MultiVectorEncoder)
        return torch.from_numpy(self.encoder.pool(rows.numpy()))

    def rank(self, queries: QueryVectors) -> Rankings:
        """Rank the gallery, and a query's subset or candidates, for every query."""
        rankings: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {}
        for part in self.benchmark.parts:
            for kind, lists in _rank(part, queries[part.name], self.vectors[part.name], self.benchmark).items():
                rankings.setdefault(kind, {})[part.name] = lists
        return rankings

    def _compose(self, part: Part, composers: Sequence[Composer]) -> list[torch.Tensor]:
        pairs = [(query.reference, edit) for query in part.queries for edit in query.edits]
        if not pairs:
            return [torch.empty(0, self.encoder.dim) for _ in composers]
        text_PD = self.texts([edit for _, edit in pairs])
        image_PD = self.references(part.name, [name for name, _ in pairs])
        composed: list[list[torch.Tensor]] = [[] for _ in composers]
        reads_states = any(composer.reads_states for composer in composers)
        for start in range(0, len(pairs), _CHUNK):
            rows = slice(start, start + _CHUNK)
            states = self._states(part.name, start, pairs[rows]) if reads_states else ()
            for composer, chunks in zip(composers, composed, strict=True):
                chunks.append(composer.compose(image_PD[rows], text_PD[rows], *states if composer.reads_states else ()))
        lengths = torch.tensor([len(query.edits) for query in part.queries])
        query_P = torch.arange(len(lengths)).repeat_interleave(lengths)
        zeros_QD = torch.zeros(len(lengths), self.encoder.dim)
        return [
            normalize(zeros_QD.index_add(0, query_P, normalize(torch.cat(chunks), dim=-1)), dim=-1)
            for chunks in composed
        ]

    def _states(self, part: str, start: int, pairs: Sequence[tuple[str, str]]) -> tuple[States, States]:
        if self.cached_states is None:
            return pair_states(pairs, self.encoder, self.images[part])
        if (part, start) not in self.cached_states:
            self.cached_states[part, start] = pair_states(pairs, self.encoder, self.images[part])
        return self.cached_states[part, start]


def encode_benchmark(
    benchmark: Benchmark,
    encoder: Encoder,
    images: Path,
    cache: Path,
    *,
    best_of_vectors: bool = False,
    skip_missing: bool = False,
    progress: Progress = SILENT,
) -> EncodedBenchmark:
    """Embed a benchmark's images.

    Args:
        benchmark: its queries and galleries.
        encoder: the frozen encoder.
        images: the folder of the benchmark's images.
        cache: the folder of the embeddings.
        best_of_vectors: rank by the best of the encoder's several vectors an image, not by the one that is indexed.
        skip_missing: leave out images that are missing or broken, with the queries that need them.
        progress: shows how many are encoded.

    Raises:
        NotFound: ``images`` is not a folder.
        InvalidInput: images are missing or broken, and ``skip_missing`` is not set; or the encoder has one vector an
            image, and ``best_of_vectors`` is set.
    """
    if not images.is_dir():
        raise NotFound(f"there is no image folder {images}")
    found = benchmark.locate(images)
    missing = {
        part.name: {name for name in part.gallery or () if name not in found[part.name]} for part in benchmark.parts
    }
    _refuse(missing, benchmark, "are missing", images, skip_missing)
    vectors: dict[str, StoredVectors] = {}
    for part in benchmark.parts:
        here = {name: found[part.name][name] for name in part.gallery or () if name not in missing[part.name]}
        what = " ".join(filter(None, (benchmark.name, part.name)))
        vectors[part.name] = encode_images(here, encoder, cache, several=best_of_vectors, what=what, progress=progress)
    broken = {part: set(stored.refused) for part, stored in vectors.items()}
    _refuse(broken, benchmark, "cannot be decoded", images, skip_missing)
    measured = benchmark.without({part: missing[part] | broken[part] for part in missing})
    return EncodedBenchmark(measured, encoder, found, vectors, cache)


def _rank(
    part: Part, query_QD: torch.Tensor, stored: StoredVectors, benchmark: Benchmark
) -> dict[str, dict[str, tuple[str, ...]]]:
    own = [query for query in part.queries if query.candidates]
    if own and len(own) == len(part.queries):
        return {WHOLE: _among(part, query_QD, stored, lambda query: query.candidates, len(stored.names))}
    row_of = {name: row for row, name in enumerate(stored.names)}
    excluded = [[row_of[query.reference]] if benchmark.drop_reference else [] for query in part.queries]
    count = min(benchmark.depth, len(stored.names) - benchmark.drop_reference)
    rows_QK, _ = top_k(query_QD, stored.blocks(reuse=True), count, excluded)
    found = {
        WHOLE: {
            query.query_id: tuple(stored.names[row] for row in rows)
            for query, rows in zip(part.queries, rows_QK.tolist(), strict=True)
        }
    }
    if benchmark.subset_depth:
        found[SUBSET] = _among(part, query_QD, stored, lambda query: query.subset, benchmark.subset_depth)
    return found


def _among(
    part: Part, query_QD: torch.Tensor, stored: StoredVectors, pool: Callable[[Query], tuple[str, ...]], depth: int
) -> dict[str, tuple[str, ...]]:
    """Each query's ranking of a few images; of equal scores, the one that is earlier in the gallery first."""
    row_of = {name: row for row, name in enumerate(stored.names)}
    pools = [sorted(pool(query), key=row_of.__getitem__) for query in part.queries]
    used = list(dict.fromkeys(name for names in pools for name in names))
    place = {name: n for n, name in enumerate(used)}
    vectors = stored.rows(used)
    found: dict[str, tuple[str, ...]] = {}
    for query, query_1D, names in zip(part.queries, query_QD.split(1), pools, strict=True):
        scores_N = similarity(query_1D, vectors[[place[name] for name in names]])[0]
        order = scores_N.argsort(descending=True, stable=True)[:depth].tolist()
        found[query.query_id] = tuple(names[n] for n in order)
    return found


def _refuse(offenders: Mapping[str, set[str]], benchmark: Benchmark, reason: str, images: Path, skip: bool) -> None:
    if skip or not any(offenders.values()):
        return
    names = [name for part in benchmark.parts for name in part.gallery or () if name in offenders[part.name]]
    total = sum(len(part.gallery or ()) for part in benchmark.parts)
    raise InvalidInput(
        f"{len(names):,} of {total:,} pictures of {benchmark.name} {reason} in {images} ({some(names)}): complete "
        f"them, or leave them and their queries out with `scot evaluate {benchmark.name} --skip-missing`"
    )
