"""A judge of a drawn world: it answers from what the pictures were drawn as, and errs at a set rate."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from PIL import Image

MODEL = "drawn-judge"
SIDE = 16


class DrawnJudge:
    """Knows the pictures of items, and the right answers of each reference and edit.

    A picture is recognized by what is left of it at 16 × 16 pixels, so it may come resized and compressed. Whether the
    judge errs is decided by the question's hash: an equal question has an equal answer.

    Args:
        pictures: items and their pictures.
        right: reference id and edit to the ids of right answers.
        error: the share of wrong answers; 0.5 is a judge that knows nothing.
        choice: makes the choice of the completion from P(yes); by default *yes* or *no* with their log-probabilities.
    """

    def __init__(
        self,
        pictures: Iterable[tuple[str, Image.Image]],
        right: Mapping[tuple[str, str], Iterable[str]],
        *,
        error: float = 0.0,
        choice: Callable[[float], dict[str, Any]] | None = None,
    ) -> None:
        named = list(pictures)
        self._names = [name for name, _ in named]
        self._small = np.stack([_small(image) for _, image in named])
        self._right = {key: frozenset(ids) for key, ids in right.items()}
        self.error, self._choice = error, choice or yes_or_no
        self.questions: list[tuple[str, str, str]] = []
        self._known: dict[bytes, str] = {}

    def __call__(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one chat."""
        content = asked["messages"][-1]["content"]
        images = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
        texts = [part["text"] for part in content if part["type"] == "text"]
        reference, candidate = (self._name(url) for url in images)
        edit = json.loads(next(text for text in texts if text.startswith("The request: ")).partition(": ")[2])
        self.questions.append((reference, edit, candidate))
        return self._choice(self.probability(reference, edit, candidate))

    def probability(self, reference: str, edit: str, candidate: str) -> float:
        """P(yes): .9 or .1."""
        right = candidate in self._right.get((reference, edit), ())
        digest = hashlib.sha256(json.dumps([reference, edit, candidate]).encode()).digest()
        errs = int.from_bytes(digest[:4], "big") / 2**32 < self.error
        return 0.9 if right != errs else 0.1

    def _name(self, url: str) -> str:
        data = base64.b64decode(url.partition(";base64,")[2])
        if data not in self._known:
            with Image.open(io.BytesIO(data)) as image:
                distances = np.abs(self._small - _small(image.convert("RGB"))).mean(axis=1)
            self._known[data] = self._names[int(distances.argmin())]
        return self._known[data]


def yes_or_no(probability: float) -> dict[str, Any]:
    """A choice of one token with its log-probability and that of the other."""
    both = sorted({"yes": probability, "no": 1 - probability}.items(), key=lambda each: -each[1])
    told = [{"token": token, "logprob": math.log(max(p, 1e-12)), "bytes": None} for token, p in both]
    first = {**told[0], "top_logprobs": told}
    return {
        "message": {"role": "assistant", "content": both[0][0]},
        "logprobs": {"content": [first], "refusal": None},
    }


def expected_recall(ranks: Iterable[frozenset[int]], candidates: int, error: float) -> float:
    """R@1 that a judge with independent errors gives: the first candidate that it accepts, or else the first.

    Args:
        ranks: of each query, the places of right answers among its candidates, from 0.
        candidates: of a query.
        error: the share of wrong verdicts.
    """
    total, queries = 0.0, 0
    for right in ranks:
        queries += 1
        none_before = 1.0
        for place in range(candidates):
            accepted = 1 - error if place in right else error
            total += none_before * accepted * (place in right)
            none_before *= 1 - accepted
        total += none_before * (0 in right)
    return total / queries


def _small(image: Image.Image) -> Any:
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32).reshape(-1)
