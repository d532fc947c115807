"""vLLM in this process: schema-valid answers, many at once, cancellation, and chats that do not fit."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from scot.edits.engines import EngineConfig, Sampling
from scot.edits.engines.vllm import VllmEngine
from scot.edits.prompt import Prompt
from scot.errors import InvalidInput
from tests.vllm_cpu.loop import Loop

pytestmark = pytest.mark.timeout(600)

PROMPT = Prompt.load()


@pytest.fixture(scope="module")
def loop(model: Path) -> Iterator[Loop]:
    loop = Loop(model)
    yield loop
    loop.close()


def ask(engine: VllmEngine, caption: str = "a red cat", *, seed: int = 0, most: int = 1_200) -> Any:
    messages = PROMPT.messages(caption, ("addition",))
    return engine.complete(messages, PROMPT.answer_schema(("addition",)), Sampling(0.7, most, seed))


def requests_running() -> float:
    return sum(
        sample.value
        for metric in REGISTRY.collect()
        if metric.name == "vllm:num_requests_running"
        for sample in metric.samples
    )


def test_an_answer_fits_the_schema(loop: Loop) -> None:
    answer = loop.run(ask(loop.engine))
    assert not answer.cut_off
    (record,) = json.loads(answer.text, strict=False)["edits"]
    assert set(record) == {"aspect", "edit", "edited_caption", "kept"}
    assert record["aspect"] in PROMPT.aspects
    assert len(record["edit"]) <= 200
    assert answer.prompt_tokens > 500
    assert answer.completion_tokens > 10


def test_an_answer_at_the_limit_is_cut_off(loop: Loop) -> None:
    answer = loop.run(ask(loop.engine, most=8))
    assert answer.cut_off
    assert answer.completion_tokens == 8


def test_many_callers_are_answered_together(loop: Loop) -> None:
    async def all_at_once() -> tuple[list[Any], float]:
        tasks = [asyncio.create_task(ask(loop.engine, f"{n} cats", seed=n)) for n in range(12)]
        most = 0.0
        while not all(task.done() for task in tasks):
            most = max(most, requests_running())
            await asyncio.sleep(0.01)
        return [task.result() for task in tasks], most

    answers, most = loop.run(all_at_once())
    assert len({answer.text for answer in answers}) == 12
    assert most > 1


def test_chats_that_do_not_fit_a_batch_of_tokens_together_are_answered(loop: Loop) -> None:
    """Twenty prompts of their own, 30,000 tokens: more than are read at a time, so that some have to wait."""

    async def all_at_once() -> list[Any]:
        own = [[*PROMPT.messages(f"{n} cats", ("addition",))] for n in range(20)]
        for n, messages in enumerate(own):  # nothing of them is in the prefix cache
            messages[0] = {**messages[0], "content": f"Task {n}. {messages[0]['content']}"}
        schema = PROMPT.answer_schema(("addition",))
        chats = [loop.engine.complete(each, schema, Sampling(0.7, 16, n)) for n, each in enumerate(own)]
        return list(await asyncio.gather(*chats))

    answers = loop.run(all_at_once())
    assert sum(answer.prompt_tokens for answer in answers) > 20_000
    assert all(answer.completion_tokens for answer in answers)
    loop.run(loop.engine.check())


def test_a_cancelled_caller_frees_its_sequence(loop: Loop) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(ask(loop.engine, "to be cancelled"))
        while not requests_running():
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The gauge is set when the engine steps; another, short answer makes it.
        await ask(loop.engine, "after it", most=8)
        assert requests_running() == 0

    loop.run(cancel())


def test_a_chat_that_does_not_fit_is_refused(loop: Loop) -> None:
    with pytest.raises(InvalidInput, match="do not fit max_model_len"):
        loop.run(ask(loop.engine, "cat " * 3_000))
    assert loop.run(ask(loop.engine, most=8)).completion_tokens == 8


def test_a_model_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    async def load() -> VllmEngine:
        return VllmEngine(EngineConfig(engine="vllm", model=str(tmp_path)))

    with pytest.raises(InvalidInput, match="vLLM cannot load"):
        asyncio.run(load())
