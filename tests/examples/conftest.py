"""A real service with a gallery of drawn garments for the programs of examples/, and what they must print."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from scot.client import Filter, NewItem, Range, ScotClient
from scot.ports import free_port
from scot.worlds.gallery import Query
from services.search.settings import from_args
from tests.support.drawn_items import drawn_items
from tests.support.http_server import http_server
from tests.support.scot_serve import scot_serve
from tests.support.served_here import served_here
from tests.support.served_web import ask, served_web

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
REFUSED = "edits[0].text: must not be empty"
_STARTED_S = 60


@dataclass(frozen=True)
class Service:
    """A search service and its web service, and a query whose answer is known."""

    address: str
    url: str
    query: Query
    """Its reference is an item."""
    upload: Query
    """Its reference is no item, but a file."""
    picture: Path
    """That file."""

    @property
    def environment(self) -> dict[str, str]:
        """What the programs read."""
        return {"SCOT_ADDRESS": self.address, "SCOT_URL": self.url}

    def printed(self) -> list[str]:
        """What a program prints that searches from the picture: hits, then the best of a stream, then its refusal."""
        with ScotClient(self.address) as client:
            cheap = Filter(must=[Range("price", lte=30)])
            found = client.search(image=self.picture, edits=self.upload.edit, limit=5, filter=cheap).hits
        assert found[0].item_id in self.upload.targets
        lines = [f"{hit.item_id} {hit.score:.3f} {hit.payload['caption']}" for hit in found]
        return [*lines, found[0].item_id, REFUSED]


def garments() -> tuple[list[NewItem], list[Query]]:
    """Drawn garments with a price and a size each, as a shop has them, and two queries over them."""
    drawn, queries = drawn_items(60, queries=2)
    shop = [{"price": 10 + place % 20, "size": "SML"[place % 3]} for place in range(len(drawn))]
    items = [replace(item, payload={**item.payload, **more}) for item, more in zip(drawn, shop, strict=True)]
    return items, list(queries)


@contextmanager
def in_this_process(folder: Path, origin: str) -> Iterator[tuple[str, str]]:
    """The gateway, towers and embedded store without Ray."""
    places = {"store": str(folder / "qdrant"), "thumbnails": str(folder / "thumbnails")}
    with served_here(from_args({"threads": 1, **places})) as address, served_web(address, cors_origin=[origin]) as url:
        yield address, url


@contextmanager
def as_people_run_it(folder: Path, origin: str) -> Iterator[tuple[str, str]]:
    """``scot serve --web`` with Ray Serve, in processes of its own."""
    port, web_port = free_port(), free_port()
    flags = ("--data", str(folder), "--web", "--web-port", str(web_port))
    with scot_serve(port, *flags, environment={"SCOT_CORS_ORIGIN": origin}):
        url = f"http://localhost:{web_port}"
        wait_until_ready(url)
        yield f"localhost:{port}", url


def wait_until_ready(url: str) -> None:
    """Wait until the web service answers and reaches the search service."""
    until = time.monotonic() + _STARTED_S
    while time.monotonic() < until:
        try:
            if ask(url, "/readyz").status == 200:
                return
        except ConnectionRefusedError:
            pass
        time.sleep(0.1)
    pytest.fail(f"{url} is not ready after {_STARTED_S} s")


@pytest.fixture(scope="session", params=["here", pytest.param("ray", marks=pytest.mark.slow)])
def service(request: pytest.FixtureRequest, shop: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    items, (upload, query) = garments()
    (reference,) = (item for item in items if item.item_id == upload.reference_id)
    assert isinstance(reference.image, bytes)
    picture = folder / "shirt.png"
    picture.write_bytes(reference.image)
    items.remove(reference)
    start = in_this_process if request.param == "here" else as_people_run_it
    with start(folder / "data", shop) as (address, url):
        with ScotClient(address) as client:
            assert client.upsert(items).refused == ()
        yield Service(address, url, query, upload, picture)


@pytest.fixture(scope="session")
def shop() -> Iterator[str]:
    """The origin of a web server with examples/browser: another one than the service's."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with http_server(partial(Quiet, directory=str(EXAMPLES / "browser"))) as address:
        yield f"http://{address}"


def run(command: Sequence[object], *, environment: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program of examples/ to its end."""
    return subprocess.run(
        [str(each) for each in command],
        env={**os.environ, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
