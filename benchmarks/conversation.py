"""How well a conversation finds what one long edit finds, and what likes and dislikes move, on the drawn worlds.

    python benchmarks/conversation.py

Each query knows its target: a combination of attributes, two or three changes away from the reference. It is asked for
in one long edit; by as many turns, each with one change; and by turns that go on from the hit, among the ten best, that
has most of the target without being it. The gallery holds references, targets and random pictures. The service's
own code composes (docs/adr/0022-refinement-as-a-conversation.md).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from scot import flags
from scot.client import Edit
from scot.composers import Composer, composer_path, load_composer
from scot.encoders import Encoder, load_encoder
from scot.encoders.resizing import Pixels
from scot.worlds import Attributes, World, load_world
from services.search.composer import conversation
from services.search.composer.compose_batch import compose_batch
from services.search.composer.embedding_cache import CachedEncoder
from services.search.composer.messages import Composed, ComposeJob, ComposeTurn, Vector

FEEDBACK = (
    ("neither", False, False),
    ("two dislikes", False, True),
    ("two likes, two dislikes", True, True),
)
SHOWN = 10
"""The hits that a user sees."""


@dataclass(frozen=True)
class ConversationBenchmark:
    """Conversations on the drawn worlds, with the packaged encoder and composer."""

    worlds: list[str] = field(default_factory=lambda: ["wardrobe", "scenes"])
    """The drawn worlds."""
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3])
    """A gallery for each; the constants were chosen on the wardrobe of seed 0."""
    queries: int = 120
    """Half of the targets are two changes away, half three."""
    others: int = 1_200
    """Random pictures in the gallery."""
    carries: list[float] = field(default_factory=lambda: [conversation.CARRY])
    """Weights of what was said before; one row each."""
    feedbacks: list[float] = field(default_factory=lambda: [conversation.DISLIKE])
    """Strengths of likes and dislikes; one row each."""


@dataclass(frozen=True)
class Task:
    """A reference by its place in the gallery, and its changes: what is said, and the combination that it leads to."""

    reference: int
    pixels: Pixels
    changes: tuple[tuple[str, Attributes], ...]

    @property
    def target(self) -> Attributes:
        """The combination that is looked for."""
        return self.changes[-1][1]


class Gallery:
    """Pictures of a drawn world with their vectors ``(N, D)``, and tasks on them."""

    def __init__(
        self, world: World, encoder: Encoder, composer: Composer, *, seed: int, queries: int, others: int
    ) -> None:
        rng = random.Random(seed)
        self.pictures: list[Attributes] = []
        self.tasks: list[Task] = []
        self._cached, self._composer = CachedEncoder(encoder), composer
        vectors: list[npt.NDArray[np.float32]] = []

        def add(attributes: Attributes) -> Pixels:
            pixels = encoder.preprocess(world.draw(attributes, rng))
            self.pictures.append(attributes)
            vectors.append(encoder.encode_pixels([pixels])[0])
            return pixels

        for number in range(queries):
            current: Attributes = world.sample(rng)
            place, pixels = len(self.pictures), add(current)
            changes: list[tuple[str, Attributes]] = []
            for _ in range(2 + number % 2):
                named = {name for _, after in changes for name in after if after[name] != self.pictures[place][name]}
                name, value = rng.choice([each for each in world.changes(current) if each[0] not in named])
                following = world.changed(current, name, value)
                changes.append((world.edit(current, following, rng), following))
                current = following
            add(current)
            self.tasks.append(Task(place, pixels, tuple(changes)))
        for _ in range(others):
            add(world.sample(rng))
        self.vectors = np.stack(vectors)

    def compose(self, turns: Sequence[tuple[ComposeTurn, ...]]) -> list[Vector]:
        """The query vectors of conversations, all in one batch."""
        answers = compose_batch(self._cached, lambda _: self._composer, [ComposeJob(each, "any") for each in turns])
        for answer in answers:
            if not isinstance(answer, Composed):
                raise answer
        return [answer.vector for answer in answers if isinstance(answer, Composed)]

    def hits(self, query_D: Vector, out: set[int]) -> list[int]:
        """The best pictures, without those in ``out``."""
        scores_N = self.vectors @ query_D
        scores_N[list(out)] = -np.inf
        return [int(place) for place in np.argsort(-scores_N, kind="stable")[:SHOWN]]

    def mean(self, places: Sequence[int]) -> Vector:
        """The mean of pictures' vectors at unit length."""
        mean: Vector = self.vectors[list(places)].mean(0)
        return conversation.unit(mean, mean)


def start(task: Task, *said: str) -> ComposeTurn:
    """A turn that begins at the task's reference, with one plain edit of all that is said."""
    return ComposeTurn(images=((task.pixels, 1.0),), edits=(Edit(" and ".join(said)),))


def one_long_edit(gallery: Gallery) -> list[list[int]]:
    """The hits when everything is said at once."""
    turns = [(start(task, *(said for said, _ in task.changes)),) for task in gallery.tasks]
    return [
        gallery.hits(query, {task.reference}) for task, query in zip(gallery.tasks, gallery.compose(turns), strict=True)
    ]


def saying_more(gallery: Gallery) -> list[list[int]]:
    """The hits at the end of turns with one change each, without naming another picture."""
    turns = [
        (start(task, task.changes[0][0]), *(ComposeTurn(edits=(Edit(said),)) for said, _ in task.changes[1:]))
        for task in gallery.tasks
    ]
    return [
        gallery.hits(query, {task.reference}) for task, query in zip(gallery.tasks, gallery.compose(turns), strict=True)
    ]


def going_on_from_hits(gallery: Gallery, best: Callable[[Task, list[int]], int]) -> list[list[int]]:
    """The hits at the end of turns with one change each, the later ones from the hit that ``best`` chooses."""
    trails: list[tuple[ComposeTurn, ...]] = [(start(task, task.changes[0][0]),) for task in gallery.tasks]
    seen = [{task.reference} for task in gallery.tasks]
    while True:
        queries = gallery.compose(trails)
        found = [gallery.hits(query, out) for query, out in zip(queries, seen, strict=True)]
        open_tasks = [n for n, task in enumerate(gallery.tasks) if len(trails[n]) < len(task.changes)]
        if not open_tasks:
            return found
        for n in open_tasks:
            task, chosen = gallery.tasks[n], best(gallery.tasks[n], found[n])
            said = task.changes[len(trails[n])][0]
            seen[n].add(chosen)
            trails[n] += (ComposeTurn(vector=gallery.vectors[chosen], vector_weight=1.0, edits=(Edit(said),)),)


def changing_the_mind(gallery: Gallery) -> list[list[int]]:
    """The hits when a first turn is about another picture, and the second says everything from the task's own.

    What was said before must not overrule the picture that is chosen now: compare with one long edit.
    """
    trails = []
    for task, other in zip(gallery.tasks, [*gallery.tasks[1:], gallery.tasks[0]], strict=True):
        said = " and ".join(said for said, _ in task.changes)
        now = ComposeTurn(vector=gallery.vectors[task.reference], vector_weight=1.0, edits=(Edit(said),))
        trails.append((start(other, other.changes[0][0]), now))
    return [
        gallery.hits(query, {task.reference})
        for task, query in zip(gallery.tasks, gallery.compose(trails), strict=True)
    ]


def most_alike(gallery: Gallery) -> Callable[[Task, list[int]], int]:
    """Chooses the hit with most of the target's attributes, the first of several, but never the target itself."""

    def best(task: Task, hits: list[int]) -> int:
        def alike(place: int) -> int:
            return sum(gallery.pictures[place][name] == value for name, value in task.target.items())

        return max((place for place in hits if gallery.pictures[place] != task.target), key=alike)

    return best


def recall(gallery: Gallery, found: Sequence[Sequence[int]], at: int, changes: int) -> float:
    """The share of the tasks with so many changes whose target is among the first ``at`` hits."""
    reached = [
        any(gallery.pictures[place] == task.target for place in hits[:at])
        for task, hits in zip(gallery.tasks, found, strict=True)
        if len(task.changes) == changes
    ]
    return float(np.mean(reached))


def feedback(gallery: Gallery, *, likes: bool, dislikes: bool) -> tuple[float, float]:
    """What feedback moves on the page of the first change, where two hits have a value that the user does not want.

    Up to two hits with it are disliked, up to two without are liked. The page is that of the request with the feedback,
    or with neither, that of the request that only leaves the disliked items out.

    Returns:
        The share of hits with the unwanted value, and of those that have the change.
    """
    pages = gallery.compose([(start(task, task.changes[0][0]),) for task in gallery.tasks])
    jobs: list[tuple[ComposeTurn, ...]] = []
    cases: list[tuple[Task, str, str, set[int]]] = []
    for number, (task, query) in enumerate(zip(gallery.tasks, pages, strict=True)):
        rng, hits = random.Random(number), gallery.hits(query, {task.reference})
        before, after = gallery.pictures[task.reference], task.changes[0][1]
        unwanted = [
            (name, value)
            for name in after
            if after[name] == before[name]
            for value in sorted({gallery.pictures[place][name] for place in hits})
            if 2 <= sum(gallery.pictures[place][name] == value for place in hits) <= SHOWN - 2
        ]
        if not unwanted:
            continue
        name, value = rng.choice(unwanted)
        bad = [place for place in hits if gallery.pictures[place][name] == value][:2]
        good = [place for place in hits if gallery.pictures[place][name] != value][:2]
        first = start(task, task.changes[0][0])
        jobs.append(
            (
                ComposeTurn(
                    images=first.images,
                    edits=first.edits,
                    like=gallery.mean(good) if likes else None,
                    dislike=gallery.mean(bad) if dislikes else None,
                ),
            )
        )
        cases.append((task, name, value, {task.reference, *bad}))
    shares = []
    for (task, name, value, out), query in zip(cases, gallery.compose(jobs), strict=True):
        before, after = gallery.pictures[task.reference], task.changes[0][1]
        changed = [each for each in after if after[each] != before[each]]
        shown = [gallery.pictures[place] for place in gallery.hits(query, out)]
        kept = np.mean([all(picture[each] == after[each] for each in changed) for picture in shown])
        shares.append((np.mean([picture[name] == value for picture in shown]), kept))
    unwanted_share, kept_share = np.mean(shares, axis=0)
    return float(unwanted_share), float(kept_share)


def packaged(encoder: Encoder) -> Composer:
    """The composer tiny-1."""
    return load_composer(composer_path("tiny-1", None), encoder_id=encoder.id, dim=encoder.dim)


def main(config: ConversationBenchmark) -> int:
    """Measure and print the rows of two tables: recall at 1 and 10 by method, and shares by feedback."""
    encoder = load_encoder("tiny")
    composer = packaged(encoder)
    for name in config.worlds:
        for seed in config.seeds:
            gallery = Gallery(
                load_world(name), encoder, composer, seed=seed, queries=config.queries, others=config.others
            )
            measure(gallery, f"{name} {seed}", config)
    return 0


def measure(gallery: Gallery, label: str, config: ConversationBenchmark) -> None:
    """Print the rows of one gallery."""

    def row(method: str, found: list[list[int]]) -> None:
        cells = [f"{100 * recall(gallery, found, at, changes):.0f}" for changes in (2, 3) for at in (1, 10)]
        print(f"| {label} | {method} | {' | '.join(cells)} |", flush=True)

    row("one long edit", one_long_edit(gallery))
    row("say more", saying_more(gallery))
    for conversation.CARRY in config.carries:  # the module's own number, which the replicas read
        row(f"go on from a hit, carry {conversation.CARRY:g}", going_on_from_hits(gallery, most_alike(gallery)))
        row(f"another mind, carry {conversation.CARRY:g}", changing_the_mind(gallery))
    for strength in config.feedbacks:
        conversation.LIKE = conversation.DISLIKE = strength
        for what, likes, dislikes in FEEDBACK:
            unwanted, kept = feedback(gallery, likes=likes, dislikes=dislikes)
            print(f"| {label} | {strength:g} | {what} | {100 * unwanted:.0f} | {100 * kept:.0f} |", flush=True)


if __name__ == "__main__":
    raise SystemExit(flags.run("benchmarks/conversation.py", main, ConversationBenchmark))
