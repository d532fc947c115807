"""Captions in the items' vectors: one formula on every way into a collection, and one weight in it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ray_jobs.index import IndexConfig as IndexJob
from ray_jobs.index import _Worker
from ray_jobs.index import main as index_job
from scot.cli import main
from scot.client import AsyncScotClient, NewItem, ScotClient
from scot.commands.index import NoItems, ServiceGallery
from scot.data.captioned import open_source
from scot.data.key_table import SeenIds
from scot.data.records import Refusals
from scot.encoders import Encoder, load_encoder
from scot.errors import Conflict, InvalidInput
from scot.index import rebuild
from scot.index.captions import captions_of, summed
from scot.index.config import CollectionConfig
from scot.index.store import GalleryStore, Item
from scot.index.sync import sync
from scot.index.sync_plan import Plan
from scot.progress import SILENT
from scot.worlds.wardrobe import Wardrobe
from services.search.settings import from_args
from tests.support.served_here import served_here

WEIGHT = 0.5
CAPTIONS = {"a": "a red shirt", "b": "a blue skirt with dots", "c": ""}
EDIT = "make it red with long sleeves"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("tiny", device="cpu")


def images() -> dict[str, Image.Image]:
    world, rng = Wardrobe(), random.Random(3)
    return {name: world.draw(world.sample(rng), rng) for name in CAPTIONS}


def captioned_folder(folder: Path, captions: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, image in images().items():
        if not (folder / f"{name}.png").exists():
            image.save(folder / f"{name}.png")
    table = {"image": [f"{name}.png" for name in captions], "caption": list(captions.values())}
    pq.write_table(pa.table(table), folder / "captions.parquet")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return captioned_folder(tmp_path_factory.mktemp("captioned"), CAPTIONS)


def expected(encoder: Encoder, weight: float = WEIGHT) -> dict[str, npt.NDArray[np.float32]]:
    """normalize(i + w c), as it is defined."""
    found = {}
    for name, image in images().items():
        (vector_D,) = encoder.encode_images([image])
        if CAPTIONS[name]:
            vector_D = vector_D + weight * encoder.encode_texts([CAPTIONS[name]])[0]
        found[name] = vector_D / np.linalg.norm(vector_D)
    return found


def vectors(path: Path, collection: str = "gallery") -> dict[str, Any]:
    """The vectors of a store, by the names of the pictures."""

    async def read() -> dict[str, Item]:
        store = GalleryStore.open(path=path)
        try:
            ids = [item.item_id for item in (await store.scroll(collection))[0]]
            return await store.get(collection, ids, with_vectors=True)
        finally:
            await store.close()

    return {Path(name).stem: item.vector for name, item in asyncio.run(read()).items()}


def assert_same(found: dict[str, Any], wanted: dict[str, npt.NDArray[np.float32]]) -> None:
    assert found.keys() == wanted.keys()
    for name, vector_D in wanted.items():
        assert np.asarray(found[name]) == pytest.approx(vector_D, abs=1e-4)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("service")
    places = {"store": str(folder / "qdrant"), "thumbnails": str(folder / "thumbnails")}
    with served_here(from_args({"threads": 1, "caption_weight": WEIGHT, **places})) as target:
        yield target


def test_a_sum_is_normalized_and_an_image_without_a_caption_stays() -> None:
    image_ND = np.eye(4, dtype=np.float32)[:3]
    caption_MD = np.eye(4, dtype=np.float32)[[3, 1, 3]]
    found = summed(image_ND, [["one"], [], ["two", "three"]], caption_MD, 0.5)
    mean = np.array([0, 1, 0, 1]) / np.sqrt(2)
    wanted = np.stack([[1, 0, 0, 0.5], [0, 1, 0, 0], np.array([0, 0, 1, 0]) + 0.5 * mean])
    assert found == pytest.approx(wanted / np.linalg.norm(wanted, axis=1, keepdims=True), abs=1e-6)


def test_captions_are_read_from_the_payload() -> None:
    assert captions_of({"caption": "a", "captions": ["a", "b", 3, " "]}) == ["a", "b"]
    assert captions_of({"caption": "a"}) == ["a"]
    assert captions_of({"caption": 3}) == captions_of({"caption": " "}) == captions_of({}) == []


def test_the_job_the_workers_and_the_command_store_the_same_vectors(
    folder: Path, tmp_path: Path, encoder: Encoder
) -> None:
    layout = CollectionConfig(caption_weight=WEIGHT)
    assert index_job(IndexJob(source=str(folder), store=tmp_path / "job", layout=layout, device="cpu")) == 0
    assert_same(vectors(tmp_path / "job"), expected(encoder))
    assert main(["index", str(folder), "--data", str(tmp_path / "data"), "--caption-weight", str(WEIGHT)]) == 0
    assert_same(vectors(tmp_path / "data" / "qdrant"), expected(encoder))


def test_the_service_puts_captions_into_the_vectors_of_images_and_stores_a_vector_as_it_is(
    service: str, encoder: Encoder
) -> None:
    with ScotClient(service) as client:
        assert client.info().caption_weight == WEIGHT
        items = [NewItem(name, image=image, payload={"caption": CAPTIONS[name]}) for name, image in images().items()]
        assert not client.upsert(items).refused
        found = client.get(list(CAPTIONS), with_vectors=True)
        assert_same({name: item.vector for name, item in found.items()}, expected(encoder))
        (vector_D,) = encoder.encode_images([images()["a"]])
        client.upsert([NewItem("plain", vector=vector_D, payload={"caption": "a red shirt"})])
        assert np.asarray(client.get(["plain"], with_vectors=True)["plain"].vector) == pytest.approx(vector_D, abs=1e-5)
        client.delete(["plain"])


def test_an_item_of_a_sum_is_composed_with_the_patches_of_its_picture(service: str) -> None:
    with ScotClient(service) as client:
        items = [NewItem(name, image=image, payload={"caption": CAPTIONS[name]}) for name, image in images().items()]
        client.upsert(items)
        for name in CAPTIONS:
            stored = client.get([name], with_vectors=True)[name].vector
            by_id = client.search(item_id=name, edits=EDIT, with_vectors=True).query_vector
            by_vector = client.search(vector=stored, edits=EDIT, with_vectors=True).query_vector
            assert stored is not None
            assert by_id is not None
            assert by_vector is not None
            assert float(by_id @ by_vector) < 0.9995  # the vector alone shows no patches


@pytest.mark.parametrize("weight", [0.0, WEIGHT])
def test_a_changed_caption_is_embedded_again_where_it_is_in_the_vector(
    weight: float, tmp_path: Path, encoder: Encoder
) -> None:
    source = captioned_folder(tmp_path / "pictures", CAPTIONS)
    job = IndexJob(
        source=str(source), store=tmp_path / "store", layout=CollectionConfig(caption_weight=weight), device="cpu"
    )
    assert index_job(job) == 0
    before = vectors(tmp_path / "store")
    captioned_folder(source, {**CAPTIONS, "a": "green boots"})
    assert index_job(job) == 0
    after = vectors(tmp_path / "store")
    assert (float(before["a"] @ after["a"]) < 0.999) == (weight > 0)
    assert np.array_equal(before["b"], after["b"])
    if weight:
        wanted = encoder.encode_images([images()["a"]])[0] + weight * encoder.encode_texts(["green boots"])[0]
        assert after["a"] == pytest.approx(wanted / np.linalg.norm(wanted), abs=1e-4)


def test_the_service_embeds_changed_captions_again(tmp_path: Path, encoder: Encoder) -> None:
    source = captioned_folder(tmp_path / "pictures", CAPTIONS)

    async def index(target: str) -> Any:
        async with AsyncScotClient(target) as client:
            return await sync([open_source(str(source), captions="optional")], ServiceGallery(client))

    settings = from_args({"threads": 1, "caption_weight": WEIGHT, "store": str(tmp_path / "store")})
    with served_here(settings) as target:
        assert asyncio.run(index(target)).new == 3
        captioned_folder(source, {**CAPTIONS, "a": "green boots"})
        report = asyncio.run(index(target))
        assert (report.new, report.updated, report.unchanged) == (0, 1, 2)
        with ScotClient(target) as client:
            vector_D = client.get(["a.png"], with_vectors=True)["a.png"].vector
    wanted = encoder.encode_images([images()["a"]])[0] + WEIGHT * encoder.encode_texts(["green boots"])[0]
    assert np.asarray(vector_D) == pytest.approx(wanted / np.linalg.norm(wanted), abs=1e-4)


def test_a_collection_has_one_weight(folder: Path, tmp_path: Path, encoder: Encoder) -> None:
    async def work() -> None:
        store = GalleryStore.open(path=tmp_path)
        try:
            await store.ensure("gallery", encoder.id, encoder.dim, CollectionConfig(caption_weight=WEIGHT))
            await store.ensure("gallery", encoder.id, encoder.dim, CollectionConfig())
            for other in (0.7, 2.0):
                with pytest.raises(Conflict, match=rf"'gallery' was made with caption_weight 0.5, not {other:g}: "):
                    await store.ensure("gallery", encoder.id, encoder.dim, CollectionConfig(caption_weight=other))
            name = await rebuild.begin(store, "gallery", encoder)
            assert (await store.info(name)).config.caption_weight == WEIGHT
            with pytest.raises(Conflict, match=r"was made with caption_weight 0\.5, not 1"):
                await rebuild.begin(store, "gallery", encoder, layout=CollectionConfig(caption_weight=1.0))
        finally:
            await store.close()

    asyncio.run(work())


@pytest.mark.parametrize("weight", [-0.1, 2.1, float("nan")])
def test_a_weight_is_between_zero_and_two(weight: float) -> None:
    with pytest.raises(InvalidInput, match="caption_weight must be between 0 and 2"):
        CollectionConfig(caption_weight=weight)


def test_the_weight_of_a_service_is_its_own(service: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(folder), "--address", service, "--caption-weight", "1"]) == 2
    assert "--caption-weight is a setting of the service at" in capsys.readouterr().err


def test_a_worker_of_the_job_puts_captions_in(folder: Path, tmp_path: Path, encoder: Encoder) -> None:
    source = open_source(str(folder), captions="optional")
    with SILENT.task("", None, "") as task:
        plan = Plan(source, {}, Refusals(), lambda pictures: None, NoItems(), task=task)
        pending = list(plan.of(source.read(Refusals(), SeenIds())))
    batch = _Worker(IndexJob(source=str(folder), store=tmp_path, device="cpu", no_thumbnails=True)).embed(
        pending, WEIGHT
    )
    found = {Path(each.item_id).stem: vector for each, vector in zip(batch.sources, batch.vectors, strict=True)}
    assert_same(found, expected(encoder))
