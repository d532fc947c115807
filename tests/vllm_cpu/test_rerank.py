"""The reranker at a real vLLM with a tiny random Qwen2-VL: pictures, log-probabilities, deadlines and its death."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from scot.index import thumbnails
from scot.rerank import OpenAIJudge, RerankConfig, Reranker
from scot.rerank.pictures import picture_bytes
from scot.worlds.wardrobe import Wardrobe
from tests.vllm_cpu.openai_server import openai_server
from tests.vllm_cpu.vision_model import save_random_vision_model

pytestmark = pytest.mark.timeout(900)


def test_a_real_server_judges_pictures_keeps_deadlines_and_may_die(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    world, rng = Wardrobe(), random.Random(0)
    images = [world.draw(world.sample(rng), rng) for _ in range(7)]
    reference, candidates = picture_bytes(images[0]), [thumbnails.encode(image) for image in images[1:]]
    first = tuple(range(len(candidates)))

    async def judged(url: str) -> None:
        reranker = Reranker(OpenAIJudge(RerankConfig(rerank_url=url, rerank_model="vlm", rerank_timeout_s=300.0)))
        for shown in (reference, None):
            found = await reranker.rerank("make it red", shown, candidates, weight=1.0)
            assert found.reason in (None, "same_for_all")  # the weights are random
            assert len(found.probabilities) == found.asked == found.completion_tokens == len(candidates)
            pictures = 1 if shown is None else 2
            assert found.prompt_tokens > len(candidates) * (60 + 4 * pictures)
            assert sorted(found.order) == list(first)
            again = await reranker.rerank("make it red", shown, candidates, weight=1.0)
            assert (again.asked, again.probabilities) == (0, found.probabilities)
        late = await reranker.rerank("make it blue", reference, candidates, weight=1.0, deadline_s=0.01)
        assert (late.order, late.reason) == (first, "late")
        await reranker.close()
        other = Reranker(OpenAIJudge(RerankConfig(rerank_url=url, rerank_model="another")))
        assert (await other.rerank("red", None, candidates, weight=1.0)).reason == "refused"
        await other.close()

    async def dead(url: str) -> None:
        reranker = Reranker(OpenAIJudge(RerankConfig(rerank_url=url, rerank_model="vlm")))
        found = await reranker.rerank("make it green", reference, candidates, weight=1.0)
        assert (found.order, found.reason) == (first, "unavailable")
        await reranker.close()

    model = save_random_vision_model(tmp_path / "vlm")
    with openai_server(model, "vlm", "--limit-mm-per-prompt", '{"image":2}') as server:
        asyncio.run(judged(server.url))
        server.kill()
        asyncio.run(dead(server.url))
