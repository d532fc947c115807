"""The test of an embedding cache (:mod:`scot.embeddings.pairs`), on the vectors that the cache has: no encoder runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from scot.composers.base import States
from scot.embeddings.cache import TripletEmbeddings, unit_rows
from scot.embeddings.pairs import CachedPair
from scot.errors import InvalidInput
from scot.evaluation.base import Benchmark
from scot.evaluation.pairs import pairs_benchmark
from scot.evaluation.topk import BLOCK
from scot.evaluation.vector_benchmark import VectorBenchmark

GALLERY = 16_384
"""Images searched at most: all references and right answers, and an even sample of the others."""


@dataclass(frozen=True, slots=True)
class CachedGallery:
    """Images of a cache by their rows."""

    data: TripletEmbeddings
    row_of: Mapping[str, int]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the rows."""
        return tuple(self.row_of)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image: ``(D,)``."""
        return (self.data.dim,)

    def blocks(self, size: int = BLOCK, *, reuse: bool = False) -> Iterator[torch.Tensor]:
        """The rows in order, float32 ``(B, D)``, at most ``size`` a block."""
        yield from (self._rows(rows) for rows in torch.tensor(list(self.row_of.values())).split(size))

    def rows(self, wanted: Sequence[str]) -> torch.Tensor:
        """The rows of some images, in the order of ``wanted``."""
        return self._rows(torch.tensor([self.row_of[name] for name in wanted], dtype=torch.int64))

    def _rows(self, rows_B: torch.Tensor) -> torch.Tensor:
        return unit_rows(self.data.image_UD, rows_B)


@dataclass(frozen=True, slots=True)
class CachedPairs(VectorBenchmark):
    """Some of the queries of a cache's test, over its images."""

    data: TripletEmbeddings
    benchmark: Benchmark
    images: CachedGallery
    text_row: Mapping[str, int] = field(repr=False)

    @classmethod
    def of(cls, data: TripletEmbeddings, pairs: Sequence[CachedPair]) -> CachedPairs:
        """The benchmark of ``pairs``, which are some of ``data.pairs``."""
        named = {row for each in pairs for row in (each.image, *each.targets)}
        step = max(1, -(-len(data.image_UD) // max(1, GALLERY - len(named))))
        gallery = {data.image_ids[row]: row for row in sorted(named | {*range(0, len(data.image_UD), step)})}
        text_row: dict[str, int] = {}
        for each in pairs:
            pair = each.pair
            text_row |= {pair.edit: each.edit, pair.caption: each.caption, pair.edited_caption: each.edited}
        about = {"gallery": f"{len(gallery):,} of the {len(data.image_UD):,} images of the embedding cache"}
        benchmark = pairs_benchmark([each.pair for each in pairs], tuple(gallery), {}, about)
        return cls(data, benchmark, CachedGallery(data, gallery), text_row)

    @property
    def encoder_id(self) -> str:
        """The encoder of the cache."""
        return self.data.info.encoder_id

    def gallery(self, part: str) -> CachedGallery:
        """The images that are searched."""
        return self.images

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """The vectors of texts of the queries, ``(N, D)``, in their order."""
        return unit_rows(self.data.text_VD, self._text_rows(texts))

    def states(self, part: str, start: int, pairs: Sequence[tuple[str, str]]) -> tuple[States, States]:
        """The hidden states of (image, edit) pairs. Raises InvalidInput if the cache has none."""
        if self.data.image_states is None or self.data.text_states is None:
            raise InvalidInput("this embedding cache has no hidden states: encode again with --states")
        image_P = torch.tensor([self.images.row_of[name] for name, _ in pairs])
        edit_P = self._text_rows([edit for _, edit in pairs])
        return self.data.image_states.rows(image_P), self.data.text_states.rows(edit_P)

    def _text_rows(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.tensor([self.text_row[text] for text in texts], dtype=torch.int64)
