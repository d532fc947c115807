"""The options: ranges, groups, pictures together with weights, another collection; each as the service answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scot.client import DatetimeRange, Filter, NewItem, Range, Reference, ScotClient, SearchResult
from tests.browser.conftest import gallery_items
from tests.browser.driving import asked, give, names, say, steps, tiles

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

SHOWN = 60


def captions(result: SearchResult) -> list[str]:
    return [str(hit.payload["caption"]) for hit in result.hits]


def answered(page: Page, *said: str) -> None:
    """Wait until the address says it, and the answer is there."""
    for each in said:
        page.wait_for_function("each => decodeURIComponent(location.hash).includes(each)", arg=each)
    page.wait_for_selector('[aria-busy="false"] .tile')


def options(page: Page) -> Locator:
    page.get_by_role("button", name="Options").click()
    return page.get_by_role("complementary", name="Options")


def set_to(box: Locator, value: str) -> None:
    box.fill(value)
    box.blur()


def test_ranges_of_numbers_and_days(page: Page, address: str, shots: Path) -> None:
    say(page, "a dress")
    steps(page, 1)
    panel = options(page)
    price, added = (panel.get_by_role("group", name=name, exact=True) for name in ("price", "added"))
    assert price.get_by_label("from").get_attribute("placeholder") == "10"
    set_to(price.get_by_label("from"), "20.5")
    answered(page, '{"gte":20.5}')
    set_to(price.get_by_label("to"), "40")
    answered(page, '{"gte":20.5,"lte":40}')
    set_to(added.get_by_label("from"), "2024-03-10")
    answered(page, '{"gte":"2024-03-10"}')
    set_to(added.get_by_label("to"), "2024-08-19")
    answered(page, '{"gte":"2024-03-10","lte":"2024-08-19"}')
    page.screenshot(path=shots / "ranges.png")
    days = DatetimeRange("added", gte=datetime(2024, 3, 10, tzinfo=UTC), lt=datetime(2024, 8, 20, tzinfo=UTC))
    chosen = Filter(must=[Range("price", gte=20.5, lte=40), days])
    with ScotClient(address) as client:
        expected = captions(client.search(edits=["a dress"], filter=chosen, limit=SHOWN))
    inside = [item for item in gallery_items() if fits(item)]
    assert names(page) == expected
    assert sorted(expected) == sorted(str((item.payload or {})["caption"]) for item in inside)
    page.reload()
    assert names(page) == expected
    options(page)
    price.get_by_label("from").fill("1000")
    page.evaluate("dispatchEvent(new PopStateEvent('popstate'))")  # what else is drawn leaves what is being written
    page.wait_for_selector('[aria-busy="false"] .tile')
    assert price.get_by_label("from").input_value() == "1000"
    price.get_by_label("from").blur()
    page.get_by_role("button", name="Without filters").click()
    answered(page)
    assert "ranges" not in asked(page)


def fits(item: NewItem) -> bool:
    payload: Any = item.payload
    return 20.5 <= payload.get("price", 0) <= 40 and "2024-03-10" <= payload["added"] <= "2024-08-19"


@pytest.mark.parametrize(("size", "label"), [(1, "the best of each"), (6, "six of each")])
def test_groups(page: Page, address: str, shots: Path, size: int, label: str) -> None:
    say(page, "a dress")
    steps(page, 1)
    panel = options(page)
    panel.get_by_label("Group by").select_option("kind")
    panel.get_by_label("Show").select_option(label)
    answered(page, f'{{"field":"kind","size":{size}}}')
    page.wait_for_selector(".value" if size == 1 else ".group")
    page.screenshot(path=shots / f"groups-{size}.png")
    with ScotClient(address) as client:
        result = client.search(edits=["a dress"], group_by="kind", group_size=size, limit=SHOWN)
    shown = names(page)
    assert shown == captions(result)[: len(shown)]
    assert len(shown) >= min(5 * size, 12)
    values = page.locator(".value" if size == 1 else ".group").all_inner_texts()
    assert values == [str(group.value) for group in result.groups][: len(values)]
    assert panel.get_by_label("Variety").is_disabled()


def test_pictures_together_and_away(page: Page, address: str, shots: Path) -> None:
    tiles(page).nth(4).click()
    steps(page, 1)
    say(page, "make it blue")
    steps(page, 2)
    page.locator(".tile").nth(7).hover()
    page.locator(".tile").nth(7).get_by_role("button", name="Together with").click()
    steps(page, 3)
    first, _, second = asked(page)["trail"]
    assert second == {"kind": "item", "id": second["id"], "with": True}
    assert names(page) == asked_for(address, [first["id"], second["id"]], [1, 1])
    panel = options(page)
    weight = panel.get_by_label(f"Weight of Together with {second['id']}")
    weight.fill("-0.5")
    answered(page, '"weight":-0.5')
    page.screenshot(path=shots / "together.png")
    shown = names(page)
    assert len(shown) > 30
    assert shown == asked_for(address, [first["id"], second["id"]], [1, -0.5])[: len(shown)]
    least = panel.get_by_label(f"Weight of From this picture {first['id']}").get_attribute("min")
    assert float(least or 0) > 0  # one has to be moved towards
    page.get_by_role("button", name=f"Take back: From this picture {first['id']}").click()
    steps(page, 2)
    assert asked(page)["trail"][1].get("weight") is None
    page.go_back()
    steps(page, 3)
    page.get_by_role("button", name="With the picture before").click()  # no longer
    steps(page, 3)
    answered(page, '"with":false')
    assert page.get_by_text("Your pictures together").count() == 0


def asked_for(address: str, ids: Sequence[str], weights: Sequence[float]) -> list[str]:
    references = [Reference(item_id=each, weight=weight) for each, weight in zip(ids, weights, strict=True)]
    with ScotClient(address) as client:
        return captions(client.search(references=references, edits=["make it blue"], limit=SHOWN))


def test_two_pictures_of_ones_own_together(page: Page, address: str) -> None:
    one, other = (gallery_items()[place].image or b"" for place in (3, 9))
    give(page, "paste", one, "one.png")
    steps(page, 1)
    give(page, "paste", other, "other.png")
    steps(page, 2)
    page.get_by_role("button", name="With the picture before").click()
    answered(page, '"with":true')
    with ScotClient(address) as client:
        expected = captions(client.search(references=[Reference(image=one), Reference(image=other)], limit=SHOWN))
    assert names(page)[:30] == expected[:30]


def test_another_collection(page: Page, address: str) -> None:
    few = gallery_items()[:7]
    with ScotClient(address) as client:
        assert client.upsert(few, collection="few").refused == ()
    say(page, "a dress")
    steps(page, 1)
    tiles(page).nth(2).click()
    steps(page, 2)
    panel = options(page)
    panel.get_by_text(re.compile(r"\d+ pictures")).wait_for()
    choice = panel.get_by_label("Collection")
    assert {"gallery", "few"} <= set(choice.locator("option").all_inner_texts())
    choice.select_option("few")
    panel.get_by_text("7 pictures").wait_for()
    steps(page, 1)  # the item is of the other collection
    answered(page, '"collection":"few"')
    assert sorted(names(page)) == sorted(str((item.payload or {})["caption"]) for item in few)
    source = page.locator(".tile img").first.get_attribute("src")
    assert source is not None
    assert source.endswith("&collection=few")
    page.locator(".tile").first.hover()
    page.locator(".tile").first.get_by_role("button", name="Look at").click()
    page.get_by_text("To your words").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Start again").click()
    steps(page, 0)
    page.wait_for_function("() => document.querySelectorAll('.tile').length === 7")
    choice.select_option("gallery")
    page.wait_for_function("() => document.querySelectorAll('.tile').length > 30")
    assert page.url.endswith("/")


def test_a_collection_is_written_where_the_service_lists_none(context: BrowserContext, address: str) -> None:
    with ScotClient(address) as client:
        assert client.upsert(gallery_items()[:3], collection="three").refused == ()
    page = context.new_page()
    page.route("**/v1/list-collections", lambda route: route.fulfill(status=404, json={"detail": "no such method"}))
    page.goto("/")
    panel = options(page)
    panel.get_by_text(re.compile(r"\d+ pictures")).wait_for()
    field = panel.get_by_role("textbox", name="Collection")
    assert field.get_attribute("placeholder") == "gallery"
    set_to(field, "three")
    panel.get_by_text("3 pictures").wait_for()
    page.wait_for_function("() => document.querySelectorAll('.tile').length === 3")
