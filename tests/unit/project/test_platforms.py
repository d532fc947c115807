"""What runs without Linux: the client, encoders, indexing and embedded search import no module of one platform only."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scot import cli
from tests.support.source_imports import LIBRARY, ROOT, imported, modules

ONE_PLATFORM = {"fcntl", "grp", "msvcrt", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty", "winreg"}

# Only SCOT is refused these modules: other packages have other ways on other platforms.
HIDE = f"""
import builtins, os, signal, sys
real = builtins.__import__
def hiding(name, globals=None, locals=None, fromlist=(), level=0):
    ours = str((globals or {{}}).get("__name__", "")).partition(".")[0] in {set(LIBRARY)}
    if ours and name.partition(".")[0] in {ONE_PLATFORM}:
        raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
    return real(name, globals, locals, fromlist, level)
builtins.__import__ = hiding
for module, names in ((os, ("getloadavg",)), (signal, ("SIGHUP",))):
    for name in names:
        delattr(module, name)
"""
SEARCH = """
import asyncio, io, sys, tempfile
from pathlib import Path
from PIL import Image
import ray_jobs.index, scot.client, scot.composers, scot.machine, scot.training.loop
from scot import cli
from scot.data.captioned import open_source
from scot.encoders import load_encoder
from scot.index.gallery import StoreGallery
from scot.index.store import GalleryStore
from scot.index.sync import sync

for name in cli.COMMANDS:
    cli.config_of(name)

def image(shade):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()

async def search(folder):
    encoder, store = load_encoder("tiny", device="cpu"), GalleryStore.open(path=Path(folder, "store"))
    for shade in (0, 120, 240):
        Path(folder, f"{shade}.png").write_bytes(image(shade))
    await sync([open_source(folder, captions="optional")], StoreGallery(store, "gallery", encoder))
    query = encoder.encode_images([Image.open(io.BytesIO(image(240)))])[0]
    print((await store.search("gallery", query, limit=1))[0].item_id.removesuffix(".png"), scot.machine.machine() != "")
    await store.close()

with tempfile.TemporaryDirectory() as folder:
    asyncio.run(search(folder))
"""


def test_no_module_imports_what_one_platform_has_when_it_is_loaded() -> None:
    loaded = {name: imported(path, functions=False) for name, path in modules(*LIBRARY).items()}
    tops = {name: {source.partition(".")[0] for source, _ in pairs} for name, pairs in loaded.items()}
    assert {name: found & ONE_PLATFORM for name, found in tops.items() if found & ONE_PLATFORM} == {}


def test_embedded_search_works_without_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HIDE + SEARCH], cwd=ROOT, capture_output=True, text=True, check=False, timeout=200
    )
    assert (done.stdout.split(), done.returncode) == (["240", "True"], 0), done.stderr


@pytest.mark.parametrize("name", ["serve", "edits serve", "web", "demo"])
def test_what_does_not_run_on_windows_says_so(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert cli.main(name.split()) == 1
    assert capsys.readouterr().err == (
        f"scot {name} needs Linux or macOS; on Windows, run it in WSL or in a container\n"
    )
