"""What a person does with the page, and what they see, in the words of these tests."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

GIVE = """([kind, data, name]) => {
  const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, {type: "image/png"}));
  const how = {bubbles: true, cancelable: true};
  const event = kind === "paste" ? new ClipboardEvent(kind, {clipboardData: transfer, ...how})
    : new DragEvent(kind, {dataTransfer: transfer, ...how});
  document.body.dispatchEvent(event);
}"""


def tiles(page: Page, side: int = 0) -> Locator:
    """The pictures of a grid, once its answer is there."""
    page.wait_for_selector('[aria-busy="false"] .tile')
    return page.locator(".grid").nth(side).locator(".tile .go")


def names(page: Page, side: int = 0) -> list[str]:
    """The captions of the pictures near the view of a grid, in order: those further down are no elements yet."""
    tiles(page, side).first.wait_for()
    labels = tiles(page, side).evaluate_all("all => all.map((each) => each.ariaLabel)")
    return [str(each).removeprefix("Go on from ") for each in labels]


def all_there(page: Page) -> int:
    """Go to the last picture, again and again until no more come; how many there are."""
    tiles(page).first.focus()
    while True:
        page.keyboard.press("End")
        last = page.evaluate("document.activeElement.closest('li').ariaPosInSet")
        page.wait_for_function(
            "last => !document.querySelector('.more') || document.querySelector('.tile').ariaSetSize !== last", arg=last
        )
        if not page.locator(".more").count() and page.locator(".tile").first.get_attribute("aria-setsize") == last:
            return int(last)


def asked(page: Page) -> dict[str, Any]:
    """What the address says is asked."""
    fragment = urlsplit(page.url).fragment
    found: dict[str, Any] = json.loads(unquote(fragment)) if fragment else {"trail": []}
    return found


def steps(page: Page, count: int) -> Locator:
    """The trail, once it has ``count`` steps and their answer is there."""
    page.wait_for_function("count => document.querySelectorAll('.step').length === count", arg=count)
    page.wait_for_selector('[aria-busy="false"]', state="attached")
    return page.locator(".step")


def say(page: Page, text: str) -> None:
    """Write a text and send it."""
    page.locator(".words").fill(text)
    page.locator(".words").press("Enter")


def give(page: Page, kind: str, picture: bytes, name: str) -> None:
    """Paste or drop a file."""
    page.evaluate(GIVE, [kind, base64.b64encode(picture).decode(), name])
