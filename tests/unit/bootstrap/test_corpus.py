"""The packaged corpus: as many triplets as promised, each once, from small files, and of nobody else's words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

import scot.bootstrap
from scot.bootstrap.captions import captions, templates
from scot.bootstrap.corpus import SCHEMA, part, triplets, write_corpus
from scot.errors import InvalidInput
from scot.worlds import WORLDS, load_world
from scot.worlds.gallery import evaluation_gallery


@pytest.fixture(scope="module")
def corpus() -> pa.Table:
    return write_corpus()


def test_it_is_large_small_and_without_repetition(corpus: pa.Table) -> None:
    table = corpus
    assert table.schema.equals(SCHEMA)
    assert table.num_rows >= 100_000
    packaged = Path(scot.bootstrap.__file__).parent.rglob("*.*")
    assert sum(file.stat().st_size for file in packaged if file.suffix != ".pyc") <= 6_000_000
    rows = list(zip(*(table.column(name).to_pylist() for name in SCHEMA.names[:3]), strict=True))
    assert len(set(rows)) == len(rows)
    assert all(caption.casefold() != edited.casefold() and edit for caption, edit, edited in rows)


def test_every_domain_and_many_aspects_are_in_it(corpus: pa.Table) -> None:
    table = corpus
    domains = Counter(table.column("domain").to_pylist())
    assert set(domains) == set(templates())
    assert min(domains.values()) > 0.08 * table.num_rows
    assert {"cardinality", "negation", "addition", "viewpoint", "direct addressing", "spatial and background"} < set(
        table.column("aspect").to_pylist()
    )


def test_the_templates_wrote_it(corpus: pa.Table) -> None:
    known = set(corpus.column("caption").to_pylist())
    written = captions(26_000, 0)[:300]
    # A caption that no engine can edit, and that no other is like, is in no triplet.
    assert sum(caption in known for caption, _ in written) > 0.97 * len(written)
    assert captions(300, 0) == captions(300, 0)


def test_the_same_is_written_again() -> None:
    again = write_corpus.__wrapped__  # without the cache
    assert again(200, seed=3).equals(again(200, seed=3))


def test_no_caption_and_edited_caption_of_the_drawn_galleries_is_in_it(corpus: pa.Table) -> None:
    texts = {text.casefold() for name in ("caption", "edited_caption") for text in corpus.column(name).to_pylist()}
    for name in WORLDS:
        gallery = evaluation_gallery(load_world(name), size=240, queries=120, seed=7, split="eval")
        assert not texts & {query.edited_caption.casefold() for query in gallery.queries}


def test_a_share_has_all_triplets_of_its_captions(corpus: pa.Table) -> None:
    tenth = part(corpus, 0.1)
    assert 0.1 * corpus.num_rows <= tenth.num_rows < 0.101 * corpus.num_rows
    assert tenth.column("caption")[-1] != corpus.column("caption")[tenth.num_rows]
    assert len(set(tenth.column("domain").to_pylist())) == len(templates())
    for share in (0.0, 1.5, float("nan")):
        with pytest.raises(InvalidInput, match="share must be above 0 and at most 1"):
            part(corpus, share)


def test_a_caption_stands_for_one_image(corpus: pa.Table) -> None:
    made = list(triplets(part(corpus, 0.001)))
    assert len({triplet.triplet_id for triplet in made}) == len(made)
    assert len({triplet.image_id for triplet in made}) == len({triplet.caption for triplet in made})
