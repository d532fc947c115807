"""Chromium before the real page, web service, gateway, packaged towers and embedded store, for all tests here."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scot.client import NewItem, Origin, ScotClient
from scot.worlds import load_world
from scot.worlds.gallery import evaluation_gallery
from services.search.settings import from_args
from tests.support.served_here import served_here
from tests.support.served_web import served_web

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

HOSTILE_ID = '../"><img src=x onerror="document.title=\'injected\'">'
HOSTILE_CAPTION = "<script>document.title='injected'</script><b>bold</b> {{7*7}} javascript:alert(1)"
PICTURES = 120


def gallery_items() -> list[NewItem]:
    """Drawn garments with attributes, a price and a day as payload, and one item whose every text is an attack."""
    world = load_world("wardrobe")
    items = []
    for number, drawing in enumerate(evaluation_gallery(world, size=PICTURES, queries=1, seed=4).items):
        payload: dict[str, Any] = {"caption": drawing.caption(world)}
        payload |= {"price": 10 + number * 0.5, "added": f"2024-{number % 12 + 1:02}-{number % 28 + 1:02}"}
        payload |= {name: str(value) for name, value in drawing.attributes.items()}
        items.append(NewItem(drawing.item_id, image=png(drawing.draw(world)), payload=payload))
    payload = {"caption": HOSTILE_CAPTION, "<i>field</i>": "<u>value</u>", "nested": {"a": ["</script>"]}}
    origin = Origin("/pictures", '"><svg onload=alert(1)>.png')
    hostile = NewItem(HOSTILE_ID, image=items[0].image, payload=payload, origin=origin)
    return [*items, hostile]


def png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("browser")
    places = {"store": str(folder / "qdrant"), "thumbnails": str(folder / "thumbnails")}
    with served_here(from_args({"threads": 1, **places})) as target:
        with ScotClient(target) as client:
            assert client.upsert(gallery_items()).refused == ()
        yield target


@pytest.fixture(scope="session")
def url(address: str) -> Iterator[str]:
    with served_web(address) as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the extra `browser` is not installed")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium (Debian's package chromium)")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


class Console:
    """What a page wrote as an error: an exception, or what its Content-Security-Policy stopped."""

    def __init__(self, context: BrowserContext) -> None:
        self.errors: list[str] = []
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        context.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)


@pytest.fixture
def context(browser: Browser, url: str) -> Iterator[BrowserContext]:
    with browser.new_context(base_url=url, viewport={"width": 1280, "height": 800}) as made:
        made.set_default_timeout(20_000)
        yield made


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """The page, opened; at the end it has written no error."""
    console = Console(context)
    opened = context.new_page()
    opened.goto("/")
    yield opened
    assert console.errors == []


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of screenshots; ``SCOT_TEST_SHOTS`` names another."""
    folder = Path(os.environ.get("SCOT_TEST_SHOTS") or tmp_path_factory.mktemp("shots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
