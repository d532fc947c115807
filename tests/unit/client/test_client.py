"""The client's public face, and what it refuses before anything is sent."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image

import scot.client
from scot.client import NewItem, ScotClient
from scot.client._connection import from_status
from scot.client._messages import image_bytes
from scot.data.images import decode_image
from scot.errors import GRPC_STATUS, InvalidInput, Overloaded, ScotError, Unavailable
from tests.support.bad_images import GOOD_IMAGES


@pytest.fixture
def client() -> ScotClient:
    return ScotClient("localhost:1", timeout=5)


def test_the_public_names() -> None:
    assert set(scot.client.__all__) == {
        *("ScotClient", "AsyncScotClient", "Query", "Edit", "NewItem", "Filter", "Match", "Range", "Exists"),
        *("SearchResult", "Hit", "Encoded", "ComposerInfo", "UpsertResult", "Refused", "StoredItem", "CollectionInfo"),
        *("Origin", "ListedItem", "Picture"),
    }


def test_every_status_comes_back_as_its_error() -> None:
    for error, status in GRPC_STATUS.items():
        returned = from_status(status, "why")
        assert GRPC_STATUS[type(returned)] == status
        assert str(returned) == "why"
        assert isinstance(error(*["x"] * 1), ScotError)
    assert type(from_status("INTERNAL", "why")) is ScotError


def test_what_is_wrong_here_is_said_here(client: ScotClient, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"there is no image file .*missing\.png"):
        client.search(image=tmp_path / "missing.png", edits="a")
    with pytest.raises(InvalidInput, match="cannot be read"):
        client.search(image=tmp_path)
    with pytest.raises(InvalidInput, match="one of image, item_id and vector"):
        client.search(image=b"x", item_id="y")
    with pytest.raises(InvalidInput, match="limit"):
        client.search(edits="a", limit=-1)
    with pytest.raises(TypeError, match="a search has no argument 'colour'"):
        client.search(colour="red")  # type: ignore[call-arg]
    with pytest.raises(InvalidInput, match="one row"):
        client.search(vector=np.ones((2, 2)))
    with pytest.raises(InvalidInput, match="'a': give either"):
        client.upsert([NewItem("a")])
    with pytest.raises(InvalidInput, match="'a': the payload must be JSON-like"):
        client.upsert([NewItem("a", vector=[1.0], payload={"x": object()})])


def test_nobody_answers(client: ScotClient) -> None:
    with pytest.raises(Unavailable, match="no SCOT service answers at localhost:1"):
        client.search(edits="a")
    assert not client.healthy()
    client.close()
    with pytest.raises(Unavailable, match="closed"):
        client.search(edits="a")


def test_a_call_that_the_servers_grpc_drops_met_its_limit() -> None:
    handler = grpc.unary_unary_rpc_method_handler(
        lambda _, context: context.abort(grpc.StatusCode.CANCELLED, "CANCELLED")
    )
    server = grpc.server(ThreadPoolExecutor(1))
    methods = {"ComposeSearch": handler}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("scot.v1.SearchService", methods)])
    port = server.add_insecure_port("localhost:0")
    server.start()
    with (
        ScotClient(f"localhost:{port}") as client,
        pytest.raises(Overloaded, match="at its limit and dropped the call"),
    ):
        client.search(edits="a")
    server.stop(None).wait()


@pytest.mark.parametrize("name", GOOD_IMAGES)
def test_a_pil_image_is_sent_as_the_pixels_of_its_bytes(name: str) -> None:
    sent = image_bytes(Image.open(io.BytesIO(GOOD_IMAGES[name])))
    assert decode_image(sent).tobytes() == decode_image(GOOD_IMAGES[name]).tobytes()


def test_a_transparent_pil_image_is_sent_on_white() -> None:
    sent = Image.open(io.BytesIO(image_bytes(Image.new("RGBA", (4, 4), (0, 0, 0, 0)))))
    assert sent.getpixel((0, 0)) == (255, 255, 255)


def test_a_pil_image_that_cannot_be_read_is_invalid_input() -> None:
    cut = GOOD_IMAGES["PNG"][: len(GOOD_IMAGES["PNG"]) // 2]
    with pytest.raises(InvalidInput, match="the PIL image cannot be read"):
        image_bytes(Image.open(io.BytesIO(cut)))
