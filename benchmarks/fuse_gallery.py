"""A gallery with exact answers as vectors: pictures, captions, queries; ranked exactly by any scores."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import torch
from PIL import Image
from torch.nn.functional import normalize

from scot.composers import Composer
from scot.composers.base import States, padded
from scot.data.captioned import read_captioned
from scot.data.records import Refusals
from scot.encoders import Encoder
from scot.evaluation.base import SUBSET, WHOLE
from scot.evaluation.model import EncodedBenchmark, encode_benchmark
from scot.evaluation.scoring import Scores, score
from scot.evaluation.worlds import read_gallery

Captions = Literal["all", "half", "half wrong"]
CAPTIONS: tuple[Captions, ...] = get_args(Captions)


@dataclass(frozen=True, slots=True)
class Replaced(EncodedBenchmark):
    """A benchmark whose references have other vectors, and may have no patches."""

    reference_ND: torch.Tensor | None = None
    patches: bool = True

    def references(self, part: str, names: Sequence[str] | None = None) -> torch.Tensor:
        """One vector an image, ``(N, D)``."""
        assert self.reference_ND is not None
        if names is None:
            return self.reference_ND
        row_of = {name: row for row, name in enumerate(self.gallery(part).names)}
        return self.reference_ND[[row_of[name] for name in names]]

    def states(self, part: str, start: int, pairs: Sequence[tuple[str, str]]) -> tuple[States, States]:
        """The hidden states of (image, edit) pairs."""
        images, texts = EncodedBenchmark.states(self, part, start, pairs)
        return images if self.patches else padded([None] * len(pairs)), texts


@dataclass
class FuseGallery:
    """A gallery of N items with Q queries, whose vectors have D values."""

    encoded: EncodedBenchmark
    composer: Composer
    captions: dict[str, str]
    seed: int

    @property
    def world(self) -> str:
        """Its name."""
        return self.encoded.benchmark.name

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The items."""
        return self.encoded.gallery("").names

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each item."""
        return {name: row for row, name in enumerate(self.names)}

    @cached_property
    def image_ND(self) -> torch.Tensor:
        """The pictures."""
        return self.encoded.references("").float()

    @cached_property
    def caption_ND(self) -> torch.Tensor:
        """The captions."""
        return self.encoded.texts([self.captions[name] for name in self.names]).float()

    @cached_property
    def reference_Q(self) -> torch.Tensor:
        """The row of each query's reference."""
        return torch.tensor([self.row_of[query.reference] for query in self.encoded.benchmark.parts[0].queries])

    @cached_property
    def query_QD(self) -> torch.Tensor:
        """The composed queries, whose references are pictures."""
        return self.composed(self.image_ND)

    @cached_property
    def edited_QD(self) -> torch.Tensor:
        """T_u: the captions of the right answers."""
        return self.encoded.oracle()[""].float()

    def about(self) -> str:
        """Its size, and how far captions are from pictures."""
        apart = (self.image_ND.mean(0) - self.caption_ND.mean(0)).norm()
        cosine = (self.image_ND * self.caption_ND).sum(-1).mean()
        size = f"{len(self.names):,} items, {len(self.reference_Q):,} queries"
        return f"{size}, distance of the means {apart:.2f}, cosine of picture and caption {cosine:.2f}"

    def composed(self, reference_ND: torch.Tensor, *, patches: bool = True) -> torch.Tensor:
        """The queries composed from references with these vectors, and the patches of their pictures."""
        values = {each.name: getattr(self.encoded, each.name) for each in fields(EncodedBenchmark)}
        encoded = Replaced(**values, reference_ND=reference_ND, patches=patches)
        return encoded.compose(self.composer)[0][""].float()

    def altered(self) -> torch.Tensor:
        """The references' pictures cut by a tenth on two sides and of half their size, as JPEG of quality 40."""
        files = self.encoded.images[""]
        copies = []
        for query in self.encoded.benchmark.parts[0].queries:
            image = files[query.reference].load()
            cut = image.crop((image.width // 10, image.height // 10, image.width, image.height))
            buffer = io.BytesIO()
            cut.resize((cut.width // 2, cut.height // 2)).save(buffer, "JPEG", quality=40)
            copies.append(Image.open(buffer).convert("RGB"))
        return torch.from_numpy(self.encoded.encoder.encode_images(copies))

    def captioned(self, kind: Captions) -> tuple[torch.Tensor, torch.Tensor]:
        """The captions ``(N, D)`` and which items have one ``(N,)``; half wrong: half are those of other items."""
        random = torch.Generator().manual_seed(self.seed)
        half_N = torch.rand(len(self.names), generator=random) < 0.5
        other_N = torch.randperm(len(self.names), generator=random)
        if kind == "half wrong":
            return torch.where(half_N[:, None], self.caption_ND[other_N], self.caption_ND), torch.ones_like(half_N)
        return self.caption_ND, half_N if kind == "half" else torch.ones_like(half_N)

    def summed(self, weight: float, kind: Captions = "all") -> torch.Tensor:
        """normalize(i + w c), and i where an item has no caption."""
        caption_ND, has_N = self.captioned(kind)
        return normalize(self.image_ND + weight * caption_ND * has_N[:, None], dim=-1)

    def scored(self, score_QN: torch.Tensor) -> Scores:
        """What ranking by these scores is worth; references do not compete."""
        benchmark = self.encoded.benchmark
        score_QN = score_QN.index_put((torch.arange(len(score_QN)), self.reference_Q), torch.tensor(-torch.inf))
        best_QK = score_QN.topk(benchmark.depth, dim=1).indices
        whole: dict[str, tuple[str, ...]] = {}
        subset: dict[str, tuple[str, ...]] = {}
        for query, rows, score_N in zip(benchmark.parts[0].queries, best_QK.tolist(), score_QN, strict=True):
            whole[query.query_id] = tuple(self.names[row] for row in rows)
            few = sorted(query.subset, key=self.row_of.__getitem__)
            order = score_N[[self.row_of[name] for name in few]].sort(descending=True, stable=True).indices
            subset[query.query_id] = tuple(few[place] for place in order.tolist())
        return score(benchmark, {WHOLE: {"": whole}, SUBSET: {"": subset}})

    @cached_property
    def right_QN(self) -> torch.Tensor:
        """Which items are right answers."""
        found_QN = torch.zeros(len(self.reference_Q), len(self.names), dtype=torch.bool)
        for place, query in enumerate(self.encoded.benchmark.parts[0].queries):
            found_QN[place, [self.row_of[name] for name in query.targets]] = True
        return found_QN

    def first_is_right(self, score_QN: torch.Tensor) -> torch.Tensor:
        """Of each query, whether the best item is a right answer."""
        score_QN = score_QN.index_put((torch.arange(len(score_QN)), self.reference_Q), torch.tensor(-torch.inf))
        return self.right_QN.gather(1, score_QN.argmax(dim=1, keepdim=True))[:, 0]

    def neighbours(self, score_QN: torch.Tensor) -> list[float]:
        """Of each query's five nearest items, the share that is of the reference's group of six."""
        score_QN = score_QN.index_put((torch.arange(len(score_QN)), self.reference_Q), torch.tensor(-torch.inf))
        nearest = score_QN.topk(5, dim=1).indices.tolist()
        queries = self.encoded.benchmark.parts[0].queries
        groups = [{self.row_of[name] for name in query.subset} for query in queries]
        return [len(group.intersection(rows)) / 5 for group, rows in zip(groups, nearest, strict=True)]


def read_fuse_gallery(folder: Path, encoder: Encoder, composer: Composer, cache: Path, *, seed: int) -> FuseGallery:
    """Read and embed a gallery."""
    encoded = encode_benchmark(read_gallery(folder), encoder, folder, cache)
    values = {each.name: getattr(encoded, each.name) for each in fields(EncodedBenchmark)}
    kept = EncodedBenchmark(**{**values, "cached_states": {}})
    captions = {record.image_id: record.captions[0] for record in read_captioned(str(folder), Refusals())}
    return FuseGallery(kept, composer, captions, seed)
