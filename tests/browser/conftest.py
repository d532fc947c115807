"""Chromium before the real page, web service, gateway, packaged towers and embedded store, for all tests here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scot.client import NewItem, Origin, ScotClient
from services.search.settings import from_args
from tests.support.chromium import Console, chromium
from tests.support.drawn_items import drawn_items
from tests.support.served_here import served_here
from tests.support.served_web import served_web

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

HOSTILE_ID = '../"><img src=x onerror="document.title=\'injected\'">'
HOSTILE_CAPTION = "<script>document.title='injected'</script><b>bold</b> {{7*7}} javascript:alert(1)"
PICTURES = 120


def gallery_items() -> list[NewItem]:
    """Drawn garments with attributes, a price and a day as payload, and one item whose every text is an attack."""
    drawn, _ = drawn_items(PICTURES)
    items = []
    for number, item in enumerate(drawn):
        more = {"price": 10 + number * 0.5, "added": f"2024-{number % 12 + 1:02}-{number % 28 + 1:02}"}
        items.append(replace(item, payload={**(item.payload or {}), **more}))
    payload = {"caption": HOSTILE_CAPTION, "<i>field</i>": "<u>value</u>", "nested": {"a": ["</script>"]}}
    origin = Origin("/pictures", '"><svg onload=alert(1)>.png')
    hostile = NewItem(HOSTILE_ID, image=items[0].image, payload=payload, origin=origin)
    return [*items, hostile]


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
    with chromium() as opened:
        yield opened


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
