"""A service with a multimodal embedder: it composes pictures and edits itself, and tells when the sum does instead."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scot.client import Edit, NewItem, Reference, ScotClient, SearchResult, Turn
from scot.composers import native_composer
from scot.encoders import PairEncoder, load_encoder
from scot.encoders.embedder import Embedder
from scot.errors import NotFound
from scot.worlds.wardrobe import Wardrobe
from services.search.composer.compose_batch import compose_batch
from services.search.composer.embedding_cache import CachedEncoder
from services.search.composer.messages import Composed, ComposeJob, IndexedItem
from services.search.settings import from_args
from tests.support.compose_jobs import job
from tests.support.random_embedder import save_random_qwen3_vl
from tests.support.served_here import served_here

EDIT, MORE = "make it red", "with long sleeves"


def pictures() -> dict[str, Image.Image]:
    world, rng = Wardrobe(), random.Random(0)
    return {f"item {n}": world.draw(world.sample(rng), rng) for n in range(4)}


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"st:local-dir:{save_random_qwen3_vl(tmp_path_factory.mktemp('embedder'))}"


@pytest.fixture(scope="module")
def encoder(name: str) -> PairEncoder:
    encoder = load_encoder(name)
    assert isinstance(encoder, PairEncoder)
    return encoder


@pytest.fixture(scope="module")
def client(name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScotClient]:
    folder = tmp_path_factory.mktemp("items")
    places = {"store": str(folder / "qdrant"), "thumbnails": str(folder / "thumbnails")}
    with served_here(from_args({"threads": 1, "encoder": name, **places})) as target, ScotClient(target) as client:
        assert not client.upsert([NewItem(name, image=image) for name, image in pictures().items()]).refused
        yield client


def composed(client: ScotClient, **query: Any) -> tuple[str, np.ndarray[Any, Any]]:
    """What answered, and the query vector ``(D,)``."""
    found: SearchResult = client.search(with_vectors=True, **{"edits": EDIT, **query})
    assert found.query_vector is not None
    return found.composer, np.asarray(found.query_vector, np.float32)


def together(encoder: PairEncoder, text: str, *images: Image.Image) -> np.ndarray[Any, Any]:
    row: np.ndarray[Any, Any] = encoder.encode_pairs([[encoder.preprocess(each) for each in images]], [text])[0][0]
    return row


def test_a_picture_and_an_edit_are_one_input(client: ScotClient, encoder: PairEncoder) -> None:
    for image in pictures().values():
        for name in ("", "native"):
            told, vector = composed(client, image=image, composer=name)
            assert told == "native"
            np.testing.assert_allclose(vector, together(encoder, EDIT, image), atol=2e-5)


def test_plain_edits_and_turns_are_one_text(client: ScotClient, encoder: PairEncoder) -> None:
    image = pictures()["item 0"]
    expected = together(encoder, f"{EDIT} and {MORE}", image)
    told, vector = composed(client, image=image, edits=[EDIT, MORE])
    assert told == "native"
    np.testing.assert_allclose(vector, expected, atol=2e-5)
    told, vector = composed(client, edits=MORE, turns=[Turn([Reference(image=image)], edits=[EDIT])])
    assert told == "native"
    np.testing.assert_allclose(vector, expected, atol=2e-5)
    told, vector = composed(client, edits=[EDIT])  # no picture
    assert told == "native"
    np.testing.assert_allclose(vector, together(encoder, EDIT), atol=2e-5)


def test_several_pictures_are_one_input(client: ScotClient, encoder: PairEncoder) -> None:
    images = [*pictures().values()][:2]
    told, vector = composed(client, references=[Reference(image=image) for image in images])
    assert told == "native"
    np.testing.assert_allclose(vector, together(encoder, EDIT, *images), atol=2e-5)


def test_an_indexed_item_is_read_from_its_thumbnail(client: ScotClient) -> None:
    for item_id, image in pictures().items():
        told, vector = composed(client, item_id=item_id)
        assert told == "native"
        assert vector @ composed(client, image=image)[1] > 0.98


@pytest.mark.parametrize("kind", ["weight", "negative", "like", "vector", "bare", "weighted pictures"])
def test_what_is_more_than_pictures_and_edits_is_told_as_the_sum(kind: str, client: ScotClient) -> None:
    image = pictures()["item 0"]
    stored = client.get(["item 2"], with_vectors=True)["item 2"].vector
    assert stored is not None
    client.upsert([NewItem("bare", vector=stored)])  # without a thumbnail
    query: dict[str, Any] = {
        "weight": {"image": image, "edits": [Edit(EDIT, weight=0.5)]},
        "negative": {"image": image, "edits": [Edit(EDIT, negative=True)]},
        "like": {"image": image, "like": ["item 1"]},
        "vector": {"vector": stored},
        "bare": {"item_id": "bare"},
        "weighted pictures": {
            "references": [Reference(image=image), Reference(image=pictures()["item 1"], weight=0.5)]
        },
    }[kind]
    told, vector = composed(client, composer="native", **query)
    assert told == "sum"
    np.testing.assert_allclose(vector, composed(client, composer="sum", **query)[1], atol=1e-5)
    client.delete(["bare"])


def test_an_item_that_has_another_picture_now_is_not_read_from_the_old_one(client: ScotClient) -> None:
    client.upsert([NewItem("changed", image=pictures()["item 0"])])
    vector = -np.asarray(client.get(["changed"], with_vectors=True)["changed"].vector)
    client.upsert([NewItem("changed", vector=vector.tolist())])
    assert composed(client, item_id="changed")[0] == "sum"
    client.delete(["changed"])


def test_it_is_listed_and_answers_by_default(client: ScotClient, encoder: PairEncoder) -> None:
    listed = {info.name: info for info in client.composers()}
    assert listed["native"].released
    assert listed["native"].encoder == encoder.id
    assert not listed["sum"].released


def test_a_service_of_another_encoder_has_none(tmp_path: Path) -> None:
    with served_here(from_args({"threads": 1, "store": str(tmp_path)})) as target, ScotClient(target) as client:
        with pytest.raises(NotFound, match="does not embed a picture and a text together"):
            client.search(edits=EDIT, image=pictures()["item 0"], composer="native")
        assert "native" not in {info.name for info in client.composers()}


def test_a_query_is_one_pass_of_the_model(encoder: PairEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its picture nor its edit is embedded alone; an item's picture is once, to compare it with the vector."""
    passes: list[int] = []
    features = Embedder._features

    def counted(self: Embedder, inputs: list[dict[str, Any]], task: str) -> torch.Tensor:
        passes.append(len(inputs))
        return features(self, inputs, task)

    monkeypatch.setattr(Embedder, "_features", counted)
    pixels, cached = [encoder.preprocess(each) for each in pictures().values()], CachedEncoder(encoder, 2**20)

    def made(*jobs: ComposeJob) -> int:
        passes.clear()
        native = native_composer(encoder)
        told = [each.composer for each in compose_batch(cached, lambda _: native, jobs) if isinstance(each, Composed)]
        assert told == ["native"] * len(jobs)
        return sum(passes)

    assert made(job(EDIT, image=pixels[0]), job(MORE, image=pixels[0]), job(EDIT, image=pixels[1])) == 3
    assert made(job(EDIT, image=pixels[0].copy())) == 0
    vector = encoder.encode_pixels(pixels[2:3])[0]
    item = {"item": IndexedItem("gallery", "item 2"), "vector": vector, "picture": pixels[2]}
    assert made(job(EDIT, **item)) == 2
    assert made(job(MORE, **item)) == 1


def test_too_many_pictures_are_refused_alone(encoder: PairEncoder) -> None:
    native, pixels = native_composer(encoder), encoder.preprocess(pictures()["item 0"])
    many = job(EDIT, composer="native")
    many = type(many)((type(many.turns[0])(((pixels, 1.0),) * 200, edits=many.turns[0].edits),), "native")
    ours, theirs, last = compose_batch(
        CachedEncoder(encoder, 2**20), lambda _: native, [job(EDIT, image=pixels), many, job(MORE, image=pixels)]
    )
    assert isinstance(ours, Composed)
    assert isinstance(last, Composed)
    assert "too few for so many pictures" in str(theirs)
    np.testing.assert_allclose(ours.vector, together(encoder, EDIT, pictures()["item 0"]), atol=2e-5)


def test_a_pair_that_comes_again_is_not_embedded_again(encoder: PairEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    cached, pixels = CachedEncoder(encoder, 2**20), encoder.preprocess(pictures()["item 0"])
    (first,) = cached.pairs([((pixels,), EDIT)])
    monkeypatch.setattr(type(encoder), "encode_pairs", None)  # a call would fail
    again = cached._embedded("pair", [((pixels.copy(),), EDIT)], False, lambda pairs, _: (np.zeros((0, 1)), [], []), {})
    np.testing.assert_array_equal(first.vector_D, again[0].vector_D)
    with pytest.raises(TypeError):
        cached.pairs([((pixels,), MORE)])
