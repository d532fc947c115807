"""The packaged corpus: captions of everyday pictures with edits and edited captions, in English.

``python -m tools.bootstrap_corpus`` wrote it, from templates over this project's vocabulary, with this project's
engines. No caption, edit or picture of anybody else is in it, so it has the licence of the package (Apache-2.0).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scot.data.triplets import Triplet
from scot.errors import InvalidInput

CORPUS = Path(__file__).resolve().parent / "corpus.parquet"
"""One row a triplet, those of one caption together, the captions in random order."""
SCHEMA = pa.schema([(name, pa.string()) for name in ("caption", "edit", "edited_caption", "aspect", "domain")])
"""Its columns. ``domain``: people, fashion, products, interiors, animals, food, vehicles, scenes."""
GENERATOR, VERSION = "bootstrap", "corpus-1"


def read_corpus(share: float = 1.0) -> pa.Table:
    """The first ``share`` of the triplets, all triplets of a caption or none: a table of :data:`SCHEMA`.

    Raises:
        InvalidInput: ``share`` is not above 0 and at most 1.
    """
    if not 0.0 < share <= 1.0:
        raise InvalidInput(f"share must be above 0 and at most 1, not {share:g}")
    table = pq.read_table(CORPUS, schema=SCHEMA)
    captions, stop = table.column("caption"), max(1, round(share * table.num_rows))
    while stop < table.num_rows and captions[stop].equals(captions[stop - 1]):
        stop += 1
    return table.slice(0, stop)


def triplets(table: pa.Table) -> Iterator[Triplet]:
    """The rows of the corpus as triplets. A caption stands for an image: its id is the hash of the caption."""
    for row in table.to_pylist():
        image_id = hashlib.sha256(row["caption"].encode()).hexdigest()[:16]
        yield Triplet.make(
            image_id, row["caption"], row["edit"], row["edited_caption"],
            aspect=row["aspect"], generator=GENERATOR, prompt_version=VERSION, seed=0,
        )  # fmt: skip
