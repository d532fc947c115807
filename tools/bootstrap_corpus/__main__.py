"""Write the packaged corpus of ``scot composers bootstrap``, ``scot/bootstrap/corpus.parquet``.

    python -m tools.bootstrap_corpus

Captions come from the templates beside this file. The slots engine edits each twice; then the pairs engine finds the
captions, edited ones among them, that differ in a few words. The same settings give the same file.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scot import flags
from scot.bootstrap.corpus import CORPUS, SCHEMA
from scot.data.atomic_io import write_bytes
from scot.edits.filters import TextFilters
from scot.edits.generators.base import EditGenerator
from scot.edits.generators.pairs import PairsGenerator
from scot.edits.generators.slots import SlotsGenerator
from scot.edits.pairs import mine
from scot.edits.record import EditRecord
from tools.bootstrap_corpus.captions import captions

Rows = dict[tuple[str, str, str], tuple[str, str]]
"""(caption, edit, edited caption) to (aspect, domain)."""


@dataclass(frozen=True, slots=True)
class BootstrapCorpus:
    """Write the packaged corpus."""

    out: Path = CORPUS
    """The Parquet file to write."""
    captions: int = 26_000
    """Captions that the grammar writes."""
    seed: int = 0
    """Decides captions and edits."""


def main(config: BootstrapCorpus) -> int:
    """Write the file, and print what it holds."""
    rows = triplets(captions(config.captions, config.seed), config.seed)
    keys = list(zip(*rows, strict=True))
    values = list(zip(*rows.values(), strict=True))
    table = pa.Table.from_arrays([pa.array(column) for column in (*keys, *values)], schema=SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=19)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(config.out, sink.getvalue().to_pybytes(), what=str(config.out))
    texts = len({text for key in rows for text in key})
    size = config.out.stat().st_size / 1e6
    print(f"{len(rows):,} triplets of {len(set(keys[0])):,} captions, {texts:,} texts: {config.out}, {size:.1f} MB")
    for name, column in (("domain", values[1]), ("aspect", values[0])):
        print(f"{name}: " + ", ".join(f"{what} {count:,}" for what, count in Counter(column).most_common()))
    return 0


def triplets(written: Iterable[tuple[str, str]], seed: int) -> Rows:
    """The distinct triplets of captions with their domains, those of one caption together."""
    domain = dict(written)
    filters = TextFilters()
    first = _edits(SlotsGenerator(filters), list(domain), 2, seed)
    for caption, edits in first.items():
        for edit in edits:
            domain.setdefault(edit.edited_caption, domain[caption])
    index = mine([(caption, caption) for caption in domain], seed=seed)
    second = _edits(PairsGenerator(index, filters), list(domain), 1, seed)
    rows: Rows = {}
    for caption, about in domain.items():
        for edit in (*first.get(caption, ()), *second[caption]):
            rows.setdefault((caption, edit.edit, edit.edited_caption), (edit.aspect, about))
    return rows


def _edits(generator: EditGenerator, texts: list[str], count: int, seed: int) -> dict[str, tuple[EditRecord, ...]]:
    made = asyncio.run(generator.generate(texts, count=count, seed=seed, image_ids=texts))
    return {text: found.edits for text, found in zip(texts, made, strict=True)}


if __name__ == "__main__":
    sys.exit(flags.run("bootstrap_corpus", main, BootstrapCorpus))
