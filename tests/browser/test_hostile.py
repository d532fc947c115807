"""Captions, ids, payloads and addresses that attack; the policy of the page; what it loads, and from where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.browser.conftest import HOSTILE_CAPTION, HOSTILE_ID, PICTURES
from tests.browser.driving import all_there, asked, names, say, steps, tiles

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

SCRIPTS = Path(__file__).parents[2] / "services/web/static"
MAX_SCRIPT = 150_000  # bytes
EMPTY: dict[str, Any] = {
    "trail": [], "filters": {}, "ranges": {}, "a": "", "b": None, "diversity": 0, "group": None, "collection": "",
}  # fmt: skip
TITLE = "SCOT: search by a picture and a change"


def untouched(page: Page) -> bool:
    found = page.evaluate(
        "[document.title, document.querySelectorAll('script').length, document.querySelectorAll('b i u').length]"
    )
    return bool(found == [TITLE, 1, 0])


def test_texts_of_items_stay_texts(page: Page) -> None:
    trail = [{"kind": "item", "id": HOSTILE_ID}]
    page.goto(f"/#{quote(json.dumps({**EMPTY, 'trail': trail}))}")
    page.reload()
    steps(page, 1)
    say(page, HOSTILE_CAPTION)
    steps(page, 2)
    assert HOSTILE_CAPTION in page.locator(".said").all_inner_texts()
    page.get_by_role("button", name="Options").click()
    page.get_by_role("button", name="Undo").click()
    steps(page, 1)
    say(page, "the same")
    steps(page, 2)
    assert untouched(page)


def test_a_hostile_item_is_shown_as_it_is(page: Page) -> None:
    say(page, "script alert")
    steps(page, 1)
    count = all_there(page)
    assert count == PICTURES + 1
    hostile = page.get_by_role("button", name=f"Go on from {HOSTILE_CAPTION}", exact=True)
    for _ in range(count):
        if hostile.count():
            break
        page.keyboard.press("ArrowUp")
    hostile.focus()
    page.keyboard.press("Space")
    about = page.get_by_role("dialog").inner_text()
    assert all(each in about for each in (HOSTILE_CAPTION, HOSTILE_ID, "<i>field</i>", "<u>value</u>", "</script>"))
    assert '"><svg onload=alert(1)>.png' in about
    picture = page.get_by_role("dialog").locator("img")
    picture.wait_for()
    assert picture.evaluate("each => each.complete && each.naturalWidth > 0")
    page.keyboard.press("Escape")
    hostile.click()
    page.wait_for_selector('[aria-busy="false"] .tile')
    assert asked(page)["trail"][-1] == {"kind": "item", "id": HOSTILE_ID}
    assert untouched(page)


DAMAGED: list[Any] = [
    "damaged",
    [],
    {"trail": [{"kind": "item"}]},
    {**EMPTY, "trail": [{"kind": "item", "id": 7}]},
    {**EMPTY, "trail": [{"kind": "constructor", "id": "a"}]},
    {**EMPTY, "trail": [{"kind": "say", "text": "a" * 2001, "weight": 1, "away": False}]},
    {**EMPTY, "filters": {"colour": ["{"]}},
    {**EMPTY, "a": {}},
    {**EMPTY, "diversity": 2},
    None,
    {**EMPTY, "trail": [{"kind": "item", "id": "a", "weight": 2}]},
    {**EMPTY, "ranges": {"price": {}}},
    {**EMPTY, "ranges": {"price": {"gte": 1, "lte": "2024-01-01"}}},
    {**EMPTY, "ranges": {"added": {"gte": "2024-13-01"}}},
    {**EMPTY, "group": {"field": "colour", "size": 1.5}},
    {**EMPTY, "collection": 7},
]


def test_a_damaged_address_is_nothing(page: Page) -> None:
    read = "async (hash) => { const m = await import('/static/trail.js'); return m.fromHash(hash); }"
    assert page.evaluate(read, f"#{quote(json.dumps(EMPTY))}") == EMPTY
    for damaged in [*(quote(json.dumps(each)) for each in DAMAGED), "%7B", "%", "{}}"]:
        assert page.evaluate(read, f"#{damaged}") is None, damaged


def test_a_damaged_address_is_said_to_be_one(page: Page) -> None:
    page.goto("/#damaged")
    page.reload()
    page.get_by_text("This link is damaged").wait_for()
    tiles(page).nth(1).click()
    steps(page, 1)
    assert page.get_by_text("This link is damaged").count() == 0


def test_an_address_is_what_was_asked(page: Page) -> None:
    read = "async (asked) => { const m = await import('/static/trail.js'); return m.fromHash(m.toHash(asked)); }"
    said = {"kind": "say", "text": "größer & <b>%20", "weight": 0.35, "away": False}
    trail: list[Any] = [{"kind": "picture", "key": "1-2", "name": "mine #1.png"}, said]
    trail += [{"kind": "dislike", "id": HOSTILE_ID}]
    trail += [{"kind": "item", "id": "a", "weight": -0.5, "with": True}]
    ranges = {"price": {"gte": -1.5, "lte": 2}, "added": {"lte": "2024-02-29"}}
    full: dict[str, Any] = {"trail": trail, "filters": {"n": ['{"integer":"7"}']}, "ranges": ranges}
    full |= {"a": "sum", "b": "", "diversity": 0.5, "group": {"field": "colour", "size": 6}, "collection": "mine"}
    assert page.evaluate(read, full) == full


def test_the_policy_stops_what_is_not_the_pages_own(context: BrowserContext) -> None:
    page = context.new_page()
    response = page.goto("/")
    policy = str(response and response.headers["content-security-policy"])
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    for attack in (
        "s.setAttribute('onclick', 'document.title = 1')",
        "s.innerHTML = '<img src=x>'",
        "s.srcdoc = '<p>'",
    ):
        tried = (
            f"() => {{ const s = document.createElement('iframe'); try {{ {attack} }} catch (e) {{ return e.name }} }}"
        )
        assert page.evaluate(tried) == "TypeError"
    assert page.title() == TITLE


def test_it_asks_nobody_else_and_is_small(page: Page, url: str) -> None:
    asked_for: list[tuple[str, int]] = []
    page.on("response", lambda response: asked_for.append((response.url, len(response.body()) if response.ok else 0)))
    page.reload()
    tiles(page).nth(2).click()
    names(page)
    assert {address.split("/")[2] for address, _ in asked_for} == {url.split("/")[2]}
    scripts = {address for address, _ in asked_for if address.endswith((".js", ".mjs"))}
    sources = [each for each in SCRIPTS.rglob("*") if each.suffix in (".js", ".mjs")]
    assert len(scripts) == len(sources)
    assert sum(each.stat().st_size for each in sources) <= MAX_SCRIPT
