"""GetPictures: the thumbnails of stored images through the real gateway, and the contact sheet made of them."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scot.cli import main
from scot.client import AsyncScotClient, CollectionInfo, NewItem, Origin, ScotClient
from scot.errors import InvalidInput, NotFound
from services.search.local.config import LocalConfig
from services.search.rpc.limits import MAX_PICTURES
from services.search.settings import from_args
from tests.support.random_encoder import save_random_encoder
from tests.support.served_here import served_here


def image(color: tuple[int, int, int], side: int = 400) -> Image.Image:
    return Image.new("RGB", (side, side // 2), color)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    encoder = save_random_encoder(folder / "encoder")
    places = {"store": str(folder / "qdrant"), "thumbnails": str(folder / "thumbnails")}
    with served_here(from_args({"encoder": encoder, "threads": 1, **places})) as target:
        with ScotClient(target) as client:
            origin = Origin("/pictures of mine", "summer/red one.png")
            items = [
                NewItem("red", image=image((200, 0, 0)), payload={"caption": "[a] red one"}, origin=origin),
                NewItem("../blue", image=image((0, 0, 200), 40)),
                NewItem("vector", vector=np.ones(32)),
                NewItem("broken", image=b"not an image"),
            ]
            assert [each.item_id for each in client.upsert(items).refused] == ["broken"]
        yield target


@pytest.fixture
def client(address: str) -> Iterator[ScotClient]:
    with ScotClient(address) as client:
        yield client


def test_an_image_comes_back_small(client: ScotClient) -> None:
    found = client.get_pictures(["../blue", "red", "vector", "broken", "nobody", "red"])
    assert list(found) == ["../blue", "red"]
    assert {each.content_type for each in found.values()} == {"image/webp"}
    images = {name: Image.open(io.BytesIO(each.image)).convert("RGB") for name, each in found.items()}
    assert {name: each.size for name, each in images.items()} == {"../blue": (40, 20), "red": (256, 128)}
    assert np.abs(np.subtract(images["red"].getpixel((9, 9)), (200, 0, 0))).max() < 8


def test_the_collections_of_the_store_are_listed(
    client: ScotClient, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client.upsert([NewItem("a", vector=np.ones(32))], collection="another")
    info = client.info()
    found = client.collections()
    assert found == (client.info(collection="another"), info)
    assert [(each.collection, each.items, each.dim) for each in found] == [("another", 1, 32), ("gallery", 3, 32)]

    async def asynchronously() -> tuple[CollectionInfo, ...]:
        async with AsyncScotClient(address) as other:
            return await other.collections()

    assert asyncio.run(asynchronously()) == found
    assert main(["collections", "list", "--served", "--address", address]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["another", "1", info.encoder, "32", "0"]


def test_wrong_requests_are_refused_as_those_of_get(client: ScotClient) -> None:
    with pytest.raises(InvalidInput, match="item_ids: give at least one"):
        client.get_pictures([])
    with pytest.raises(InvalidInput, match=f"item_ids: {MAX_PICTURES + 1} are more than {MAX_PICTURES}"):
        client.get_pictures([str(number) for number in range(MAX_PICTURES + 1)])
    with pytest.raises(InvalidInput, match="collection: a name"):
        client.get_pictures(["red"], collection="../thumbnails")
    with pytest.raises(NotFound):
        client.get_pictures(["red"], collection="nowhere")


def test_nothing_outside_the_folder_is_read(client: ScotClient, folder: Path) -> None:
    (folder / "secret.webp").write_bytes(b"RIFF\4\0\0\0WEBP")
    assert client.get_pictures(["../../secret", "../../../secret", str(folder / "secret")]) == {}


def test_a_deleted_item_takes_its_thumbnail_along(client: ScotClient, folder: Path) -> None:
    before = sorted((folder / "thumbnails").rglob("*.webp"))
    client.upsert([NewItem("short-lived", image=image((0, 200, 0)))])
    assert list(client.get_pictures(["short-lived"])) == ["short-lived"]
    client.delete(["short-lived"])
    assert client.get_pictures(["short-lived"]) == {}
    assert sorted((folder / "thumbnails").rglob("*.webp")) == before


def test_a_new_vector_keeps_the_thumbnail_and_a_new_image_replaces_it(client: ScotClient) -> None:
    client.upsert([NewItem("changing", image=image((0, 200, 0)))])
    client.upsert([NewItem("changing", vector=np.ones(32))])
    first = client.get_pictures(["changing"])["changing"]
    client.upsert([NewItem("changing", image=image((200, 200, 0)))])
    assert client.get_pictures(["changing"])["changing"].image != first.image
    client.delete(["changing"])


def test_a_contact_sheet_needs_no_folder(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    sheet = tmp_path / "hits.png"
    arguments = ["search", "--item-id", "red", "--edit", "blue", "--sheet", str(sheet), "--address", address]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert f"contact sheet: {sheet}" in said.out
    assert said.err == "1 of the 2 hits have no thumbnail\n"  # the item that was stored with a vector
    colors = {color for _, color in Image.open(sheet).convert("RGB").getcolors(10**6) or []}
    for wanted in ((200, 0, 0), (0, 0, 200)):
        assert min(np.abs(np.subtract(color, wanted)).max() for color in colors) < 8


def in_terminal(answer: bytes, *arguments: str) -> tuple[int, bytes]:
    """The exit status of ``scot``, and what it writes to a terminal that answers ``answer`` when asked what it can."""
    terminal, process_side = pty.openpty()
    termios.tcsetwinsize(process_side, (24, 80))
    command = [sys.executable, "-m", "scot.cli", *arguments]
    process = subprocess.Popen(command, stdin=process_side, stdout=process_side, stderr=process_side)
    os.close(process_side)
    said = b""
    while True:
        try:
            said += os.read(terminal, 65_536)
        except OSError:  # the other side is closed
            break
        if said.endswith(b"\x1b[c"):
            os.write(terminal, answer)
    os.close(terminal)
    return process.wait(), said


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_with_sixel_shows_the_sheet(address: str) -> None:
    code, said = in_terminal(
        b"\x1b[?62;4;6c", "search", "--item-id", "red", "--edit", "blue", "--show", "--address", address
    )
    assert code == 0, said[-2000:]
    assert re.search(rb"\x1bP[0-9;]*q", said)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_without_images_says_so(address: str) -> None:
    code, said = in_terminal(b"\x1b[?62;6c", "search", "--edit", "blue", "--show", "--address", address)
    assert code == 1
    assert b"this terminal can show no images" in said


@pytest.mark.parametrize(
    ("more", "code", "error"), [([], 1, "--show needs a terminal"), (["--json"], 2, "contradicts --json")]
)
def test_show_without_a_terminal(more: list[str], code: int, error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "--edit", "blue", "--show", *more]) == code
    assert error in capsys.readouterr().err


def test_the_table_shows_where_an_image_is(
    address: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["search", "--edit", "red", "--address", address]) == 0
    said = capsys.readouterr().out
    assert "summer/red one.png" in said
    assert "[a] red one" in said  # and no markup of the terminal's


def test_a_service_without_thumbnails_has_none(tmp_path: Path) -> None:
    encoder = save_random_encoder(tmp_path / "encoder")
    with (
        served_here(from_args({"encoder": encoder, "store": str(tmp_path / "qdrant"), "threads": 1})) as target,
        ScotClient(target) as client,
    ):
        client.upsert([NewItem("red", image=image((200, 0, 0)))])
        assert client.get_pictures(["red"]) == {}
    assert not list(tmp_path.rglob("*.webp"))


def test_the_workspace_has_thumbnails_unless_told_otherwise(tmp_path: Path) -> None:
    assert LocalConfig(data=tmp_path).settings().thumbnails == str(tmp_path.resolve() / "thumbnails")
    assert LocalConfig(data=tmp_path, no_thumbnails=True).settings().thumbnails is None
