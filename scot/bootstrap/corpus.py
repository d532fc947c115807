"""The corpus of ``scot composers bootstrap``: captions of everyday pictures with edits and edited captions, in English.

Captions come from the templates beside this file, over this project's vocabulary. The slots engine edits each twice;
then the pairs engine finds the captions, edited ones among them, that differ in a few words. No caption, edit or
picture of anybody else is in it, so it has the licence of the package (Apache-2.0).
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Iterator
from functools import cache

import pyarrow as pa

from scot.bootstrap.captions import captions
from scot.data.triplets import Triplet
from scot.edits.filters import TextFilters
from scot.edits.generators.base import EditGenerator
from scot.edits.generators.pairs import PairsGenerator
from scot.edits.generators.slots import SlotsGenerator
from scot.edits.pairs import mine
from scot.edits.record import EditRecord
from scot.errors import InvalidInput

SCHEMA = pa.schema([(name, pa.string()) for name in ("caption", "edit", "edited_caption", "aspect", "domain")])
"""Its columns. ``domain``: people, fashion, products, interiors, animals, food, vehicles, scenes."""
GENERATOR, VERSION = "bootstrap", "corpus-4"
_CAPTIONS, _SEED = 26_000, 0


@cache
def write_corpus(written: int = _CAPTIONS, seed: int = _SEED) -> pa.Table:
    """Write the corpus, in about 20 seconds of one core: a table of :data:`SCHEMA`, the captions in random order.

    Each triplet is in it once, and those of one caption are together. Equal arguments give equal tables.

    Args:
        written: captions from the templates.
        seed: decides captions and edits.
    """
    domain = dict(captions(written, seed))
    filters = TextFilters(language="")  # all of it is English
    first = _edits(SlotsGenerator(filters), list(domain), 2, seed)
    for caption, edits in first.items():
        for edit in edits:
            domain.setdefault(edit.edited_caption, domain[caption])
    index = mine([(caption, caption) for caption in domain], seed=seed)
    second = _edits(PairsGenerator(index, filters), list(domain), 1, seed)
    rows: dict[tuple[str, str, str], tuple[str, str]] = {}
    for caption, about in domain.items():
        for edit in (*first.get(caption, ()), *second[caption]):
            rows.setdefault((caption, edit.edit, edit.edited_caption), (edit.aspect, about))
    columns = [*zip(*rows, strict=True), *zip(*rows.values(), strict=True)]
    return pa.Table.from_arrays([pa.array(column) for column in columns], schema=SCHEMA)


def part(corpus: pa.Table, share: float) -> pa.Table:
    """The first ``share`` of the triplets of a corpus, all triplets of a caption or none.

    Raises:
        InvalidInput: ``share`` is not above 0 and at most 1.
    """
    if not 0.0 < share <= 1.0:
        raise InvalidInput(f"share must be above 0 and at most 1, not {share:g}")
    column, stop = corpus.column("caption"), math.ceil(share * corpus.num_rows)
    while stop < corpus.num_rows and column[stop].equals(column[stop - 1]):
        stop += 1
    return corpus.slice(0, stop)


def triplets(table: pa.Table) -> Iterator[Triplet]:
    """The rows of the corpus as triplets. A caption stands for an image: its id is the hash of the caption."""
    for row in table.to_pylist():
        image_id = hashlib.sha256(row["caption"].encode()).hexdigest()[:16]
        yield Triplet.make(
            image_id, row["caption"], row["edit"], row["edited_caption"],
            aspect=row["aspect"], generator=GENERATOR, prompt_version=VERSION, seed=0,
        )  # fmt: skip


def _edits(generator: EditGenerator, texts: list[str], count: int, seed: int) -> dict[str, tuple[EditRecord, ...]]:
    made = asyncio.run(generator.generate(texts, count=count, seed=seed, image_ids=texts))
    return {text: found.edits for text, found in zip(texts, made, strict=True)}
