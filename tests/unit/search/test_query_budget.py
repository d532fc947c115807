"""What one query costs, in counts: no time is asserted here (benchmarks/budget.py measures it)."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scot.client import NewItem, ScotClient
from scot.index.embedded import EmbeddedEngine
from services.search.gateway import context, search_service
from services.search.settings import from_args
from tests.support import served_here as serving
from tests.support.random_encoder import save_random_encoder

HITS = 5


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("budget")
    settings = {"encoder": save_random_encoder(folder / "encoder"), "threads": 1, "store": str(folder / "qdrant")}
    with serving.served_here(from_args(settings)) as address:
        with ScotClient(address) as client:
            rows = np.random.default_rng(0).normal(size=(20, client.info().dim)).astype(np.float32)
            client.upsert([NewItem(f"item-{n}", vector=row, payload={"n": n}) for n, row in enumerate(rows)])
        yield address


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each costly step runs."""
    counted: Counter[str] = Counter()

    def count(owner: Any, name: str) -> None:
        function: Callable[..., Any] = getattr(owner, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            counted[name] += 1
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    for owner, names in {
        context: ["decode_image", "preprocess"],
        search_service: ["parse_query", "payload_to_proto", "vector_message"],
        EmbeddedEngine: ["query", "retrieve", "describe", "names", "scroll", "count"],
    }.items():
        for name in names:
            count(owner, name)

    def method(handle: Any, name: str) -> Any:
        found = original(handle, name)

        def remote(*args: Any, **kwargs: Any) -> Any:
            counted["handle calls"] += 1
            return found.remote(*args, **kwargs)

        return SimpleNamespace(remote=remote)

    original = serving.Handle.__getattr__
    monkeypatch.setattr(serving.Handle, "__getattr__", method)
    return counted


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_search_by_a_picture_and_an_edit(target: str, counts: Counter[str]) -> None:
    with ScotClient(target) as client:
        client.search(image=png("red"), edits=["make it blue"], limit=HITS)  # the encoder is known after this
        counts.clear()
        assert len(client.search(image=png("red"), edits=["make it green"], limit=HITS).hits) == HITS
    assert counts == {
        "parse_query": 1,
        "preprocess": 1,
        "decode_image": 1,
        "handle calls": 1,
        "query": 1,
        "payload_to_proto": HITS,
    }


def test_a_search_by_an_item(target: str, counts: Counter[str]) -> None:
    with ScotClient(target) as client:
        client.search(item_id="item-3", edits=["make it blue"], limit=HITS)
        counts.clear()
        client.search(item_id="item-3", edits=["make it green"], limit=HITS)
    assert counts == {"parse_query": 1, "retrieve": 1, "handle calls": 1, "query": 1, "payload_to_proto": HITS}


def test_the_next_page_of_a_search(target: str, counts: Counter[str]) -> None:
    with ScotClient(target) as client:
        first = client.search(image=png("blue"), edits=["make it red"], limit=HITS)
        counts.clear()
        second = client.search(image=png("blue"), edits=["make it red"], limit=HITS, offset=HITS)
        third = client.search(image=png("blue"), edits=["make it red"], limit=HITS, offset=2 * HITS)
    assert len({hit.item_id for page in (first, second, third) for hit in page.hits}) == 3 * HITS
    assert counts.pop("handle calls") == 1  # for both: which composer answers
    assert counts == {"parse_query": 2, "query": 2, "payload_to_proto": 2 * HITS}
