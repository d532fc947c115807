"""Without a mouse: / writes, arrows move, Enter goes on, Space looks, Esc closes; nothing traps the focus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.browser.driving import asked, names, steps, tiles

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOCUSED = "document.activeElement.ariaLabel || document.activeElement.textContent"
COLUMNS = "getComputedStyle(document.querySelector('.grid')).gridTemplateColumns.split(' ').length"


def test_the_whole_journey(page: Page) -> None:
    tiles(page).first.wait_for()
    page.keyboard.press("/")
    page.keyboard.type("a blue dress")
    page.keyboard.press("Enter")
    steps(page, 1)
    shown = names(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    columns = page.evaluate(COLUMNS)
    assert columns > 2
    assert page.evaluate(FOCUSED) == f"Go on from {shown[columns]}"
    page.keyboard.press("End")
    assert page.evaluate(FOCUSED) == f"Go on from {shown[-1]}"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    assert dialog.get_by_role("heading", level=2).inner_text() == shown[1]
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert page.evaluate(FOCUSED) == f"Go on from {shown[1]}"
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == f"More like {shown[1]}"
    page.keyboard.press("Enter")
    steps(page, 2)
    assert asked(page)["trail"][1]["kind"] == "like"
    page.keyboard.press("/")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    steps(page, 3)
    page.keyboard.press("/")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.className") == "words"


def test_a_slash_in_a_text_is_a_slash(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("black/white")
    assert page.locator(".words").input_value() == "black/white"


def test_the_slash_can_be_switched_off(page: Page) -> None:
    page.get_by_role("button", name="Options").click()
    page.get_by_label("the key / goes to the text").uncheck()
    page.locator("h1 a").focus()
    page.keyboard.press("/")
    assert page.evaluate(FOCUSED) == "SCOT"


def test_the_grid_is_one_stop_and_the_focus_comes_back_around(page: Page) -> None:
    tiles(page).first.wait_for()
    seen = set()
    for _ in range(14):
        page.keyboard.press("Tab")
        seen.add(page.evaluate(FOCUSED))
    assert any("Skip to the pictures" in each for each in seen)
    assert "HTTP API" in seen
    assert sum(each.startswith("Go on from") for each in seen) == 1
