"""The programs of examples/python, each run against a real service."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scot.client import ScotClient
from tests.examples.conftest import EXAMPLES, REFUSED, ROOT, Service, run


def output(service: Service, script: str, *arguments: object, folder: Path) -> list[str]:
    """The lines that a program prints."""
    environment = {**service.environment, "PYTHONPATH": str(ROOT)}
    done = run([sys.executable, EXAMPLES / "python" / script, *arguments], environment=environment, folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.fixture
def without_shirt(service: Service) -> Iterator[None]:
    """What search.py stores is gone after the test."""
    yield
    with ScotClient(service.address) as client:
        assert client.delete(["shirt-1"]) == 1


@pytest.mark.usefixtures("without_shirt")
def test_search_stores_finds_and_streams(service: Service, tmp_path: Path) -> None:
    (target,) = service.upload.targets
    first, streamed, refused = output(service, "search.py", service.picture, service.upload.edit, folder=tmp_path)
    composer, _, hits = first.split(" ", 2)
    assert composer == "tiny-1"
    assert {"shirt-1", target} < {item_id for item_id, _ in ast.literal_eval(hits)}
    assert ast.literal_eval(streamed)[0] == target  # shirt-1 is the reference of this one
    assert refused == REFUSED
    with ScotClient(service.address) as client:
        assert client.get(["shirt-1"])["shirt-1"].payload == {"price": 20}


def test_a_conversation_goes_on_and_back(service: Service, tmp_path: Path) -> None:
    arguments = (service.query.reference_id, service.query.edit, "make it blue")
    lines = output(service, "conversation.py", *arguments, folder=tmp_path)
    said = dict(line.split(": ", 1) for line in lines)
    assert said["found"] in service.query.targets
    assert said["then"] not in (said["found"], service.query.reference_id)
    assert {size: len(hits) for size, hits in ast.literal_eval(said["by size"]).items()} == {"S": 2, "M": 2, "L": 2}
    assert sum(ast.literal_eval(said["sizes"]).values()) == 59
    assert said["undone"] == said["found"]


def test_several_texts_at_once(service: Service, tmp_path: Path) -> None:
    texts = ["a red shirt", "a blue dress"]
    lines = output(service, "concurrent_searches.py", *texts, folder=tmp_path)
    with ScotClient(service.address) as client:
        found = [[hit.item_id for hit in client.search(edits=text, limit=3).hits] for text in texts]
    assert lines == [f"{text}: {ids}" for text, ids in zip(texts, found, strict=True)]


def test_openais_client_embeds_texts_and_a_picture(service: Service, tmp_path: Path) -> None:
    pytest.importorskip("openai", reason="the extra `edits` is not installed")
    texts = ["a red shirt", "a blue dress"]
    lines = output(service, "embeddings.py", service.picture, *texts, folder=tmp_path)
    with ScotClient(service.address) as client:
        picture, *vectors = client.encode(images=[service.picture], texts=texts).vectors
    assert lines == [f"{picture @ vector:.3f} {text}" for vector, text in zip(vectors, texts, strict=True)]
