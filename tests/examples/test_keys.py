"""The programs send the key of SCOT_API_KEY, and say what a service with keys answers without it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scot.client import NewItem, ScotClient
from scot.keys import ApiKey, digest_of
from services.search.settings import from_args
from tests.examples.conftest import EXAMPLES, ROOT, run
from tests.support.drawn_items import png
from tests.support.random_encoder import save_random_encoder
from tests.support.served_here import served_here
from tests.support.served_web import served_web

PROGRAMS = [
    pytest.param([sys.executable, "python/concurrent_searches.py", "a red shirt"], "Unauthenticated", id="python"),
    pytest.param(
        [sys.executable, "python/embeddings.py", "shirt.png", "a red shirt"], "AuthenticationError", id="openai"
    ),
    pytest.param(["node", "node/http.js", "shirt.png", "make it blue"], "401 UNAUTHENTICATED", id="node"),
]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables of a service that needs keys."""
    folder = tmp_path_factory.mktemp("locked")
    (folder / "keys.txt").write_text(f"{ApiKey(digest_of('secret'), 'shop', 'read-write').line}\n", encoding="utf-8")
    places = {"store": str(folder / "qdrant"), "thumbnails": str(folder / "thumbnails")}
    settings = {"encoder": save_random_encoder(folder / "encoder"), "api_keys": str(folder / "keys.txt"), **places}
    with served_here(from_args({"threads": 1, **settings})) as address, served_web(address) as url:
        with ScotClient(address, api_key="secret") as client:
            red = Image.new("RGB", (32, 32), "red")
            assert client.upsert([NewItem("a", png(red), payload={"caption": "red", "price": 1})]).refused == ()
        yield {"SCOT_ADDRESS": address, "SCOT_URL": url, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(("command", "refusal"), PROGRAMS)
def test_a_key_is_sent(locked: dict[str, str], command: list[str], refusal: str, tmp_path: Path) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    (tmp_path / "shirt.png").write_bytes(png(Image.fromarray(noise)))
    program = [command[0], EXAMPLES / command[1], *command[2:]]
    allowed = run(program, environment={**locked, "SCOT_API_KEY": "secret"}, folder=tmp_path)
    assert (allowed.returncode, allowed.stderr) == (0, "")
    refused = run(program, environment={**locked, "SCOT_API_KEY": ""}, folder=tmp_path)
    assert refused.returncode == 1
    assert refusal in refused.stderr
