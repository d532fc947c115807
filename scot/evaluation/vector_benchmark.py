"""Compose a benchmark's queries and rank its gallery, on vectors that are there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch.nn.functional import normalize

from scot.composers import Composer, NativeComposer
from scot.composers.base import States
from scot.errors import InvalidInput
from scot.evaluation.base import Benchmark, Part, Rankings
from scot.evaluation.ranking import Gallery, rank

_CHUNK = 256  # composed at once

QueryVectors = Mapping[str, torch.Tensor]
"""The unit query vectors ``(Q, D)`` of each part, by its name."""


class VectorBenchmark(ABC):
    """A benchmark and the vectors of its images and texts, wherever they come from."""

    benchmark: Benchmark

    @property
    @abstractmethod
    def encoder_id(self) -> str:
        """The encoder of the vectors."""

    @abstractmethod
    def gallery(self, part: str) -> Gallery:
        """The images of a part."""

    @abstractmethod
    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        """The vectors of texts, ``(N, D)``, in their order."""

    @abstractmethod
    def states(self, part: str, start: int, pairs: Sequence[tuple[str, str]]) -> tuple[States, States]:
        """The hidden states of (image, edit) pairs, of which the first is the ``start``-th of the part.

        Raises:
            InvalidInput: there are none.
        """

    def pairs(self, part: str, asked: Sequence[tuple[Sequence[str], str]], composer: NativeComposer) -> torch.Tensor:
        """The native query vectors ``(N, D)`` of (images, edit) inputs.

        Raises:
            InvalidInput: there are only vectors, no pictures; or the pictures of an input do not fit the context.
        """
        raise InvalidInput(f"the composer {composer.name} needs pictures, and here are only vectors")

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

    def references(self, part: str, names: Sequence[str] | None = None) -> torch.Tensor:
        """One vector an image, ``(N, D)``: of these names, or of all the part's images in order."""
        stored = self.gallery(part)
        return stored.rows(stored.names if names is None else names)

    def rank(self, queries: QueryVectors) -> Rankings:
        """Rank the gallery, and a query's subset or candidates, for every query."""
        rankings: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {}
        for part in self.benchmark.parts:
            for kind, lists in rank(part, queries[part.name], self.gallery(part.name), self.benchmark).items():
                rankings.setdefault(kind, {})[part.name] = lists
        return rankings

    def _compose(self, part: Part, composers: Sequence[Composer]) -> list[torch.Tensor]:
        pairs = [(query.reference, edit) for query in part.queries for edit in query.edits]
        asked = [(query.references, edit) for query in part.queries for edit in query.edits]
        if not pairs:
            return [torch.empty(0, self.gallery(part.name).shape[-1]) for _ in composers]
        text_PD = self.texts([edit for _, edit in pairs])
        image_PD = self.references(part.name, [name for name, _ in pairs])
        several_P = torch.tensor([bool(query.also) for query in part.queries for _ in query.edits])
        if several_P.any():
            image_PD[several_P] = self._summed_references(part)
        composed: list[list[torch.Tensor]] = [[] for _ in composers]
        reads_states = any(composer.reads_states for composer in composers)
        for start in range(0, len(pairs), _CHUNK):
            rows = slice(start, start + _CHUNK)
            states = (
                _of_single_references(self.states(part.name, start, pairs[rows]), several_P[rows])
                if reads_states
                else ()
            )
            for composer, chunks in zip(composers, composed, strict=True):
                if isinstance(composer, NativeComposer):
                    chunks.append(self.pairs(part.name, asked[rows], composer))
                    continue
                chunks.append(composer.compose(image_PD[rows], text_PD[rows], *states if composer.reads_states else ()))
        lengths = torch.tensor([len(query.edits) for query in part.queries])
        query_P = torch.arange(len(lengths)).repeat_interleave(lengths)
        zeros_QD = torch.zeros(len(lengths), image_PD.shape[1])
        return [
            normalize(zeros_QD.index_add(0, query_P, normalize(torch.cat(chunks), dim=-1)), dim=-1)
            for chunks in composed
        ]

    def _summed_references(self, part: Part) -> torch.Tensor:
        """The start of each edit of a query with several references, ``(P, D)``: their sum, normalized."""
        several = [query for query in part.queries if query.also for _ in query.edits]
        names = [name for query in several for name in query.references]
        owner_R = torch.tensor([place for place, query in enumerate(several) for _ in query.references])
        row_RD = self.references(part.name, names)
        sum_PD = torch.zeros(len(several), row_RD.shape[1]).index_add(0, owner_R, row_RD)
        return normalize(sum_PD, dim=-1)


def _of_single_references(states: tuple[States, States], several_B: torch.Tensor) -> tuple[States, States]:
    """The hidden states without those of images where a query starts from several, as the service composes it."""
    if not several_B.any():
        return states
    images, texts = states
    return images._replace(mask_BL=images.mask_BL & ~several_B[:, None]), texts
