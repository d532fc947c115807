"""The whole way: a start of every kind, changes, likes, undo, the address, filters, composers, the large view."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scot.client import ScotClient
from tests.browser.conftest import gallery_items
from tests.browser.driving import asked, give, names, say, steps, tiles

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

PICTURE = gallery_items()[3].image or b""


def test_from_a_gallery_picture_to_what_is_meant_and_back(page: Page, context: BrowserContext, shots: Path) -> None:
    page.screenshot(path=shots / "start.png")
    tiles(page).nth(4).click()
    steps(page, 1)
    first = names(page)
    say(page, "make it blue")
    steps(page, 2)
    changed = names(page)
    assert changed != first
    assert sum("blue" in each for each in changed[:5]) > sum("blue" in each for each in first[:5])
    page.screenshot(path=shots / "changed.png")

    page.locator(".tile").nth(1).hover()
    page.get_by_role("button", name=f"More like {changed[1]}", exact=True).click()
    steps(page, 3)
    page.get_by_role("button", name=f"Less like {changed[2]}", exact=True).click()
    steps(page, 4)
    moved = names(page)
    assert changed[2] not in moved
    assert [each["kind"] for each in asked(page)["trail"]] == ["item", "say", "like", "dislike"]

    page.reload()
    steps(page, 4)
    assert names(page) == moved
    other = context.new_page()
    other.goto(page.url)
    steps(other, 4)
    assert names(other) == moved
    page.go_back()
    steps(page, 3)
    page.get_by_role("button", name="Undo").click()
    steps(page, 2)
    assert names(page) == changed
    page.get_by_role("button", name="Take back: make it blue").click()
    steps(page, 1)
    assert names(page) == first
    tiles(page).nth(2).click()
    assert [each["kind"] for each in asked(page)["trail"]] == ["item", "item"]
    page.get_by_role("button", name="Start again").click()
    steps(page, 0)
    assert asked(page)["trail"] == []


def test_the_page_shows_what_the_service_answers(page: Page, address: str) -> None:
    say(page, "a red dress")
    steps(page, 1)
    with ScotClient(address) as client:
        hits = client.search(edits=["a red dress"], limit=60).hits
    assert names(page) == [str(hit.payload["caption"]) for hit in hits]


def test_a_suggestion_is_a_word_that_tells_the_hits_apart(page: Page) -> None:
    say(page, "a dress")
    steps(page, 1)
    captions = names(page)
    hint = page.locator(".hint").first
    word = hint.inner_text()
    assert 0 < sum(word in each for each in captions) < len(captions)
    hint.click()
    steps(page, 2)
    assert asked(page)["trail"][1]["text"] == word


@pytest.mark.parametrize("way", ["choose", "paste", "drop", "link"])
def test_a_picture_of_ones_own(page: Page, context: BrowserContext, way: str) -> None:
    if way == "choose":
        file = {"name": "mine.png", "mimeType": "image/png", "buffer": PICTURE}
        page.get_by_label("Choose a picture").set_input_files(files=[file])  # type: ignore[list-item]
    elif way == "link":
        allowed = {"access-control-allow-origin": "*"}
        site = "https://pictures.example/mine.png"
        page.route(site, lambda route: route.fulfill(body=PICTURE, content_type="image/png", headers=allowed))
        say(page, site)
    else:
        give(page, way, PICTURE, "mine.png")
    steps(page, 1)
    assert asked(page)["trail"][0]["name"] == "mine.png"
    found = names(page)
    page.reload()
    steps(page, 1)
    assert names(page) == found
    say(page, "in green")
    steps(page, 2)

    other = context.browser.new_context()  # type: ignore[union-attr]
    receiver = other.new_page()
    receiver.goto(page.url)
    receiver.get_by_text("A picture of this trail is not in its link").wait_for()
    picker = receiver.get_by_label("Choose mine.png")
    picker.set_input_files(files=[{"name": "x.png", "mimeType": "image/png", "buffer": PICTURE}])
    picker.wait_for(state="detached")
    steps(receiver, 2)
    assert names(receiver) == names(page)
    other.close()


@pytest.mark.parametrize("bad", [b"no picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_a_picture_that_is_none_is_refused_in_words(context: BrowserContext, bad: bytes) -> None:
    page = context.new_page()
    page.goto("/")
    give(page, "paste", bad, "bad.png")
    notice = page.get_by_role("alert")
    notice.wait_for()
    assert "refused" in notice.inner_text()
    assert asked(page)["trail"] == []


def test_filters_and_variety(page: Page) -> None:
    say(page, "a dress")
    steps(page, 1)
    page.get_by_role("button", name="Options").click()
    group = page.get_by_role("group", name="colour")
    group.get_by_label("red").check()
    page.wait_for_function("() => document.querySelectorAll('.tile').length < 60")
    assert asked(page)["filters"] == {"colour": ['{"keyword":"red"}']}
    page.wait_for_selector('[aria-busy="false"] .tile')
    red = {
        str(item.payload["caption"]) for item in gallery_items() if item.payload and item.payload.get("colour") == "red"
    }
    assert set(names(page)) == red
    group.get_by_label("red").uncheck()
    plain = names(page)
    page.get_by_label("Variety").fill("0.8")
    page.wait_for_function("() => location.hash.includes('0.8')")
    page.wait_for_selector('[aria-busy="false"] .tile')
    assert sorted(names(page)) != plain
    assert names(page)[:10] != plain[:10]


def test_weights(page: Page) -> None:
    tiles(page).nth(4).click()
    steps(page, 1)
    first = names(page)
    say(page, "make it blue")
    steps(page, 2)
    page.get_by_role("button", name="Options").click()
    page.get_by_label("make it blue", exact=True).fill("0")
    page.wait_for_function("() => decodeURIComponent(location.hash).includes('\"weight\":0,')")
    page.wait_for_selector('[aria-busy="false"] .tile')
    assert names(page)[:30] == first[:30]  # an edit that is not followed at all
    page.get_by_label("less of it").check()
    assert asked(page)["trail"][1]["away"] is True


def test_composers_side_by_side(page: Page, address: str, shots: Path) -> None:
    tiles(page).nth(4).click()
    say(page, "make it blue")
    steps(page, 2)
    page.get_by_role("button", name="Options").click()
    page.get_by_label("compare two composers").check()
    page.get_by_role("combobox", name="Composer A").select_option("sum")
    page.get_by_role("combobox", name="Composer B").select_option("image_only")
    page.wait_for_function("() => document.querySelectorAll('.sides h2')[1]?.textContent.includes('image_only')")
    page.wait_for_selector('[aria-busy="false"] .tile')
    page.screenshot(path=shots / "compared.png")
    item = asked(page)["trail"][0]["id"]
    with ScotClient(address) as client:
        for side, composer in enumerate(("sum", "image_only")):
            answer = client.search(item_id=item, edits=["make it blue"], composer=composer, limit=60)
            shown = names(page, side)
            assert len(shown) > 10
            assert shown == [str(hit.payload["caption"]) for hit in answer.hits][: len(shown)]


def test_a_closer_look_says_why(page: Page, address: str, shots: Path) -> None:
    tiles(page).nth(4).click()
    say(page, "make it blue")
    steps(page, 2)
    item = asked(page)["trail"][0]["id"]
    with ScotClient(address) as client:
        hit = client.search(item_id=item, edits=["make it blue"], limit=1).hits[0]
    page.locator(".tile").first.hover()
    page.locator(".tile").first.get_by_role("button", name="Look at").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("To your words").wait_for()
    page.screenshot(path=shots / "why.png")
    meters = dialog.locator(".meter b").all_inner_texts()
    assert meters[0] == f"{hit.score:.2f}"
    assert len(meters) == 3
    assert hit.item_id in dialog.inner_text()
    dialog.get_by_role("button", name="Go on from this").click()
    steps(page, 3)
    assert asked(page)["trail"][2] == {"kind": "item", "id": hit.item_id}
