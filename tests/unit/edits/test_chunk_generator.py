"""A chunk of captions to a part: a poisoned caption is counted, an engine that is away is waited for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from scot.edits import chunk_generator
from scot.edits.chunk_generator import ChunkGenerator, WriterConfig
from scot.edits.chunk_results import ChunkResults, Tally
from scot.edits.chunks import Chunk
from scot.edits.record import CaptionEdits, EditRecord
from scot.errors import Unavailable

CHUNK = Chunk(0, ("a", "b", "c"), ("one cat", "POISON", "three cats"))


class Writer:
    """Writes one edit of each caption, after ``trouble`` had its say."""

    generator, prompt_version = "test", "0"

    def __init__(self, trouble: Callable[[Sequence[str]], None]) -> None:
        self._trouble = trouble
        self.calls = 0

    async def write(self, captions: Sequence[str], *, count: int, seed: int) -> list[CaptionEdits]:
        self.calls += 1
        self._trouble(captions)
        record = EditRecord("addition", "add a dog", "a cat and a dog", "cat")
        return [CaptionEdits((record,), Counter(), 10, 5) for _ in captions]

    async def check(self) -> None: ...

    async def close(self) -> None: ...


def written(
    monkeypatch: pytest.MonkeyPatch, output: Path, trouble: Callable[[Sequence[str]], None], patience_s: float = 60.0
) -> tuple[Tally, Writer]:
    writer = Writer(trouble)
    monkeypatch.setattr(chunk_generator, "load_generator", lambda *_: writer)
    config = WriterConfig(patience_s=patience_s)
    return asyncio.run(ChunkGenerator(config, str(output), "run", "test", "0").write(CHUNK)), writer


def test_a_poisoned_caption_stops_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def trouble(captions: Sequence[str]) -> None:
        if "POISON" in captions:
            raise ZeroDivisionError

    tally, _ = written(monkeypatch, tmp_path, trouble)
    assert tally == Tally(3, 2, Counter(failed=1), 20, 10)
    assert ChunkResults(str(tmp_path), "run").tally(CHUNK) == tally
    (table,) = ChunkResults(str(tmp_path), "run").tables(1)
    assert table["image_id"].to_pylist() == ["a", "c"]


def test_an_engine_that_comes_back_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answers = iter([Unavailable("away"), None])

    def trouble(captions: Sequence[str]) -> None:
        if error := next(answers):
            raise error

    tally, writer = written(monkeypatch, tmp_path, trouble)
    assert tally.accepted == 3
    assert writer.calls == 2


def test_an_engine_that_stays_away_is_told_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def trouble(captions: Sequence[str]) -> None:
        raise Unavailable("the endpoint did not answer")

    with pytest.raises(Unavailable, match="the endpoint did not answer"):
        written(monkeypatch, tmp_path, trouble, patience_s=0.0)
    assert ChunkResults(str(tmp_path), "run").tally(CHUNK) is None
