"""One search service and one web service before it, for all the tests of this folder that only read."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from scot.client import NewItem, Origin, ScotClient
from services.search.settings import from_args
from tests.support.random_encoder import save_random_encoder
from tests.support.served_here import served_here
from tests.support.served_web import served_web

HOSTILE = '"><script>alert(1)</script>'


def png(color: tuple[int, int, int], side: int = 64) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), color).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("web")
    encoder = save_random_encoder(folder / "encoder")
    places = {"store": str(folder / "qdrant"), "thumbnails": str(folder / "thumbnails")}
    with served_here(from_args({"encoder": encoder, "threads": 1, **places})) as target:
        with ScotClient(target) as client:
            items = [
                NewItem("red", image=png((200, 0, 0)), payload={"caption": "a red one", "price": 12, "sold": False}),
                NewItem("../blue/ä", image=png((0, 0, 200)), origin=Origin("/pictures", "blue.png")),
                NewItem("..", image=png((0, 200, 0))),
                NewItem("vector", vector=np.ones(32), payload={"caption": HOSTILE}),
            ]
            assert client.upsert(items).refused == ()
        yield target


@pytest.fixture(scope="session")
def url(address: str) -> Iterator[str]:
    with served_web(address) as found:
        yield found
