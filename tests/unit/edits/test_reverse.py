"""``--reverse``: from each edited caption back to the caption, whose image is a real target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scot.data.triplets import read_manifest, read_triplets
from scot.edits.chunk_generator import GenerationConfig
from scot.edits.engines import EngineConfig
from scot.edits.filters import plain
from scot.edits.generation import generate_triplets
from scot.embeddings.encode import encode_triplets
from scot.errors import Conflict
from tests.support.rules_endpoint import MODEL, rules_endpoint
from tests.unit.edits.test_generation import corpus

CAPTIONS = ["a small red cat on the left in a meadow", "two blue boats at night"]


def rows(source: str, output: str, engine: EngineConfig, *, reverse: bool = True) -> list[dict[str, Any]]:
    generate_triplets([source], output, config=GenerationConfig(engine, reverse=reverse), num_workers=0)
    found: list[dict[str, Any]] = read_triplets(output).to_pylist()
    return found


def test_a_models_edits_have_their_ways_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    source, output = corpus(tmp_path / "p", CAPTIONS), str(tmp_path / "t")
    with rules_endpoint() as url:
        made = rows(source, output, EngineConfig(engine="openai", model=MODEL, url=url))
    there = [row for row in made if row["image_id"] in ("i0", "i1")]
    back = [row for row in made if row["image_id"].startswith("caption:")]
    manifest = read_manifest(output)
    assert len(there) + len(back) == len(made) == manifest.count == manifest.extra["tally"]["accepted"]
    assert len(back) + manifest.rejected.get("not_reversible", 0) >= len(there)
    assert len(back) >= len(there) / 2
    ways = {(row["caption"], row["edited_caption"]): row for row in there}
    for row in back:
        way = ways[row["edited_caption"], row["caption"]]
        assert row["target_image_id"] == way["image_id"]
        assert row["generator"] == way["generator"] == f"openai:{MODEL}"
        assert row["edit"] != way["edit"]
        assert plain(row["edit"]) != plain(row["edited_caption"])
        assert set(row["kept"].split(", ")) <= set(row["edited_caption"].split())


def test_references_without_an_image_are_encoded_by_their_captions(tmp_path: Path) -> None:
    source, output = corpus(tmp_path / "p", CAPTIONS), str(tmp_path / "t")
    made = rows(source, output, EngineConfig(engine="slots"))
    back = sum(row["image_id"].startswith("caption:") for row in made)
    assert back
    alone = encode_triplets([], [output], str(tmp_path / "c"), captions_only=True, num_workers=0).info
    assert (alone.counts["triplets"], alone.rejected) == (len(made), {})
    seen = encode_triplets([source], [output], str(tmp_path / "i"), num_workers=0).info
    assert (seen.counts["triplets"], seen.rejected) == (len(made) - back, {"triplet_without_image": back})


def test_without_it_nothing_changes_and_the_two_do_not_mix(tmp_path: Path) -> None:
    source, output, engine = corpus(tmp_path / "p", CAPTIONS), str(tmp_path / "t"), EngineConfig(engine="slots")
    made = rows(source, output, engine, reverse=False)
    assert all(row["image_id"] in ("i0", "i1") for row in made)
    with pytest.raises(Conflict, match="another run"):
        rows(source, output, engine)


def test_pairs_have_both_ways_already(tmp_path: Path) -> None:
    source = corpus(tmp_path / "p", [f"a {colour} car in a garage" for colour in ("red", "blue", "green")])
    engine = EngineConfig(engine="pairs")
    assert rows(source, str(tmp_path / "a"), engine) == rows(source, str(tmp_path / "b"), engine, reverse=False)
