"""Catalogues and evaluation galleries of a drawn world: which pictures, and queries with exact answers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import get_context

from PIL import Image

from scot.worlds import Attributes, Split, World, key_of, split_of

SUBSET = 6
"""Pictures in a query's subset, its reference included, as in CIRR (Liu et al. 2021, arXiv 2108.04024)."""

_QUERIES_A_CLUSTER = 3
_TWO_CHANGES = 0.5


@dataclass(frozen=True, slots=True)
class Drawing:
    """One picture to be: everything that determines it in its world."""

    item_id: str
    attributes: Attributes
    seed: int

    def draw(self, world: World) -> Image.Image:
        """Draw it as a picture of its world, RGB."""
        return world.draw(self.attributes, random.Random(f"draw-{self.seed}-{self.item_id}"))

    def caption(self, world: World) -> str:
        """Describe it in its world's words."""
        return world.caption(self.attributes, random.Random(f"say-{self.seed}-{self.item_id}"))


@dataclass(frozen=True, slots=True)
class Query:
    """A composed query: ``targets`` are all right answers, ``subset`` six like pictures, the reference first."""

    query_id: str
    reference_id: str
    edit: str
    edited_caption: str
    targets: frozenset[str]
    subset: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gallery:
    """The pictures to search, of distinct held-out combinations, and the queries over them."""

    world: str
    items: tuple[Drawing, ...]
    queries: tuple[Query, ...]


def catalogue(world: World, size: int, *, split: Split, seed: int) -> list[Drawing]:
    """``size`` pictures of distinct combinations from one split."""
    rng = random.Random(f"catalogue-{world.name}-{split}-{seed}")
    seen: dict[str, Attributes] = {}
    while len(seen) < size:
        attributes = world.sample(rng)
        if split_of(attributes) == split:
            seen.setdefault(key_of(attributes), attributes)
    return [Drawing(f"{world.name}-{split}-{i:05d}", attributes, seed) for i, attributes in enumerate(seen.values())]


def evaluation_gallery(world: World, *, size: int, queries: int, seed: int, split: Split = "eval") -> Gallery:
    """A gallery made of clusters of like pictures, every combination of it held out from training.

    With ``split="train"`` every combination is one for training: its queries are labelled triplets to learn from.

    Each cluster is a picture and five others one or two changes away; queries ask for one of them from another. So the
    nearest neighbours of a reference are in the gallery, and only the one that the edit describes is right.
    """
    rng = random.Random(f"gallery-{world.name}-{seed}")
    prefix = world.name if split == "eval" else f"{world.name}-{split}"
    taken: dict[str, str] = {}
    items: list[Drawing] = []
    clusters: list[list[Drawing]] = []
    while len(items) < size:
        members = _cluster(world, rng, taken, min(SUBSET, size - len(items)), split)
        drawings = [Drawing(f"{prefix}-{len(items) + i:05d}", attributes, seed) for i, attributes in enumerate(members)]
        taken.update((key_of(drawing.attributes), drawing.item_id) for drawing in drawings)
        items += drawings
        clusters.append(drawings)
    asked = _queries([cluster for cluster in clusters if len(cluster) == SUBSET], world, rng, taken, queries)
    return Gallery(world.name, tuple(items), tuple(asked))


def draw_all(world: World, drawings: Sequence[Drawing], *, num_workers: int) -> Iterator[tuple[Drawing, Image.Image]]:
    """Draw many pictures in order, on several processes when there is enough to do."""
    if num_workers <= 1 or len(drawings) < 500:
        yield from ((drawing, drawing.draw(world)) for drawing in drawings)
        return
    with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn")) as pool:
        yield from zip(drawings, pool.map(Drawing.draw, drawings, repeat(world), chunksize=64), strict=True)


def _cluster(world: World, rng: random.Random, taken: dict[str, str], size: int, split: Split) -> list[Attributes]:
    while True:
        base: Attributes = world.sample(rng)
        if split_of(base) != split or key_of(base) in taken:
            continue
        members, keys = [base], {key_of(base)}
        for _ in range(60):
            if len(members) == size:
                return members
            other = _changed(world, base, rng)
            key = key_of(other)
            if split_of(other) == split and key not in taken and key not in keys:
                members.append(other)
                keys.add(key)


def _changed(world: World, base: Attributes, rng: random.Random) -> Attributes:
    """One or two attributes away, every attribute equally likely."""
    other = base
    for _ in range(2 if rng.random() < _TWO_CHANGES else 1):
        changes = world.changes(other)
        name = rng.choice(sorted({name for name, _ in changes}))
        other = world.changed(other, name, rng.choice([value for of, value in changes if of == name]))
    return other


def _queries(
    clusters: list[list[Drawing]], world: World, rng: random.Random, taken: dict[str, str], count: int
) -> Iterator[Query]:
    made = 0
    for round_ in range(_QUERIES_A_CLUSTER):
        for cluster in clusters:
            if made == count:
                return
            # From the middle of the cluster to a member or back: one or two attributes apart either way.
            middle, member = cluster[0], cluster[1 + round_]
            reference, target = (middle, member) if rng.random() < 0.5 else (member, middle)
            targets = frozenset({taken[key_of(target.attributes)]})
            others = [drawing.item_id for drawing in cluster if drawing is not reference]
            yield Query(
                f"{world.name}-q{made:05d}",
                reference.item_id,
                world.edit(reference.attributes, target.attributes, rng),
                world.caption(target.attributes, rng),
                targets,
                (reference.item_id, *others),
            )
            made += 1
