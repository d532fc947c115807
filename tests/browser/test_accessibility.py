"""axe-core (WCAG 2.2 A and AA, and its best practices) finds nothing, in light and dark, wide and on a phone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tests.browser.driving import say, steps, tiles
from tests.support.chromium import Console

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

axe = pytest.importorskip("axe_playwright_python.base", reason="the extra `browser` is not installed")

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
WIDE: dict[str, Any] = {"viewport": {"width": 1600, "height": 900}}


def opened(page: Page) -> None:
    tiles(page).first.wait_for()


def changed(page: Page) -> None:
    tiles(page).nth(4).click()
    say(page, "make it blue")
    steps(page, 2)
    page.mouse.move(200, 400)


def options(page: Page) -> None:
    changed(page)
    page.get_by_role("button", name="Options").click()
    page.get_by_label("compare two composers").check()
    page.get_by_role("group", name="colour").wait_for()
    page.wait_for_selector('[aria-busy="false"] .tile')


def closer(page: Page) -> None:
    changed(page)
    tiles(page).first.focus()
    page.keyboard.press("Space")
    page.get_by_text("To your words").wait_for()


def without_key(page: Page) -> None:
    page.evaluate("sessionStorage.setItem('scot-key', 'a')")
    page.reload()
    page.get_by_role("button", name="Key").click()
    page.get_by_label("API key").wait_for()


def refused(page: Page) -> None:
    page.goto("/#damaged")
    page.reload()
    page.get_by_text("This link is damaged").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["phone", "wide"])
@pytest.mark.parametrize("state", [opened, changed, options, closer, without_key, refused])
def test_no_violations(
    *,
    browser: Browser,
    url: str,
    shots: Path,
    state: Callable[[Page], None],
    size: str,
    scheme: Literal["light", "dark"],
) -> None:
    device = PHONE if size == "phone" else WIDE
    with browser.new_context(base_url=url, color_scheme=scheme, reduced_motion="reduce", **device) as context:
        console = Console(context)
        page = context.new_page()
        page.goto("/")
        state(page)
        page.screenshot(path=shots / f"{state.__name__}-{size}-{scheme}.png")
        page.evaluate(Path(axe.AXE_FILE_PATH).read_text(encoding="utf-8"))
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in found] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert console.errors == []
