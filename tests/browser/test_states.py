"""What the page shows when the service needs a key, is busy, slow, gone or empty; and how it goes on."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scot.client import ScotClient
from scot.keys import ApiKey, digest_of
from services.search.settings import from_args
from tests.browser.conftest import gallery_items
from tests.browser.driving import names, say, steps, tiles
from tests.support.random_encoder import save_random_encoder
from tests.support.served_here import served_here
from tests.support.served_web import served_web

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

KEYS = {
    "reader": ApiKey(digest_of("reader"), "reader"),
    "writer": ApiKey(digest_of("writer"), "writer", "read-write"),
    "slow": ApiKey(digest_of("slow"), "slow", "read", 0.001, 3),
}


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.txt"


@pytest.fixture(scope="module")
def locked(keys_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gallery that needs a key."""
    write_keys(keys_file, *KEYS)
    folder = tmp_path_factory.mktemp("locked")
    places = {"store": str(folder / "qdrant"), "thumbnails": str(folder / "t"), "api_keys": str(keys_file)}
    encoder = save_random_encoder(folder / "encoder")
    with served_here(from_args({"encoder": encoder, "threads": 1, **places})) as address, served_web(address) as url:
        with ScotClient(address, api_key="writer") as client:
            client.upsert(gallery_items()[:12])
        yield url


def write_keys(path: Path, *names: str) -> None:
    path.write_text("".join(f"{KEYS[name].line}\n" for name in names), encoding="utf-8")


@contextmanager
def at(browser: Browser, url: str) -> Iterator[Page]:
    with browser.new_context(base_url=url, viewport={"width": 1000, "height": 700}) as context:
        page = context.new_page()
        page.goto("/")
        yield page


def give_key(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Use this key").click()


def test_a_key_is_asked_for_used_and_kept_in_the_tab(browser: Browser, locked: str, shots: Path) -> None:
    with at(browser, locked) as page:
        page.get_by_label("API key").wait_for()
        page.screenshot(path=shots / "key.png")
        give_key(page, "forged")
        page.get_by_text("this API key is not known").first.wait_for()
        give_key(page, "reader")
        tiles(page).nth(3).wait_for()
        page.wait_for_function("() => document.querySelector('.tile img')?.naturalWidth > 0")
        assert page.locator(".tile img").first.evaluate("each => each.src").startswith("blob:")
        page.reload()
        tiles(page).first.wait_for()
        kept = page.evaluate("[Object.keys(localStorage), document.cookie, sessionStorage.getItem('scot-key')]")
        assert kept == [[], "", "reader"]
        assert "reader" not in page.url
        other = page.context.new_page()
        other.goto("/")
        other.get_by_label("API key").wait_for()


def test_a_key_that_expires_is_asked_for_again(browser: Browser, locked: str, keys_file: Path) -> None:
    with at(browser, locked) as page:
        give_key(page, "reader")
        tiles(page).nth(2).click()
        steps(page, 1)
        write_keys(keys_file, "writer")
        try:
            field = page.get_by_label("API key")
            for number in range(60):  # the service reads the file again after a moment
                say(page, f"change {number}") if number < 10 else page.wait_for_timeout(500)
                page.wait_for_timeout(300)
                if field.count():
                    break
            trail = page.locator(".step").count()
            give_key(page, "writer")
            field.wait_for(state="detached")
            steps(page, trail)
            assert len(names(page)) > 1
        finally:
            write_keys(keys_file, *KEYS)


def test_a_rate_is_told(browser: Browser, locked: str) -> None:
    with at(browser, locked) as page:
        give_key(page, "slow")
        page.get_by_role("button", name="Try again").or_(tiles(page).first).first.wait_for()
        for number in range(4):
            say(page, f"a {number}")
        page.get_by_text("Too many requests").wait_for()


def test_a_service_that_is_gone_comes_back(browser: Browser, tmp_path: Path, shots: Path) -> None:
    settings = from_args({
        "encoder": save_random_encoder(tmp_path / "encoder"), "threads": 1,
        "store": str(tmp_path / "qdrant"), "thumbnails": str(tmp_path / "t"),
    })  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    with served_web(f"127.0.0.1:{port}") as url, at(browser, url) as page:
        page.get_by_role("heading", name="The search service does not answer").wait_for()
        page.screenshot(path=shots / "gone.png")
        with served_here(settings, port=port) as address:
            with ScotClient(address) as client:
                client.upsert(gallery_items()[:6])
            again = page.get_by_role("button", name="Try again")
            for _ in range(20):
                if not again.count():
                    break
                again.click()
                page.wait_for_timeout(1000)  # gRPC waits a while before it connects again
            assert len(names(page)) == 6


def test_a_service_that_is_slow_is_said_to_be(browser: Browser, shots: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,  # takes the connection and says nothing
        served_web(f"127.0.0.1:{silent.getsockname()[1]}", timeout_s=6) as url,
        at(browser, url) as page,
    ):
        say(page, "a red dress")
        page.get_by_text("Still searching").wait_for()
        page.screenshot(path=shots / "slow.png")
        page.get_by_role("button", name="Stop").click()
        page.get_by_text("Still searching").wait_for(state="detached")
        page.get_by_role("button", name="Search again").wait_for()
        say(page, "a blue dress")
        page.get_by_role("button", name="Try again").wait_for()


def test_offline_and_back(context: BrowserContext) -> None:
    page = context.new_page()
    page.goto("/")
    say(page, "a dress")
    steps(page, 1)
    found = names(page)
    context.set_offline(True)
    say(page, "in blue")
    page.get_by_text("No connection").wait_for()
    context.set_offline(False)
    page.get_by_role("button", name="Undo").click()
    steps(page, 1)
    assert names(page) == found


def test_an_empty_gallery_and_an_unknown_item(browser: Browser, tmp_path: Path) -> None:
    settings = {"encoder": save_random_encoder(tmp_path / "e"), "threads": 1, "store": str(tmp_path / "q")}
    with served_here(from_args(settings)) as address, served_web(address) as url, at(browser, url) as page:
        page.get_by_text("Show a picture, say what to change").wait_for()
        say(page, "anything")
        steps(page, 1)
        page.get_by_text("No pictures").wait_for()
