"""The packaged corpus: as many triplets as promised, each once, in a small file, and of nobody else's words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from scot.bootstrap.corpus import CORPUS, SCHEMA, read_corpus, triplets
from scot.errors import InvalidInput
from scot.worlds import WORLDS, load_world
from scot.worlds.gallery import evaluation_gallery
from tools.bootstrap_corpus import __main__ as tool
from tools.bootstrap_corpus.captions import captions, templates


def test_it_is_large_small_and_without_repetition() -> None:
    table = pq.read_table(CORPUS)
    assert table.schema.equals(SCHEMA)
    assert table.num_rows >= 100_000
    assert CORPUS.stat().st_size <= 6_000_000
    rows = list(zip(*(table.column(name).to_pylist() for name in SCHEMA.names[:3]), strict=True))
    assert len(set(rows)) == len(rows)
    assert all(caption.casefold() != edited.casefold() and edit for caption, edit, edited in rows)


def test_every_domain_and_many_aspects_are_in_it() -> None:
    table = read_corpus()
    domains = Counter(table.column("domain").to_pylist())
    assert set(domains) == set(templates())
    assert min(domains.values()) > 0.08 * table.num_rows
    assert {"cardinality", "negation", "addition", "viewpoint", "direct addressing", "spatial and background"} < set(
        table.column("aspect").to_pylist()
    )


def test_the_tool_wrote_it() -> None:
    known = set(read_corpus().column("caption").to_pylist())
    written = captions(300, 0)
    # A caption that no engine can edit, and that no other is like, is in no triplet.
    assert sum(caption in known for caption, _ in written) > 0.97 * len(written)
    assert captions(300, 0) == written


def test_the_tool_writes_the_same_again(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        out = tmp_path / name / "corpus.parquet"
        assert tool.main(tool.BootstrapCorpus(out, captions=200, seed=3)) == 0
        made.append(out.read_bytes())
    assert made[0] == made[1]


def test_no_caption_and_edited_caption_of_the_drawn_galleries_is_in_it() -> None:
    texts = {
        text.casefold() for name in ("caption", "edited_caption") for text in read_corpus().column(name).to_pylist()
    }
    for name in WORLDS:
        gallery = evaluation_gallery(load_world(name), size=240, queries=120, seed=7, split="eval")
        assert not texts & {query.edited_caption.casefold() for query in gallery.queries}


def test_a_share_has_all_triplets_of_its_captions() -> None:
    whole, part = read_corpus(), read_corpus(0.1)
    assert 0.1 * whole.num_rows <= part.num_rows < 0.101 * whole.num_rows
    assert part.column("caption")[-1] != whole.column("caption")[part.num_rows]
    assert len(set(part.column("domain").to_pylist())) == len(templates())
    for share in (0.0, 1.5, float("nan")):
        with pytest.raises(InvalidInput, match="share must be above 0 and at most 1"):
            read_corpus(share)


def test_a_caption_stands_for_one_image() -> None:
    made = list(triplets(read_corpus(0.001)))
    assert len({triplet.triplet_id for triplet in made}) == len(made)
    assert len({triplet.image_id for triplet in made}) == len({triplet.caption for triplet in made})
