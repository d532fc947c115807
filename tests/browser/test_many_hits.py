"""Five thousand hits: all of them can be reached, and only those near the view are elements, however far one goes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from scot.client import NewItem, ScotClient
from services.search.settings import from_args
from tests.browser.driving import all_there, say, steps, tiles
from tests.support.random_encoder import save_random_encoder
from tests.support.served_here import served_here
from tests.support.served_web import served_web

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ITEMS = 5_000
TEXT = "anything"
WIDTH, HEIGHT = 1280, 800
MOST_TILES = 7 * 19
"""Elements at a time: seven columns, three screens and a half of rows, two that are cut, and the row with the focus."""
WATCH = """() => {
  window.seen = {most: 0, added: 0};
  const count = (records) => {
    const added = records.flatMap((each) => [...each.addedNodes]).filter((each) => each.matches?.('.tile')).length;
    const now = document.querySelectorAll('.tile').length;
    window.seen = {most: Math.max(window.seen.most, now), added: Math.max(window.seen.added, added)};
  };
  new MutationObserver(count).observe(document.body, {childList: true, subtree: true});
}"""

SCROLL = """async ([steps, pixels]) => {
  for (let step = 0; step < steps; step++) {
    scrollBy(0, pixels);
    for (let frames = 0; frames < 3; frames++) await new Promise(requestAnimationFrame);  // what it makes is there
  }
}"""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[tuple[str, str]]:
    """A gallery of 5,000 tiny pictures: the addresses of the search service and of the page."""
    folder = tmp_path_factory.mktemp("many")
    places = {"store": str(folder / "qdrant"), "thumbnails": str(folder / "t")}
    encoder = save_random_encoder(folder / "encoder")
    with served_here(from_args({"encoder": encoder, "threads": 1, **places})) as address, served_web(address) as url:
        with ScotClient(address) as client:
            for first in range(0, ITEMS, 250):
                items = [NewItem(f"n-{n:04}", image=png(n), payload={"n": n}) for n in range(first, first + 250)]
                assert client.upsert(items).refused == ()
        yield address, url


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)  # equal pictures have no order
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def searched(browser: Browser, many: tuple[str, str]) -> Iterator[Page]:
    with browser.new_context(base_url=many[1], viewport={"width": WIDTH, "height": HEIGHT}) as context:
        page = context.new_page()
        page.goto("/")
        say(page, TEXT)
        steps(page, 1)
        page.evaluate(WATCH)
        yield page


def test_all_of_them_are_reached_and_few_are_elements(searched: Page, many: tuple[str, str]) -> None:
    assert all_there(searched) == ITEMS
    seen = searched.evaluate("window.seen")
    assert 0 < seen["added"] <= seen["most"] <= MOST_TILES
    with ScotClient(many[0]) as client:
        pages = (client.search(edits=[TEXT], limit=1_000, offset=offset).hits for offset in range(0, ITEMS, 1_000))
        expected = [hit.item_id for page in pages for hit in page]
    for share in (0, 0.37, 0.8, 1):
        searched.evaluate("share => scrollTo(0, share * document.body.scrollHeight)", share)
        searched.wait_for_function(
            "() => [...document.querySelectorAll('.tile')].some((each) => each.getBoundingClientRect().top > 0"
            f" && each.getBoundingClientRect().bottom < {HEIGHT})"
        )
        shown = "all => all.map((each) => [Number(each.ariaPosInSet), each.querySelector('.go').ariaLabel])"
        for place, label in searched.locator(".tile").evaluate_all(shown):
            assert label == f"Go on from {expected[place - 1]}"


def two_pages(page: Page) -> None:
    """The first 300 hits are there, and the focus is on the first."""
    tiles(page).first.focus()
    page.keyboard.press("End")
    page.wait_for_function("() => document.querySelector('.tile').ariaSetSize === '300'")
    page.keyboard.press("Home")


def test_scrolling_adds_a_few_rows_at_a_time(searched: Page) -> None:
    two_pages(searched)
    searched.evaluate(SCROLL, [1, 0])
    searched.evaluate("() => (window.seen = {most: 0, added: 0})")
    searched.evaluate(SCROLL, [30, HEIGHT / 4])
    seen = searched.evaluate("window.seen")
    assert 0 < seen["added"] <= 7 * 4  # half a screen of rows at a time, and the first of the next
    assert seen["most"] <= MOST_TILES


def test_the_focus_stays_on_a_picture_that_is_scrolled_away(searched: Page) -> None:
    two_pages(searched)
    searched.keyboard.press("ArrowRight")
    focused = "document.activeElement.ariaLabel"
    label = searched.evaluate(focused)
    searched.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
    searched.wait_for_function("() => document.querySelector('.tile:nth-of-type(30)')?.ariaPosInSet > 100")
    assert searched.evaluate(focused) == label
    searched.keyboard.press("ArrowDown")
    assert searched.evaluate("document.activeElement.closest('li').ariaPosInSet") == "9"
    assert searched.evaluate("document.activeElement.getBoundingClientRect().top") > 0


def test_going_back_shows_what_was_there(searched: Page) -> None:
    searched.evaluate(SCROLL, [12, HEIGHT / 2])
    searched.wait_for_function("() => document.querySelector('.tile').ariaSetSize === '300'")
    before = searched.evaluate("[scrollY, document.querySelector('.tile').ariaSetSize]")
    middle = searched.locator(".tile .go").nth(40)
    middle.click()
    steps(searched, 2)
    assert searched.evaluate("scrollY") == 0
    asked: list[str] = []
    searched.on("request", lambda request: asked.append(request.url) if "compose-search" in request.url else None)
    searched.go_back()
    steps(searched, 1)
    searched.wait_for_function("count => document.querySelector('.tile').ariaSetSize === count", arg=before[1])
    searched.wait_for_function("top => Math.abs(scrollY - top) < 2000 && scrollY > 0", arg=before[0])
    assert asked == []


def test_a_page_of_hits_that_does_not_come_can_be_asked_for_again(searched: Page) -> None:
    searched.context.set_offline(True)
    tiles(searched).first.focus()
    searched.keyboard.press("End")
    again = searched.get_by_role("button", name="Try again")
    again.wait_for()
    assert searched.locator(".tile").first.get_attribute("aria-setsize") == "60"
    searched.context.set_offline(False)
    again.click()
    searched.wait_for_function("() => document.querySelector('.tile').ariaSetSize === '300'")
