"""The reranker against a real endpoint of this process: what it asks, how it fuses, and every wrong answer."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import math
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scot.rerank import OpenAIJudge, RerankConfig, Reranker, Reranking, fused
from scot.rerank.pictures import SIDE, picture_bytes
from scot.rerank.reranker import fit_weight
from tests.support.chat_endpoint import chat_endpoint, said
from tests.support.drawn_judge import yes_or_no

COLORS = ("red", "green", "blue", "white")
PICTURES = [picture_bytes(Image.new("RGB", (40, 30), color)) for color in COLORS]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def color_of(asked: dict[str, Any]) -> str:
    """The color of a request's candidate."""
    parts = asked["messages"][-1]["content"]
    url = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"][-1]
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        pixel = image.convert("RGB").getpixel((5, 5))
    assert isinstance(pixel, tuple)
    near = {color: math.dist(pixel, Image.new("RGB", (1, 1), color).getpixel((0, 0))) for color in COLORS}  # type: ignore[arg-type]
    return min(near, key=lambda color: near[color])


def rerank(
    answer: Callable[[Any], dict[str, Any]],
    *,
    seconds: float = 0.0,
    deadline_s: float = math.inf,
    weight: float = 1.0,
    times: int = 1,
    pictures: list[bytes | None] | None = None,
) -> list[Reranking]:
    """What becomes of candidates at an endpoint with these answers, again and again."""

    async def main() -> list[Reranking]:
        with chat_endpoint(answer, "vlm", seconds) as url:
            reranker = Reranker(OpenAIJudge(RerankConfig(rerank_url=url, rerank_model="vlm")))
            try:
                given = PICTURES if pictures is None else pictures
                return [
                    await reranker.rerank("make it blue", PICTURES[0], given, weight=weight, deadline_s=deadline_s)
                    for _ in range(times)
                ]
            finally:
                await reranker.close()

    return asyncio.run(main())


def blue(asked: Any) -> dict[str, Any]:
    return yes_or_no(0.95 if color_of(asked) == "blue" else 0.05)


def test_the_candidate_that_is_right_comes_first_and_the_others_keep_their_order() -> None:
    (found,) = rerank(blue)
    assert found.order == (2, 0, 1, 3)
    assert found.reason is None
    assert found.probabilities == pytest.approx((0.05, 0.05, 0.95, 0.05))
    assert (found.asked, found.prompt_tokens, found.completion_tokens) == (4, 400, 160)


def test_one_token_with_its_alternatives_is_asked_for_and_the_constant_part_comes_first() -> None:
    requests: list[Any] = []
    rerank(lambda asked: (requests.append(asked), blue(asked))[1])
    for each in requests:
        assert {name: each[name] for name in ("max_tokens", "temperature", "logprobs", "top_logprobs", "model")} == {
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": True,
            "top_logprobs": 20,
            "model": "vlm",
        }
    texts = [json.dumps(each["messages"]) for each in requests]
    shared = min(len(json.dumps(requests[0]["messages"]).partition("The result:")[0]), *map(len, texts))
    assert len({text[:shared] for text in texts}) == 1
    assert '\\"make it blue\\"' in texts[0][:shared]


def test_a_question_is_asked_once() -> None:
    first, second = rerank(blue, times=2)
    assert (first.asked, second.asked) == (4, 0)
    assert second.order == first.order


def logprobs(content: Any) -> dict[str, Any]:
    return {**said("yes"), "logprobs": {"content": content, "refusal": None}}


def token(text: Any, value: Any) -> dict[str, Any]:
    return {"token": text, "logprob": value, "bytes": None, "top_logprobs": []}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said("The result shows a blue thing, so I would say yes"), "no_probabilities"),
        (said(""), "no_probabilities"),
        ({"message": None}, "no_probabilities"),
        (logprobs([]), "no_probabilities"),
        (logprobs(None), "no_probabilities"),
        (logprobs([token(None, None)]), "no_probabilities"),
        (logprobs([token("The", -0.01)]), "prose"),
        (logprobs([token("yes", -9.0)]), "prose"),
        (logprobs([token("yes", math.nan)]), "not_finite"),
        (logprobs([token("yes", 3.0)]), "not_finite"),
        (yes_or_no(0.7), "same_for_all"),
    ],
)
def test_an_answer_that_is_no_verdict_leaves_the_first_order(answer: dict[str, Any], reason: str) -> None:
    (found,) = rerank(lambda asked: answer)
    assert (found.order, found.reason) == ((0, 1, 2, 3), reason)


def test_one_bad_answer_among_good_ones_leaves_the_first_order() -> None:
    (found,) = rerank(lambda asked: said("hm") if color_of(asked) == "white" else blue(asked))
    assert (found.order, found.reason) == ((0, 1, 2, 3), "no_probabilities")


def test_words_in_other_letters_and_spaces_count_as_one() -> None:
    told = [token(" Yes", math.log(0.3)), token("YES", math.log(0.2)), token("no", math.log(0.4))]
    (found,) = rerank(lambda asked: logprobs([{**told[0], "top_logprobs": told}]), pictures=[PICTURES[0]])
    assert found.probabilities == pytest.approx((0.5 / 0.9,))


def test_a_late_answer_leaves_the_first_order_and_a_later_query_finds_what_was_judged() -> None:
    (found,) = rerank(blue, seconds=30.0, deadline_s=0.05)
    assert (found.order, found.reason) == ((0, 1, 2, 3), "late")


def test_other_searches_take_their_steps_between_candidates() -> None:
    """No two candidates are prepared in one pass of the event loop, which answers all queries of a gateway."""

    async def main() -> list[int]:
        with chat_endpoint(blue, "vlm") as url:
            judge = OpenAIJudge(RerankConfig(rerank_url=url, rerank_model="vlm"))
            reranker, passes, post = Reranker(judge), [0], judge._endpoint.client.post
            seen: list[int] = []

            async def count() -> None:
                while True:
                    passes[0] += 1
                    await asyncio.sleep(0)

            def noted(*args: Any, **more: Any) -> Any:
                seen.append(passes[0])
                return post(*args, **more)

            judge._endpoint.client.post = noted  # type: ignore[method-assign]
            counting = asyncio.create_task(count())
            await reranker.rerank("make it blue", PICTURES[0], PICTURES, weight=1.0)
            counting.cancel()
            await reranker.close()
            return seen

    seen = asyncio.run(main())
    assert len(set(seen)) == len(PICTURES)


def test_a_dead_endpoint_leaves_the_first_order() -> None:
    async def main() -> Reranking:
        with socket.socket() as taken:  # bound, and nobody listens
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
            reranker = Reranker(OpenAIJudge(RerankConfig(rerank_url=url, rerank_model="vlm")))
            found = await reranker.rerank("blue", None, list(PICTURES), weight=1.0)
            await reranker.close()
            return found

    assert asyncio.run(main()).reason == "unavailable"


def test_a_candidate_without_a_picture_leaves_the_first_order_and_asks_nothing() -> None:
    (found,) = rerank(blue, pictures=[PICTURES[2], None])
    assert (found.order, found.reason, found.asked) == ((0, 1), "no_candidate_picture", 0)


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0, 3))
def test_fusion_is_an_order_of_all_and_weight_zero_is_the_first_stage(found: list[float], weight: float) -> None:
    assert sorted(fused(found, weight)) == list(range(len(found)))
    assert fused(found, 0.0) == tuple(range(len(found)))


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.floats(1, 3))
def test_from_weight_one_on_what_is_surely_right_comes_first(right: list[bool], weight: float) -> None:
    order = fused([float(each) for each in right], weight)
    assert [right[place] for place in order] == sorted(right, reverse=True)
    assert list(order[: sum(right)]) == sorted(order[: sum(right)])


def test_the_weight_of_a_judge_that_knows_nothing_is_zero() -> None:
    import random

    generator = random.Random(0)
    queries = [
        ([generator.choice([0.1, 0.9]) for _ in range(10)], [place == 0 for place in range(10)]) for _ in range(300)
    ]
    assert fit_weight(queries) == 0.0
    knows = [
        ([0.9 if place == n % 10 else 0.1 for place in range(10)], [place == n % 10 for place in range(10)])
        for n in range(300)
    ]
    assert fit_weight(knows) > 0.5
    assert fit_weight([]) == 0.0


def test_a_picture_is_sent_small() -> None:
    with Image.open(io.BytesIO(picture_bytes(Image.new("RGB", (3_000, 1_000), "red")))) as image:
        assert image.size == (SIDE, round(SIDE / 3))
    with Image.open(io.BytesIO(picture_bytes(Image.new("RGB", (30, 10), "red")))) as image:
        assert image.size == (30, 10)
