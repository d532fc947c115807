"""Thumbnails made while indexing without a service, which a service then shows."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ray_jobs import index as job
from scot.cli import main
from scot.client import ScotClient
from scot.commands import index as command
from scot.data.captioned import open_source
from scot.data.records import Refusals
from scot.errors import InvalidInput
from scot.index.origin import Origin
from scot.index.sync_plan import Pending
from scot.index.thumbnails import Thumbnails
from services.search.settings import from_args
from tests.support.random_encoder import save_random_encoder
from tests.support.served_here import served_here


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_random_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with two pictures, on a machine without a service."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_listens", lambda address: False)
    for name, side in {"big.png": 600, "small.png": 40}.items():
        draw(tmp_path / "pictures" / name, side)
    return tmp_path


def draw(file: Path, side: int) -> None:
    file.parent.mkdir(exist_ok=True)
    Image.new("RGB", (side, side // 2), (200, 0, 0)).save(file)
    os.utime(file, (time.time() - 60, time.time() - 60))


def sizes(folder: Path, collection: str = "gallery") -> dict[str, tuple[int, int]]:
    """The sizes of the thumbnails there are, by item."""
    found = Thumbnails(folder).read(collection, ["big.png", "small.png", "new.png"])
    return {item_id: Image.open(io.BytesIO(data)).size for item_id, data in found.items()}


BOTH = {"big.png": (256, 128), "small.png": (40, 20)}


def test_scot_index_makes_them_and_a_service_shows_them(home: Path, encoder: str) -> None:
    words = ["index", "pictures", "--encoder", encoder, "--device", "cpu"]
    assert main(words) == 0
    data = home / "scot-data"
    assert sizes(data / "thumbnails") == BOTH
    (home / "pictures" / "captions.csv").write_text("file_name,text\nbig.png,a big one\nsmall.png,a small one\n")
    assert main(words) == 0  # the payload alone has changed
    assert sizes(data / "thumbnails") == BOTH
    (home / "pictures" / "small.png").unlink()
    (home / "pictures" / "captions.csv").unlink()
    draw(home / "pictures" / "big.png", 100)
    assert main([*words, "--prune"]) == 0
    assert sizes(data / "thumbnails") == {"big.png": (100, 50)}
    settings: dict[str, Any] = {"store": str(data / "qdrant"), "thumbnails": str(data / "thumbnails")}
    with served_here(from_args({"encoder": encoder, "threads": 1, **settings})) as target, ScotClient(target) as client:
        assert list(client.get_pictures(["big.png", "small.png"])) == ["big.png"]


def test_none_are_made_if_none_are_wanted_and_all_that_are_missing_later(home: Path, encoder: str) -> None:
    words = ["index", "pictures", "--encoder", encoder, "--device", "cpu"]
    assert main([*words, "--no-thumbnails"]) == 0
    assert not (home / "scot-data" / "thumbnails").exists()
    assert main(words) == 0
    assert sizes(home / "scot-data" / "thumbnails") == BOTH


def test_the_job_makes_them_beside_the_store_or_where_it_is_told(home: Path, encoder: str) -> None:
    options: dict[str, Any] = {"source": "pictures", "encoder": encoder, "device": "cpu"}
    job.main(job.IndexConfig(store=home / "a" / "qdrant", **options))
    assert sizes(home / "a" / "thumbnails") == BOTH
    job.main(job.IndexConfig(store=home / "b" / "qdrant", thumbnails=f"file://{home}/elsewhere", **options))
    assert sizes(home / "elsewhere") == BOTH
    job.main(job.IndexConfig(store=home / "c" / "qdrant", no_thumbnails=True, **options))
    assert not (home / "b" / "thumbnails").exists()
    assert not (home / "c" / "thumbnails").exists()
    with pytest.raises(InvalidInput, match="--no-thumbnails contradicts --thumbnails"):
        job.IndexConfig(source="pictures", thumbnails="here", no_thumbnails=True)


def test_a_worker_of_the_job_makes_them(home: Path, encoder: str) -> None:
    config = job.IndexConfig(source="pictures", store=home / "qdrant", encoder=encoder, device="cpu", num_workers=1)
    records = open_source("pictures", captions="optional").read(Refusals())
    pending = [Pending(record, {}, Origin("pictures", record.path), is_new=True) for record in records]
    assert len(job._Worker(config).embed(pending, 0.0).sources) == 2
    assert sizes(home / "thumbnails") == BOTH


def test_a_reindexed_collection_has_them_under_its_alias(home: Path, encoder: str) -> None:
    store = ["--store", "work/qdrant"]
    assert main(["collections", "create", "gallery", "--encoder", encoder, *store]) == 0
    build = ["--encoder", encoder, "--device", "cpu", *store]
    assert main(["collections", "reindex", "pictures", "--swap", *build]) == 0
    assert sizes(home / "work" / "thumbnails") == BOTH
    assert main(["collections", "drop", "gallery-1", "--force", *store]) == 0
    assert sizes(home / "work" / "thumbnails") == BOTH


def test_a_dropped_collection_takes_those_under_its_name_along(home: Path, encoder: str) -> None:
    words = ["--encoder", encoder, "--device", "cpu", "--store", "work/qdrant"]
    assert main(["collections", "reindex", "pictures", "--alias", "catalog", *words]) == 0
    Thumbnails(home / "work" / "thumbnails").write("catalog-1", "big.png", Image.new("RGB", (8, 8)))
    assert main(["collections", "drop", "catalog-1", "--store", "work/qdrant"]) == 0
    assert sizes(home / "work" / "thumbnails", "catalog-1") == {}
