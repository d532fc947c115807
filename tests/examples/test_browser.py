"""examples/browser/index.html in Chromium, served from another origin than the service's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from scot.client import NewItem, ScotClient
from scot.ports import free_port
from tests.examples.conftest import REFUSED, Service
from tests.support.chromium import Console, chromium
from tests.support.served_web import served_web

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

HOSTILE = "<img src=x onerror=\"document.title='injected'\">"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context() as made:
        made.set_default_timeout(20_000)
        yield made


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def search(page: Page, shop: str, url: str, picture: object, *edits: str) -> None:
    """Open the page, choose the picture, write the edits, and wait for the last word."""
    page.goto(f"{shop}/?service={url}")
    page.get_by_label("Picture").set_input_files(str(picture))
    page.get_by_label("Changes").fill("\n".join(edits))
    page.get_by_role("button", name="Search").click()


def captions_of(page: Page, place: int) -> list[str]:
    """What the pictures of a change are called."""
    found: list[str] = (
        page.locator("section").nth(place).locator("img").evaluate_all("all => all.map((each) => each.alt)")
    )
    return found


def test_each_change_is_answered(service: Service, shop: str, context: BrowserContext, page: Page) -> None:
    console = Console(context)
    edits = [service.upload.edit, "make it blue", ""]
    search(page, shop, service.url, service.picture, *edits)
    page.wait_for_function("document.querySelectorAll('section').length === 3")
    page.wait_for_function("[...document.images].every((each) => each.complete && each.naturalWidth > 0)")
    assert page.locator("h2").all_text_contents() == edits
    assert [section.locator("img").count() for section in page.locator("section").all()] == [6, 6, 0]
    with ScotClient(service.address) as client:
        found = [client.search(image=service.picture, edits=edit, limit=6).hits for edit in edits[:2]]
    assert found[0][0].item_id in service.upload.targets
    captions = [captions_of(page, place) for place in (0, 1)]
    assert captions == [[hit.payload["caption"] for hit in hits] for hits in found]
    assert REFUSED in page.locator("section").nth(2).inner_text()
    assert page.get_by_role("status").inner_text() == ""
    assert console.errors == []


def test_texts_of_the_gallery_stay_texts(service: Service, shop: str, page: Page) -> None:
    with ScotClient(service.address) as client:
        hostile = NewItem(HOSTILE, service.picture, payload={"caption": HOSTILE})
        assert client.upsert([hostile]).refused == ()
        try:
            search(page, shop, service.url, service.picture, HOSTILE)
            page.wait_for_function("[...document.images].some((each) => each.complete && each.naturalWidth > 0)")
        finally:
            client.delete([HOSTILE])
    assert HOSTILE in captions_of(page, 0)
    assert page.title() == "Composed search"


def test_a_service_that_does_not_allow_the_page(service: Service, shop: str, page: Page) -> None:
    with served_web(service.address, cors_origin=["https://shop.example"]) as url:
        search(page, shop, url, service.picture, "make it blue")
        page.get_by_text("The service does not answer this page.").wait_for()


def test_a_service_that_is_gone(service: Service, shop: str, page: Page) -> None:
    search(page, shop, f"http://localhost:{free_port()}", service.picture, "make it blue")
    page.get_by_text("The service does not answer this page.").wait_for()


def test_a_file_that_is_no_picture(service: Service, shop: str, page: Page) -> None:
    search(page, shop, service.url, __file__, "make it blue")
    page.locator("section").get_by_text("reference.image: ").wait_for()
