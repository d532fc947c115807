"""A reference by id shows a composer the patches of its picture, which the service makes of the item's thumbnail."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from scot.client import Filter, MatchText, NewItem, Reference, ScotClient, Turn
from scot.index.payload import point_id
from scot.index.thumbnails import Thumbnails
from scot.worlds.wardrobe import Wardrobe
from services.search.settings import from_args
from tests.support.served_here import served_here

EDIT = "make it red with long sleeves"


def pictures() -> dict[str, Image.Image]:
    world, rng = Wardrobe(), random.Random(0)
    return {f"item {n}": world.draw(world.sample(rng), rng) for n in range(6)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("items")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[ScotClient]:
    """A service with the packaged composer, which reads patches."""
    places = {"store": str(folder / "qdrant"), "thumbnails": str(folder / "thumbnails")}
    with served_here(from_args({"threads": 1, **places})) as target, ScotClient(target) as client:
        assert not client.upsert([NewItem(name, image=image) for name, image in pictures().items()]).refused
        yield client


def composed(client: ScotClient, **query: Any) -> npt.NDArray[np.float32]:
    """The query vector ``(D,)``."""
    found = client.search(with_vectors=True, **{"edits": EDIT, **query})
    assert found.query_vector is not None
    return np.asarray(found.query_vector, np.float32)


def stored(client: ScotClient, item_id: str) -> npt.NDArray[np.float32]:
    vector = client.get([item_id], with_vectors=True)[item_id].vector
    assert vector is not None
    return np.asarray(vector, np.float32)


def as_vector(client: ScotClient, item_id: str) -> npt.NDArray[np.float32]:
    """The query vector of an item that is known by its vector alone."""
    return composed(client, vector=stored(client, item_id))


def test_an_id_is_composed_as_its_picture_is(client: ScotClient) -> None:
    for name, image in pictures().items():
        by_id, by_image = composed(client, item_id=name), composed(client, image=image)
        # A thumbnail of a picture of 192 pixels differs from it by WebP alone.
        assert by_id @ by_image > 0.998
        assert by_id @ by_image > as_vector(client, name) @ by_image + 0.001


def test_a_conversation_that_has_not_moved_yet_still_shows_it(client: ScotClient) -> None:
    at_once = composed(client, item_id="item 0")
    np.testing.assert_allclose(composed(client, turns=[Turn([Reference(item_id="item 0")])]), at_once, atol=1e-5)
    liked = composed(client, turns=[Turn([Reference(item_id="item 0")], like=["item 1"])])
    start = composed(client, edits=(), turns=[Turn([Reference(item_id="item 0")], like=["item 1"])])
    np.testing.assert_allclose(liked, composed(client, vector=start), atol=1e-5)


def test_what_was_composed_once_needs_no_thumbnail(
    client: ScotClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = composed(client, item_id="item 1")
    with monkeypatch.context() as patched:
        patched.setattr(Thumbnails, "read", None)  # a call would fail
        np.testing.assert_allclose(composed(client, item_id="item 1"), first, atol=1e-5)


def test_an_item_without_a_thumbnail_is_composed_by_its_vector(client: ScotClient) -> None:
    client.upsert([NewItem("bare", vector=stored(client, "item 2"))])
    np.testing.assert_allclose(composed(client, item_id="bare"), as_vector(client, "bare"), atol=1e-5)


def test_another_vector_makes_the_old_thumbnail_that_of_another_picture(client: ScotClient) -> None:
    client.upsert([NewItem("changing", image=pictures()["item 3"])])
    seen = composed(client, item_id="changing")
    client.upsert([NewItem("changing", vector=-stored(client, "changing"))])
    assert list(client.get_pictures(["changing"])) == ["changing"]
    after = composed(client, item_id="changing")
    np.testing.assert_allclose(after, as_vector(client, "changing"), atol=1e-5)
    client.upsert([NewItem("changing", image=pictures()["item 3"])])
    np.testing.assert_allclose(composed(client, item_id="changing"), seen, atol=1e-5)


def test_thumbnails_that_cannot_be_read_or_decoded_cost_the_patches_alone(
    client: ScotClient, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client.upsert([NewItem("damaged", image=pictures()["item 4"])])
    (file,) = [each for each in folder.rglob("*.webp") if each.stem == point_id("damaged")]
    whole = file.read_bytes()
    file.write_bytes(whole[:20] + bytes(len(whole) - 20))
    np.testing.assert_allclose(composed(client, item_id="damaged"), as_vector(client, "damaged"), atol=1e-5)
    assert "the thumbnail of item 'damaged' cannot be decoded" in caplog.text
    file.unlink()
    file.mkdir()
    np.testing.assert_allclose(composed(client, item_id="damaged"), as_vector(client, "damaged"), atol=1e-5)
    assert "the thumbnails cannot be read" in caplog.text


def test_it_can_be_turned_off(folder: Path) -> None:
    places = {"store": str(folder / "others"), "thumbnails": str(folder / "others' thumbnails")}
    settings = from_args({"threads": 1, "item_patches": False, **places})
    with served_here(settings) as target, ScotClient(target) as client:
        client.upsert([NewItem("item 5", image=pictures()["item 5"])])
        np.testing.assert_allclose(composed(client, item_id="item 5"), as_vector(client, "item 5"), atol=1e-5)


def test_words_of_a_caption_are_a_condition_beside_the_vectors(client: ScotClient) -> None:
    captions = {"item 3": ["a linen shirt", "in blue"], "item 4": ["Shirt of LINEN"], "item 5": ["linen", "a shirt"]}
    shown = pictures()
    client.upsert([NewItem(name, image=shown[name], payload={"captions": said}) for name, said in captions.items()])
    query: dict[str, Any] = {"item_id": "item 0", "edits": EDIT, "limit": 20}
    words = Filter(must=[MatchText("captions", "shirt linen")])
    both = [hit.item_id for hit in client.search(filter=words, **query).hits]
    assert set(both) == {"item 3", "item 4"}  # one caption has both words
    assert both == [hit.item_id for hit in client.search(**query).hits if hit.item_id in both]
