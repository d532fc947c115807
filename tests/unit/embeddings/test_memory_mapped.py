from __future__ import annotations

import dataclasses
import errno
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from scot.embeddings import cache, memory_mapped
from scot.embeddings.cache import CacheInfo, load_cache
from scot.embeddings.memory_mapped import map_cache, open_cache
from scot.errors import EncoderMismatch, InvalidInput, NotFound, Unavailable
from scot.training.config import TrainConfig
from scot.training.loop import Trainer
from scot.training.split import split
from tests.support.synthetic_triplets import ENCODER, synthetic_triplets, write_synthetic_cache

SMALL = TrainConfig(projection=32, hidden=32, batch_size=64, steps=20, eval_every=10, held_out=0.2, precision="float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_cache(tmp_path_factory.mktemp("cache") / "embeddings", synthetic_triplets(images=200))


def test_a_mapped_cache_is_the_loaded_one(folder: Path, tmp_path: Path) -> None:
    loaded, data = load_cache(folder), map_cache(folder, tmp_path)
    assert data.info == loaded.info
    assert list(data.image_ids) == loaded.image_ids
    assert data.triplet_ids[5:9] == loaded.triplet_ids[5:9]
    assert data.triplet_ids[-1] == loaded.triplet_ids[-1]
    for name in ("image_UD", "text_VD", *(f"{role}_N" for role in cache.ROLES)):
        torch.testing.assert_close(getattr(data, name), getattr(loaded, name), rtol=0, atol=0)
    own, other = split(data, 0.2), split(loaded, 0.2)
    assert own.training_N.tolist() == other.training_N.tolist()
    assert own.measured_M.tolist() == other.measured_M.tolist()
    assert own.summary == other.summary


def test_a_run_on_a_mapped_cache_is_the_run_on_the_loaded_one(folder: Path, tmp_path: Path) -> None:
    runs = [Trainer(data, SMALL) for data in (load_cache(folder), map_cache(folder, tmp_path))]
    losses = [[event.loss for event in run.run()] for run in runs]
    assert losses[0] == losses[1]
    assert runs[0].best == runs[1].best


def test_only_what_exceeds_the_limit_is_mapped(folder: Path, tmp_path: Path) -> None:
    size = memory_mapped.size_in_memory(cache.read_info(folder)) / 2**30
    assert open_cache(folder, memory_gib=size, scratch=tmp_path).mapped is None
    assert list(tmp_path.iterdir()) == []
    assert open_cache(folder, memory_gib=size * 0.99, scratch=tmp_path).mapped is not None


def test_a_copy_is_written_once(folder: Path, tmp_path: Path) -> None:
    first = map_cache(folder, tmp_path)
    split(first, 0.2)
    assert first.mapped is not None
    before = {path: path.stat().st_mtime_ns for path in first.mapped.iterdir()}
    assert {path.name for path in before} >= {"images.npy", "rows.npy", "triplet_ids.arrow", "_copy.json"}
    split(map_cache(folder, tmp_path), 0.2)
    assert {path: path.stat().st_mtime_ns for path in first.mapped.iterdir()} == before


@pytest.mark.parametrize("name", ["texts.npy", "rows.npy", "triplet_ids.arrow", "_copy.json"])
def test_a_copy_that_was_cut_short_is_written_again(folder: Path, tmp_path: Path, name: str) -> None:
    place = tmp_path / cache.read_info(folder).hash
    map_cache(folder, tmp_path)
    (place / name).write_bytes((place / name).read_bytes()[:-20])
    assert list(map_cache(folder, tmp_path).triplet_ids) == load_cache(folder).triplet_ids


def test_another_cache_has_another_copy(folder: Path, tmp_path: Path) -> None:
    other = write_synthetic_cache(tmp_path / "other", synthetic_triplets(images=50))
    assert len(map_cache(folder, tmp_path / "scratch")) != len(map_cache(other, tmp_path / "scratch"))


def test_a_full_disk_is_told_and_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(memory_mapped._Array, "append", full)
        with pytest.raises(Unavailable, match="cannot be written: No space left on device"):
            map_cache(folder, tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    assert len(map_cache(folder, tmp_path)) == 800


def test_a_scratch_folder_that_cannot_be(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match=r"scratch folder .*/file/x cannot be written"):
        map_cache(folder, tmp_path / "file" / "x")


def test_a_cache_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_cache(tmp_path / "absent")


def bad_cache(folder: Path, *, texts: np.ndarray[tuple[int, int], np.dtype[np.float64]], row: int = 0) -> Path:
    """One picture and two texts of four dimensions; what is wrong is the caller's."""
    info = {"encoder_id": ENCODER, "dim": 4, "source": "s"}
    image, dim = np.array([[1.0, 0, 0, 0]]), texts.shape[1]
    rows = [{"triplet_id": "a", "image": row, "edit": 0, "caption": 1, "edited": 1}]
    parts = [
        cache.write_vectors(folder, cache.IMAGES, [cache.vector_table("image_id", ["i"], image, 4)], **info),
        cache.write_vectors(folder, cache.TEXTS, [cache.vector_table("text", ["a", "b"], texts, dim)], **info),
        cache.write_triplet_rows(folder, [pa.Table.from_pylist(rows, cache.TRIPLET_SCHEMA)]),
    ]
    counts = {"images": 1, "texts": 2, "triplets": 1}
    cache.write_info(folder, CacheInfo(ENCODER, 4, "s", counts, {}, cache.content_hash(parts)))
    return folder


@pytest.mark.parametrize("limit", [0.0, 1.0])
def test_bad_shards_are_told_in_one_sentence(tmp_path: Path, limit: float) -> None:
    unit = np.eye(4)[:2]
    good = open_cache(bad_cache(tmp_path / "good", texts=unit), memory_gib=limit, scratch=tmp_path / "scratch")
    assert (good.mapped is None) == bool(limit)
    with pytest.raises(InvalidInput, match="texts/ holds vectors that are not of unit length"):
        open_cache(bad_cache(tmp_path / "nan", texts=unit * np.nan), memory_gib=limit, scratch=tmp_path / "scratch")
    with pytest.raises(InvalidInput, match="has other columns than text, vector"):
        open_cache(bad_cache(tmp_path / "wide", texts=np.eye(6)[:2]), memory_gib=limit, scratch=tmp_path / "scratch")
    with pytest.raises(InvalidInput, match="a triplet has a row number that does not exist"):
        open_cache(bad_cache(tmp_path / "row", texts=unit, row=1), memory_gib=limit, scratch=tmp_path / "scratch")


def test_parts_of_another_encoder_or_width_are_refused(folder: Path, tmp_path: Path) -> None:
    data = synthetic_triplets(images=200)
    for name, encoder, dim, error, said in (
        ("encoder", "other@2-32d", 32, EncoderMismatch, "images is of the encoder other@2-32d, not synthetic@1-32d"),
        ("dim", ENCODER, 16, InvalidInput, "images holds vectors of 16 dimensions, not 32"),
    ):
        place = tmp_path / name
        shutil.copytree(folder, place)
        table = cache.vector_table("image_id", list(data.image_ids), data.image_UD[:, :dim].numpy(), dim)
        cache.write_vectors(place, cache.IMAGES, [table], encoder_id=encoder, dim=dim, source="synthetic")
        hashes = [cache.read_manifest(place / part, kind).hash for part, kind in cache.PARTS.items()]  # type: ignore[attr-defined]
        cache.write_info(place, dataclasses.replace(cache.read_info(place), hash=cache.content_hash(hashes)))
        with pytest.raises(error, match=said):
            open_cache(place)


def test_an_empty_cache_has_too_few_triplets(tmp_path: Path) -> None:
    data = synthetic_triplets(images=5)
    none = dataclasses.replace(data, triplet_ids=[], **{f"{role}_N": data.image_N[:0] for role in cache.ROLES})
    for limit in (0.0, 1.0):
        opened = open_cache(write_synthetic_cache(tmp_path / "c", none), memory_gib=limit, scratch=tmp_path / "s")
        with pytest.raises(InvalidInput, match="0 triplets of 0 captions are too few to hold out"):
            split(opened, 0.2)
