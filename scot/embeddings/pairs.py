"""The optional part of an embedding cache for its test: pairs of images whose captions differ in a few words.

::

    pairs/    image_id, edit, caption, edited_caption, targets, and the rows of the first four and of the targets

The references and targets are images of the cache, the texts are among its texts. Rows are in the order of the folds of
their captions (:func:`scot.embeddings.cache.folds`): those of held-out captions come first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from scot.data.shards import Manifest, read_shards, write_shards
from scot.errors import InvalidInput

PAIRS = "pairs"

_ROWS = ("image", "edit", "caption", "edited")
_TEXTS = ("image_id", "edit_text", "caption_text", "edited_text")
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _TEXTS),
        ("target_ids", pa.list_(pa.string())),
        *((name, pa.int64()) for name in _ROWS),
        ("targets", pa.list_(pa.int64())),
    ]
)


@dataclass(frozen=True, slots=True)
class ImagePair:
    """A query: a reference, the edit, its caption, the caption of the right answers, and the ids of these images."""

    image_id: str
    edit: str
    caption: str
    edited_caption: str
    target_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CachedPair:
    """A query with its rows in the tables of images and texts."""

    pair: ImagePair
    image: int
    edit: int
    caption: int
    edited: int
    targets: tuple[int, ...]


FindPairs = Callable[[Sequence[tuple[str, str]]], Sequence[ImagePair]]
"""From ids of images and their captions to queries among them."""


def write_pairs(
    folder: str | Path, pairs: Sequence[ImagePair], image_row: Mapping[str, int], text_row: Mapping[str, int]
) -> Manifest:
    """Write ``pairs/`` of a cache: the queries whose reference and texts it has, with the targets that it has."""
    rows = []
    for pair in pairs:
        texts = (pair.edit, pair.caption, pair.edited_caption)
        targets = [target for target in pair.target_ids if target in image_row]
        if targets and pair.image_id in image_row and all(text in text_row for text in texts):
            places = [image_row[pair.image_id], *(text_row[text] for text in texts)]
            rows.append([pair.image_id, *texts, targets, *places, [image_row[target] for target in targets]])
    columns = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA)
    table = pa.Table.from_arrays(
        [pa.array(column, each.type) for column, each in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
    )
    return write_shards(f"{folder}/{PAIRS}", PAIRS, [table], shard_size=len(pairs) + 1)


def read_pairs(folder: str | Path, manifest: Manifest, *, images: int, texts: int) -> tuple[CachedPair, ...]:
    """The queries of a cache with so many images and texts.

    Raises:
        InvalidInput: a shard is missing or damaged, or contains a row number that does not exist.
    """
    found = []
    for table in read_shards(f"{folder}/{PAIRS}", manifest, _SCHEMA):
        for row in table.to_pylist():
            image_id, edit, caption, edited = (row[name] for name in _TEXTS)
            pair = ImagePair(image_id, edit, caption, edited, tuple(row["target_ids"]))
            found.append(CachedPair(pair, targets=tuple(row["targets"]), **{name: row[name] for name in _ROWS}))
    if not all(
        all(0 <= image < images for image in (each.image, *each.targets))
        and all(0 <= text < texts for text in (each.edit, each.caption, each.edited))
        for each in found
    ):
        raise InvalidInput(f"the embedding cache {folder} is damaged: a pair has a row number that does not exist")
    return tuple(found)
