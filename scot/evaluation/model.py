"""A benchmark with the vectors that an encoder gives it; what is not cached yet is encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from scot.composers import NativeComposer
from scot.composers.base import States
from scot.data.places import Place
from scot.encoders import Encoder, MultiVectorEncoder
from scot.errors import InvalidInput, NotFound
from scot.evaluation.annotations import some
from scot.evaluation.base import Benchmark
from scot.evaluation.embedding_store import StoredVectors, encode_images, encode_pairs, encode_texts, pair_states
from scot.evaluation.images import ImageFile
from scot.evaluation.vector_benchmark import VectorBenchmark
from scot.progress import SILENT, Progress


@dataclass(frozen=True, slots=True)
class EncodedBenchmark(VectorBenchmark):
    """A benchmark without its missing images, and the vectors of its images, by part."""

    benchmark: Benchmark
    encoder: Encoder
    images: Mapping[str, Mapping[str, ImageFile]]
    vectors: Mapping[str, StoredVectors]
    cache: Path
    cached_states: dict[tuple[str, int], tuple[States, States]] | None = field(default=None, repr=False)
    """The hidden states of each chunk of queries; None: they are computed again for every call of :meth:`compose`."""

    @property
    def encoder_id(self) -> str:
        """The encoder of the vectors."""
        return self.encoder.id

    def gallery(self, part: str) -> StoredVectors:
        """The images of a part."""
        return self.vectors[part]

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """The vectors of texts, ``(N, D)``, in their order."""
        vector_of = encode_texts(texts, self.encoder, self.cache)
        return torch.from_numpy(np.stack([vector_of[text] for text in texts]))

    def references(self, part: str, names: Sequence[str] | None = None) -> torch.Tensor:
        """One vector an image, ``(N, D)``: of these names, or of all the part's images in order."""
        rows = VectorBenchmark.references(self, part, names)
        if rows.ndim == 2:
            return rows
        assert isinstance(self.encoder, MultiVectorEncoder)
        return torch.from_numpy(self.encoder.pool(rows.numpy()))

    def states(self, part: str, start: int, pairs: Sequence[tuple[str, str]]) -> tuple[States, States]:
        """The hidden states of (image, edit) pairs, of which the first is the ``start``-th of the part."""
        if self.cached_states is None:
            return pair_states(pairs, self.encoder, self.images[part])
        if (part, start) not in self.cached_states:
            self.cached_states[part, start] = pair_states(pairs, self.encoder, self.images[part])
        return self.cached_states[part, start]

    def pairs(self, part: str, asked: Sequence[tuple[Sequence[str], str]], composer: NativeComposer) -> torch.Tensor:
        """The native query vectors ``(N, D)`` of (images, edit) inputs; they are cached as the images' are."""
        return encode_pairs(asked, composer.encoder, self.images[part], self.cache)


def encode_benchmark(
    benchmark: Benchmark,
    encoder: Encoder,
    images: Place,
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
    found = benchmark.locate(images if isinstance(images, Path) else Path())  # at a URL, it knows the files itself
    missing = {part.name: {name for name in part.images if name not in found[part.name]} for part in benchmark.parts}
    _refuse(missing, benchmark, "are missing", images, skip_missing)
    vectors: dict[str, StoredVectors] = {}
    for part in benchmark.parts:
        here = {name: found[part.name][name] for name in part.images if name not in missing[part.name]}
        what = " ".join(filter(None, (benchmark.name, part.name)))
        vectors[part.name] = encode_images(here, encoder, cache, several=best_of_vectors, what=what, progress=progress)
    broken = {part: set(stored.refused) for part, stored in vectors.items()}
    _refuse(broken, benchmark, "cannot be decoded", images, skip_missing)
    measured = benchmark.without({part: missing[part] | broken[part] for part in missing})
    return EncodedBenchmark(measured, encoder, found, vectors, cache)


def _refuse(offenders: Mapping[str, set[str]], benchmark: Benchmark, reason: str, images: Place, skip: bool) -> None:
    if skip or not any(offenders.values()):
        return
    names = [name for part in benchmark.parts for name in part.images if name in offenders[part.name]]
    total = sum(len(part.images) for part in benchmark.parts)
    raise InvalidInput(
        f"{len(names):,} of {total:,} pictures of {benchmark.name} {reason} in {images} ({some(names)}): complete "
        f"them, or leave them and their queries out with `scot evaluate {benchmark.name} --skip-missing`"
    )
