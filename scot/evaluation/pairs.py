"""A test of anybody's captioned images, without labels: pairs of images whose captions differ in a few words.

The edit says the difference of two captions of the source (:mod:`scot.edits.pairs`); the right answers are the real
images with the other caption. Captions leave things out, so an answer that is counted as wrong may fit: compare
composers and baselines by these numbers, not sources.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from scot.data.captioned import read_captioned
from scot.data.filesystems import is_url
from scot.data.read_ahead import read_ahead
from scot.data.records import CaptionedImage, Refusals
from scot.edits.filters import TextFilters
from scot.edits.generators.pairs import PairsGenerator
from scot.edits.pairs import mine
from scot.edits.prompt import clean
from scot.embeddings.cache import folds
from scot.embeddings.pairs import ImagePair
from scot.errors import InvalidInput
from scot.evaluation.base import Benchmark, Part, Query
from scot.evaluation.images import ImageFile, is_there
from scot.evaluation.scoring import recalls

NAME = "pairs"
RECALL_AT = (1, 5, 10, 50)
QUERIES = 1_000
ENOUGH = 50
"""Queries; of fewer, an interval is wider than most differences."""
_AT_ONCE = 512


def read_pairs(sources: Sequence[str], *, queries: int = QUERIES, held_out: float = 0.0, seed: int = 0) -> Benchmark:
    """The benchmark of captioned images.

    Args:
        sources: captioned images (:func:`scot.data.captioned.open_source`) whose images are files.
        queries: how many queries to make at most, of as many captions.
        held_out: the share of the captions whose images are references, those that pretraining with the same share
            holds out; 0: all, for images that were not trained on.
        seed: chooses among a caption's pairs and among ways of saying an edit.

    Raises:
        NotFound, InvalidInput: a source cannot be read, or has too few pairs.
    """
    refusals = Refusals()
    records = [record for source in sources for record in _located(source, refusals)]
    images = {record.image_id: ImageFile(record.image) for record in records if is_there(record.image)}
    if len(images) < len(records):
        raise InvalidInput(
            f"{len(records) - len(images):,} of {len(records):,} images are not files of their own, or share an id: "
            "unpack archives first"
        )
    rows = [(record.image_id, caption) for record in records for caption in record.captions]
    found = find_pairs(rows, queries=queries, held_out=held_out, seed=seed)
    if len(found) < ENOUGH:
        captions = len({_key(caption) for _, caption in rows})
        raise InvalidInput(
            f"{', '.join(sources)} gives {len(found)} queries, and {ENOUGH} are needed: too few of its "
            f"{captions:,} captions{' that are held out' * bool(held_out)} differ from another in a few words"
        )
    left_out = {"refused": refusals.summary()} if refusals.total else {}
    gallery = f"the {len(images):,} images of {', '.join(sources)}"
    return pairs_benchmark(found, tuple(images), images, {"gallery": gallery, **left_out})


def _located(source: str, refusals: Refusals) -> Iterable[CaptionedImage]:
    read = read_captioned(source, refusals)
    return read_ahead(read, CaptionedImage.located) if is_url(source) else read


def find_pairs(
    rows: Sequence[tuple[str, str]], *, queries: int = QUERIES, held_out: float = 0.0, seed: int = 0
) -> list[ImagePair]:
    """Queries among images and their captions, one a caption, in the order of the captions' folds.

    Args:
        rows: ids of images and their captions; an image may have several.
        queries: see :func:`read_pairs`, as ``held_out`` and ``seed``.
    """
    fold_R = folds(caption for _, caption in rows).tolist()
    limit = int(held_out * 2**32) if held_out else 2**32
    chosen = sorted((fold, *row) for fold, row in zip(fold_R, rows, strict=True) if fold < limit)
    images_of: dict[str, list[str]] = {}
    for image_id, caption in rows:
        images_of.setdefault(_key(caption), []).append(image_id)
    generator = PairsGenerator(mine(rows, seed=seed), TextFilters(language=""))  # captions of any language
    found: dict[str, ImagePair] = {}
    for start in range(0, len(chosen), _AT_ONCE):
        if len(found) == queries:
            break
        some = chosen[start : start + _AT_ONCE]
        captions, ids = [caption for *_, caption in some], [image_id for _, image_id, _ in some]
        made = asyncio.run(generator.generate(captions, count=1, seed=seed, image_ids=ids))
        for image_id, caption, edits in zip(ids, captions, made, strict=True):
            for record in edits.edits:
                targets = tuple(sorted({*images_of.get(_key(record.edited_caption), ())} - {image_id}))
                if targets and _key(caption) not in found and len(found) < queries:
                    found[_key(caption)] = ImagePair(image_id, record.edit, caption, record.edited_caption, targets)
    return list(found.values())


def pairs_benchmark(
    pairs: Iterable[ImagePair],
    gallery: tuple[str, ...],
    images: dict[str, ImageFile],
    protocol: Mapping[str, str],
) -> Benchmark:
    """The benchmark of these queries over a gallery of images, whose files ``images`` names."""
    queries = tuple(
        Query(
            f"pair-{number:05d}", pair.image_id, (pair.edit,), pair.target_ids,
            caption=pair.caption, edited_caption=pair.edited_caption,
        )
        for number, pair in enumerate(pairs)
    )  # fmt: skip
    return Benchmark(
        name=NAME,
        split="mined",
        parts=(Part("", gallery, queries),),
        protocol={
            **protocol,
            "reference": "left out of the ranking",
            "target": "any image with the other caption of a pair",
            "edit": "the difference of the two captions, in words",
        },
        measure=partial(recalls, whole_at=RECALL_AT),
        locate=lambda folder: {"": images},
        drop_reference=True,
    )


def _key(caption: str) -> str:
    return clean(caption).casefold()
