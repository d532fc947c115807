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
from scot.composers.states import States, padded
from scot.encoders.base import encode_pixels, encode_tokens

if TYPE_CHECKING:
    from scot.encoders.base import Encoder, Pixels, Tokens

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


@dataclass(frozen=True, slots=True)
class Composed:
    """The query vector ``(D,)``, the composer that made it, and the seconds it waited and took."""

    vector: Vector
    composer: str
    queue_s: float = 0.0
    compose_s: float = 0.0


def compose_batch(
    encoder: Encoder, composer_of: Callable[[str], Composer], jobs: Sequence[Job]
) -> list[Composed | Exception]:
    """Answer every job, or say what is wrong with it; a job that fails takes no other with it.

    All pictures go through the image tower together and all edits through the text tower; then the moves are made in
    rounds, in each of which a composer is called once for all the queries that want it.
    """
    answers: dict[int, Exception] = {}
    composers: dict[int, Composer | None] = {}
    for place, job in enumerate(jobs):
        try:
            composers[place] = composer_of(job.composer) if _needs_composer(job) else None
        except Exception as error:
            answers[place] = error
    live = list(composers)
    inside = any(composer is not None and composer.reads_states for composer in composers.values())
    queries, shown = _starts(encoder, jobs, live, inside)
    moves = {place: jobs[place].moves for place in live}
    tokens = [move.tokens for place in live for move in moves[place]]
    texts_MD, said = encode_tokens(encoder, tokens, states=inside)
    offsets = dict(zip(live, np.cumsum([0] + [len(moves[place]) for place in live]), strict=False))
    for turn in range(max((len(each) for each in moves.values()), default=0)):
        groups: dict[int, list[int]] = defaultdict(list)
        for place in live:
            if turn < len(moves[place]):
                if place in queries:
                    groups[id(composers[place])].append(place)
                else:  # text-only: the first edit is where the query starts
                    queries[place] = texts_MD[offsets[place] + turn]
        for places in groups.values():
            composer = composers[places[0]]
            assert composer is not None
            edits = [int(offsets[place]) + turn for place in places]
            start_BD = np.stack([queries[place] for place in places])
            states: tuple[States, ...] = ()
            if composer.reads_states:
                # Only the start of a query can be a picture: once moved, it is known by its vector alone.
                seen = padded([shown.get(place) if turn == 0 else None for place in places])
                states = (seen, padded([said[edit] for edit in edits]))
            text_BD = torch.from_numpy(texts_MD[edits])
            end_BD = composer.compose(torch.from_numpy(start_BD), text_BD, *states).cpu().numpy()
            for row, place in enumerate(places):
                queries[place] = _moved(start_BD[row], end_BD[row], moves[place][turn])
    done: dict[int, Composed | Exception] = dict(answers)
    for place in live:
        done[place] = Composed(queries[place], _answered_by(jobs[place], composers[place]))
    return [done[place] for place in range(len(jobs))]


def _needs_composer(job: Job) -> bool:
    has_reference = job.pixels is not None or job.vector is not None
    return bool(job.composer) or len(job.moves) > (0 if has_reference else 1)


def _answered_by(job: Job, composer: Composer | None) -> str:
    if not job.moves:
        return "image_only"
    if job.pixels is None and job.vector is None and len(job.moves) == 1:
        return "text_only"
    assert composer is not None
    return composer.name


def _starts(
    encoder: Encoder, jobs: Sequence[Job], live: Sequence[int], inside: bool
) -> tuple[dict[int, Vector], dict[int, npt.NDArray[np.float16]]]:
    """Where the queries start and, if wanted, the hidden states of those that start with a picture."""
    pictures = {place: pixels for place in live if (pixels := jobs[place].pixels) is not None}
    vectors_BD, states = encode_pixels(encoder, list(pictures.values()), states=inside)
    starts = dict(zip(pictures, vectors_BD, strict=True))
    starts |= {place: vector for place in live if (vector := jobs[place].vector) is not None}
    return starts, dict(zip(pictures, states, strict=False))


def _moved(start_D: Vector, end_D: Vector, move: Move) -> Vector:
    if move.weight == 1.0 and not move.negative:
        return end_D
    step = -move.weight if move.negative else move.weight
    # (1 - w) q + w c = q + w (c - q): one formula moves towards the edit, and with the sign turned away from it.
    moved = start_D + step * (end_D - start_D)
    length = float(np.linalg.norm(moved))
    result: Vector = (moved / length).astype(np.float32) if length > 1e-6 else start_D
    return result
