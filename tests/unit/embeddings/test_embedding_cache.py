from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from scot.embeddings import cache
from scot.errors import EncoderMismatch, InvalidInput, NotFound


def unit(count: int, dim: int = 8) -> np.ndarray[Any, Any]:
    vectors = np.random.default_rng(0).normal(size=(count, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write(folder: Path, images: np.ndarray[Any, Any], texts: np.ndarray[Any, Any], rows: list[dict[str, Any]]) -> None:
    about = {"encoder_id": "tiny@1-8d", "dim": 8, "source": "s"}
    ids, names = [f"i{n}" for n in range(len(images))], [f"t{n}" for n in range(len(texts))]
    parts = [
        cache.write_vectors(folder, cache.IMAGES, [cache.vector_table("image_id", ids, images, 8)], **about),
        cache.write_vectors(folder, cache.TEXTS, [cache.vector_table("text", names, texts, 8)], **about),
        cache.write_triplet_rows(folder, [pa.Table.from_pylist(rows, cache.TRIPLET_SCHEMA)]),
    ]
    counts = {"images": len(images), "texts": len(texts), "triplets": len(rows)}
    cache.write_info(folder, cache.CacheInfo("tiny@1-8d", 8, "s", counts, {}, cache.content_hash(parts)))


ROWS = [
    {"triplet_id": "a", "image": 1, "edit": 0, "caption": 1, "edited": 2},
    {"triplet_id": "b", "image": 0, "edit": 3, "caption": 1, "edited": 0},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "cache", unit(2), unit(4), ROWS)
    return tmp_path / "cache"


def test_what_is_written_is_loaded(folder: Path) -> None:
    data = cache.load_cache(folder, "tiny@1-8d")
    assert (len(data), data.dim, data.triplet_ids, data.image_ids) == (2, 8, ["a", "b"], ["i0", "i1"])
    for vectors_ND, expected in (
        (data.image_ND, unit(2)[[1, 0]]), (data.edit_ND, unit(4)[[0, 3]]),
        (data.caption_ND, unit(4)[[1, 1]]), (data.edited_ND, unit(4)[[2, 0]]),
    ):  # fmt: skip
        assert vectors_ND.dtype == torch.float32
        torch.testing.assert_close(vectors_ND, torch.from_numpy(expected).float(), atol=1e-3, rtol=0)
        torch.testing.assert_close(vectors_ND.norm(dim=-1), torch.ones(2))


def test_another_encoder_is_refused_with_both_named(folder: Path) -> None:
    with pytest.raises(EncoderMismatch, match="tiny@1-8d, not other@2-8d"):
        cache.load_cache(folder, "other@2-8d")


def test_a_missing_cache_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no embedding cache"):
        cache.load_cache(tmp_path / "absent")


def test_an_unfinished_cache_is_refused(folder: Path) -> None:
    (folder / "_manifest.json").unlink()
    with pytest.raises(InvalidInput, match="has not finished"):
        cache.load_cache(folder)


@pytest.mark.parametrize("content", ["{", "[]", '{"kind": "embeddings"}', '{"kind": "triplets"}'])
def test_a_damaged_manifest_is_refused(folder: Path, content: str) -> None:
    (folder / "_manifest.json").write_text(content)
    with pytest.raises(InvalidInput, match=r"is damaged|not embeddings"):
        cache.load_cache(folder)


def test_a_damaged_shard_is_refused(folder: Path) -> None:
    (shard,) = (folder / "images").glob("*.parquet")
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(InvalidInput, match="sha256"):
        cache.load_cache(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 3.0])
def test_vectors_that_are_not_of_unit_length_are_refused(tmp_path: Path, value: float) -> None:
    texts = unit(4)
    texts[2] = value
    write(tmp_path, unit(2), texts, ROWS)
    with pytest.raises(InvalidInput, match="not of unit length"):
        cache.load_cache(tmp_path)


@pytest.mark.parametrize(("role", "row"), [("image", 2), ("edit", 4), ("caption", -1)])
def test_a_triplet_without_its_vectors_is_refused(tmp_path: Path, role: str, row: int) -> None:
    write(tmp_path, unit(2), unit(4), [{**ROWS[0], role: row}])
    with pytest.raises(InvalidInput, match="a row number that does not exist"):
        cache.load_cache(tmp_path)


def test_a_half_rewritten_cache_is_refused(folder: Path) -> None:
    about = {"encoder_id": "tiny@1-8d", "dim": 8, "source": "other"}
    table = cache.vector_table("image_id", ["x", "y"], unit(2)[::-1], 8)
    cache.write_vectors(folder, cache.IMAGES, [table], **about)
    with pytest.raises(InvalidInput, match="did not finish"):
        cache.load_cache(folder)


def test_the_manifest_tells_the_encoder(folder: Path) -> None:
    raw = json.loads((folder / "_manifest.json").read_text())
    assert (raw["kind"], raw["encoder_id"], raw["dim"], raw["counts"]["triplets"]) == ("embeddings", "tiny@1-8d", 8, 2)
