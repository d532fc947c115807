"""A chunk of captions to its result: counts captions on which the engine fails, waits for an unavailable engine."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from scot.edits import chunk_generator
from scot.edits.chunk_generator import ChunkGenerator, GenerationConfig
from scot.edits.chunks import Chunk, ChunkResults, Tally
from scot.edits.record import CaptionEdits, EditRecord
from scot.errors import Unavailable

CHUNK = Chunk(0, ("a", "b", "c"), ("one cat", "POISON", "three cats"))


class Generator:
    """Generates one edit of each caption, after calling ``trouble``, which may raise."""

    generator, prompt_version = "test", "0"

    def __init__(self, trouble: Callable[[Sequence[str]], None]) -> None:
        self._trouble = trouble
        self.calls = 0

    async def generate(
        self, captions: Sequence[str], *, count: int, seed: int, image_ids: Sequence[str] = ()
    ) -> list[CaptionEdits]:
        self.calls += 1
        self._trouble(captions)
        record = EditRecord("addition", "add a dog", "a cat and a dog", "cat")
        return [CaptionEdits((record,), Counter(), 10, 5) for _ in captions]

    async def check(self) -> None: ...

    async def close(self) -> None: ...


def generated(
    monkeypatch: pytest.MonkeyPatch, output: Path, trouble: Callable[[Sequence[str]], None], patience_s: float = 60.0
) -> tuple[Tally, Generator]:
    generator = Generator(trouble)
    monkeypatch.setattr(chunk_generator, "load_generator", lambda *_: generator)
    config = GenerationConfig(patience_s=patience_s)
    return asyncio.run(ChunkGenerator(config, str(output), "run", "test", "0").generate(CHUNK)), generator


def test_a_poisoned_caption_stops_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def trouble(captions: Sequence[str]) -> None:
        if "POISON" in captions:
            raise ZeroDivisionError

    tally, _ = generated(monkeypatch, tmp_path, trouble)
    assert tally == Tally(3, 2, Counter(failed=1), 20, 10, edited=2, short=2, examples={"failed": ["POISON"]})
    assert ChunkResults(str(tmp_path), "run").tally(CHUNK) == tally
    (table,) = ChunkResults(str(tmp_path), "run").tables(1)
    assert table["image_id"].to_pylist() == ["a", "c"]


def test_an_engine_that_comes_back_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = iter([Unavailable("away"), None])

    def trouble(captions: Sequence[str]) -> None:
        if error := next(answers):
            raise error

    tally, generator = generated(monkeypatch, tmp_path, trouble)
    assert tally.accepted == 3
    assert generator.calls == 2


def test_an_engine_that_stays_unavailable_is_reported_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def trouble(captions: Sequence[str]) -> None:
        raise Unavailable("the endpoint did not answer")

    with pytest.raises(Unavailable, match="the endpoint did not answer"):
        generated(monkeypatch, tmp_path, trouble, patience_s=0.0)
    assert ChunkResults(str(tmp_path), "run").tally(CHUNK) is None
