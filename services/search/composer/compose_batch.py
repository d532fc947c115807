"""From references and edits to query vectors: both towers and the composers, for a batch of queries at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from scot.composers import Composer
from scot.composers.base import States, padded
from services.search.composer.embedding_cache import CachedEncoder, Embedded

if TYPE_CHECKING:
    from scot.encoders.base import Pixels, Tokens

Vector = npt.NDArray[np.float32]  # (D,), unit length


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a query: the tokenised edit ``(L,)`` and how to follow it (see ``Edit`` in search.proto)."""

    tokens: Tokens
    weight: float = 1.0
    negative: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One query: at most one of ``pixels`` ``(H, W, 3)`` and ``vector`` ``(D,)``, and the moves in order."""

    pixels: Pixels | None
    vector: Vector | None
    moves: tuple[Move, ...]
    composer: str = ""
    """Empty: the rollout chooses (:mod:`services.search.composer.rollout`)."""
    caller: str = ""
    """Whose query it is, in any words; the rollout goes by it."""
    shadowed: bool = False
    """Whether somebody has the time to look up what the shadow makes of it."""

    @property
    def composes(self) -> bool:
        """Whether there is an edit to compose with something: a reference, or the edit before."""
        has_reference = self.pixels is not None or self.vector is not None
        return len(self.moves) > (0 if has_reference else 1)


@dataclass(frozen=True, slots=True)
class Composed:
    """The query vector ``(D,)``, its composer, the seconds it waited and took, and the size of its batch."""

    vector: Vector
    composer: str
    queue_s: float = 0.0
    compose_s: float = 0.0
    batch: int = 1
    shadow: str = ""
    """The composer in the shadow of this query, if there is one."""
    shadow_vector: Vector | None = None
    """Its query vector ``(D,)``; none when nobody had the time for it, or it failed."""


def compose_batch(
    embeddings: CachedEncoder, composer_of: Callable[[str], Composer], jobs: Sequence[Job]
) -> list[Composed | Exception]:
    """Answer every job, or say what is wrong with it; neither a job nor a composer that fails takes others with it.

    All pictures go through the image tower together and all edits through the text tower; then the moves are made in
    rounds, in each of which a composer is called once for all the queries that want it.
    """
    failed: dict[int, Exception] = {}
    composers: dict[int, Composer | None] = {}
    for place, job in enumerate(jobs):
        try:
            composers[place] = composer_of(job.composer) if job.composer or job.composes else None
        except Exception as error:
            failed[place] = error
    live = list(composers)
    inside = any(composer is not None and composer.reads_states for composer in composers.values())
    queries, shown = _starts(embeddings, jobs, live, inside)
    moves = {place: jobs[place].moves for place in live}
    said = embeddings.tokens([move.tokens for place in live for move in moves[place]], states=inside)
    offsets = dict(zip(live, np.cumsum([0] + [len(moves[place]) for place in live]).tolist(), strict=False))
    for turn in range(max((len(each) for each in moves.values()), default=0)):
        groups: dict[int, list[int]] = defaultdict(list)
        for place in live:
            if turn < len(moves[place]) and place not in failed:
                if place in queries:
                    groups[id(composers[place])].append(place)
                else:  # text-only: the first edit is where the query starts
                    queries[place] = said[offsets[place] + turn].vector_D
        for places in groups.values():
            composer = composers[places[0]]
            assert composer is not None
            edits = [said[offsets[place] + turn] for place in places]
            start_BD = np.stack([queries[place] for place in places])
            # Only the start of a query can be a picture: once moved, it is known by its vector alone.
            seen = [shown.get(place) if turn == 0 else None for place in places]
            try:
                end_BD = _composed(composer, start_BD, seen, edits)
            except Exception as error:
                failed |= dict.fromkeys(places, error)
                continue
            for row, place in enumerate(places):
                queries[place] = _moved(start_BD[row], end_BD[row], moves[place][turn])
    return [
        failed[place] if place in failed else Composed(queries[place], _answered_by(job, composers[place]))
        for place, job in enumerate(jobs)
    ]


def _composed(
    composer: Composer,
    start_BD: npt.NDArray[np.float32],
    seen: Sequence[Embedded | None],
    edits: Sequence[Embedded],
) -> npt.NDArray[np.float32]:
    states: tuple[States, ...] = ()
    if composer.reads_states:
        patches = padded([None if each is None else each.states_LW for each in seen])
        states = (patches, padded([each.states_LW for each in edits]))
    text_BD = torch.from_numpy(np.stack([each.vector_D for each in edits]))
    end_BD: npt.NDArray[np.float32] = composer.compose(torch.from_numpy(start_BD), text_BD, *states).cpu().numpy()
    return end_BD


def _answered_by(job: Job, composer: Composer | None) -> str:
    if not job.moves:
        return "image_only"
    if job.pixels is None and job.vector is None and len(job.moves) == 1:
        return "text_only"
    assert composer is not None
    return composer.name


def _starts(
    embeddings: CachedEncoder, jobs: Sequence[Job], live: Sequence[int], inside: bool
) -> tuple[dict[int, Vector], dict[int, Embedded]]:
    """Where the queries start, and those of them that start with a picture."""
    pictures = {place: pixels for place in live if (pixels := jobs[place].pixels) is not None}
    shown = dict(zip(pictures, embeddings.pixels(list(pictures.values()), states=inside), strict=True))
    starts = {place: each.vector_D for place, each in shown.items()}
    starts |= {place: vector for place in live if (vector := jobs[place].vector) is not None}
    return starts, shown


def _moved(start_D: Vector, end_D: Vector, move: Move) -> Vector:
    if move.weight == 1.0 and not move.negative:
        return end_D
    step = -move.weight if move.negative else move.weight
    # (1 - w) q + w c = q + w (c - q): one formula moves towards the edit, and with the sign turned away from it.
    moved = start_D + step * (end_D - start_D)
    length = float(np.linalg.norm(moved))
    result: Vector = (moved / length).astype(np.float32) if length > 1e-6 else start_D
    return result
