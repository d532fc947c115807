"""Run a model on a benchmark: encode what is not encoded yet, compose, rank, and write the ranking files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import normalize

from scot.composers import Composer
from scot.encoders import Encoder
from scot.errors import InvalidInput, NotFound
from scot.evaluation.annotations import some
from scot.evaluation.base import SUBSET, WHOLE, Benchmark, Part, Query, Rankings
from scot.evaluation.embedding_store import StoredVectors, encode_pictures, encode_texts, pair_states
from scot.evaluation.images import Picture
from scot.evaluation.topk import top_k

_CHUNK = 256  # composed at once


@dataclass(frozen=True, slots=True)
class ModelRun:
    """What came of it: the benchmark as measured (without what was missing), the rankings and the pictures."""

    benchmark: Benchmark
    rankings: Rankings
    pictures: Mapping[str, Mapping[str, Picture]]


def run_model(
    benchmark: Benchmark,
    encoder: Encoder,
    composer: Composer,
    images: Path,
    cache: Path,
    *,
    skip_missing: bool = False,
    on_progress: Callable[[str], None] = lambda line: None,
) -> ModelRun:
    """Rank every query of a benchmark.

    Args:
        benchmark: what to rank.
        encoder: the frozen encoder.
        composer: the composer, of this encoder.
        images: the folder of the benchmark's images.
        cache: where embeddings are kept.
        skip_missing: leave out pictures that are missing or broken, with the queries that need them.
        on_progress: receives a line now and then.

    Raises:
        NotFound: ``images`` is no folder.
        InvalidInput: pictures are missing or broken, and ``skip_missing`` is not set.
    """
    if not images.is_dir():
        raise NotFound(f"there is no image folder {images}")
    pictures = benchmark.locate(images)
    missing = {
        part.name: {name for name in part.gallery or () if name not in pictures[part.name]} for part in benchmark.parts
    }
    _refuse(missing, benchmark, "are missing", images, skip_missing)
    stored: dict[str, StoredVectors] = {}
    for part in benchmark.parts:
        here = {name: pictures[part.name][name] for name in part.gallery or () if name not in missing[part.name]}
        what = f"pictures of {' '.join(filter(None, (benchmark.name, part.name)))}"
        stored[part.name] = encode_pictures(here, encoder, cache, what=what, on_progress=on_progress)
    broken = {part: set(vectors.refused) for part, vectors in stored.items()}
    _refuse(broken, benchmark, "cannot be decoded", images, skip_missing)
    measured = benchmark.without({part: missing[part] | broken[part] for part in missing})
    rankings: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {}
    for part in measured.parts:
        query_QD = compose(part, encoder, composer, stored[part.name], cache=cache, pictures=pictures[part.name])
        for kind, lists in _rank(part, query_QD, stored[part.name], measured).items():
            rankings.setdefault(kind, {})[part.name] = lists
    return ModelRun(measured, rankings, pictures)


def compose(
    part: Part,
    encoder: Encoder,
    composer: Composer,
    stored: StoredVectors,
    *,
    cache: Path,
    pictures: Mapping[str, Picture],
) -> torch.Tensor:
    """The unit query vectors ``(Q, D)``: the mean of the unit vectors of a query's edits, normalised.

    ``pictures`` are looked at again where the composer reads hidden states, which take too much room to be kept.
    """
    pairs = [(query.reference, edit) for query in part.queries for edit in query.edits]
    if not pairs:
        return torch.empty(0, encoder.dim)
    text = encode_texts([edit for _, edit in pairs], encoder, cache)
    text_PD = torch.from_numpy(np.stack([text[edit] for _, edit in pairs]))
    image_PD = stored.rows([name for name, _ in pairs])
    composed = [
        composer.compose(
            image_PD[at : at + _CHUNK],
            text_PD[at : at + _CHUNK],
            *(pair_states(pairs[at : at + _CHUNK], encoder, pictures) if composer.reads_states else ()),
        )
        for at in range(0, len(pairs), _CHUNK)
    ]
    composed_PD = normalize(torch.cat(composed), dim=-1)
    lengths = torch.tensor([len(query.edits) for query in part.queries])
    query_P = torch.arange(len(lengths)).repeat_interleave(lengths)
    sums_QD = torch.zeros(len(lengths), composed_PD.shape[1]).index_add_(0, query_P, composed_PD)
    return normalize(sums_QD, dim=-1)


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
    """Each query's ranking of a few pictures; of equal scores, the one that is earlier in the gallery first."""
    row_of = {name: row for row, name in enumerate(stored.names)}
    pools = [sorted(pool(query), key=row_of.__getitem__) for query in part.queries]
    used = list(dict.fromkeys(name for names in pools for name in names))
    place = {name: n for n, name in enumerate(used)}
    used_UD = stored.rows(used)
    found: dict[str, tuple[str, ...]] = {}
    for query, vector_D, names in zip(part.queries, query_QD, pools, strict=True):
        scores_N = used_UD[[place[name] for name in names]] @ vector_D
        order = scores_N.argsort(descending=True, stable=True)[:depth].tolist()
        found[query.query_id] = tuple(names[n] for n in order)
    return found


def _refuse(offenders: Mapping[str, set[str]], benchmark: Benchmark, said: str, images: Path, skip: bool) -> None:
    if skip or not any(offenders.values()):
        return
    names = [name for part in benchmark.parts for name in part.gallery or () if name in offenders[part.name]]
    of = sum(len(part.gallery or ()) for part in benchmark.parts)
    raise InvalidInput(
        f"{len(names):,} of {of:,} pictures of {benchmark.name} {said} in {images} ({some(names)}): "
        f"complete them, or leave them and their queries out with --skip-missing"
    )
