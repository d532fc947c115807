"""How likely a text is, by the two ways in which endpoints say it: requests, and what is in their answers.

*echo*: a completion that repeats its prompt with the log-probabilities of its tokens (OpenAI's own completions, vLLM).
*forced*: llama.cpp's server has no echo, but splits texts into tokens (``/tokenize``), and its grammar can allow one
token alone at each place: it then writes the text, with log-probabilities from before the grammar ruled others out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from scot.edits.engines.base import BEFORE_TEXTS, Likelihood


def echo_request(model: str, texts: Sequence[str]) -> dict[str, Any]:
    """The arguments of ``completions.create`` for some texts."""
    prompts = [f"{BEFORE_TEXTS}{text}" for text in texts]
    return {"model": model, "prompt": prompts, "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0.0}


def read_echo(answer: Any, texts: Sequence[str]) -> list[Likelihood] | None:
    """The likelihoods in the answer to :func:`echo_request`; None if it has none."""
    try:
        choices = sorted(answer.choices, key=lambda choice: choice.index)
        return [_of_echo(choice.logprobs, text) for choice, text in zip(choices, texts, strict=True)]
    except (AttributeError, TypeError, ValueError):  # the client checks no types
        return None


def _of_echo(found: Any, text: str) -> Likelihood:
    start, stop = len(BEFORE_TEXTS), len(BEFORE_TEXTS) + len(text)
    spans = zip(found.text_offset, found.tokens, found.token_logprobs, strict=True)
    # A word's token begins with the space before it; the token behind the prompt is the model's own.
    return _sum(value for at, token, value in spans if at < stop and at + len(token) > start)


def forced_request(model: str, tokens: Sequence[int], first: int) -> dict[str, Any]:
    """The arguments of ``completions.create`` of llama.cpp's server, which writes the tokens from ``first`` on."""
    grammar = " ".join(f"<[{token}]>" for token in tokens[first:])
    return {
        "model": model,
        "prompt": list(tokens[:first]),
        "logprobs": 1,
        "max_tokens": len(tokens) - first,
        "temperature": 0.0,
        "extra_body": {"grammar": f"root ::= {grammar}"},
    }


def read_forced(answer: Any, tokens: Sequence[int], first: int) -> Likelihood | None:
    """The likelihood in the answer to :func:`forced_request`; None if it has none, or is of other tokens."""
    try:
        pieces = answer.choices[0].logprobs.content
        written = [piece["id"] for piece in pieces]
        return _sum(piece["logprob"] for piece in pieces) if written == list(tokens[first:]) else None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None


def read_tokens(answer: Any) -> list[int] | None:
    """The tokens in the answer of ``/tokenize``; None if it has none."""
    tokens = answer.get("tokens") if isinstance(answer, dict) else None
    return tokens if isinstance(tokens, list) and all(isinstance(token, int) for token in tokens) else None


def first_of_text(before: Sequence[int], tokens: Sequence[int]) -> int:
    """Where a text begins in the tokens of prefix and text, from those of the prefix alone.

    A word's token begins with the space before it, so that the prefix alone may have a token more.
    """
    same = (one == other for one, other in zip(before, tokens, strict=False))
    return next((at for at, equal in enumerate(same) if not equal), len(before))


def _sum(values: Iterable[Any]) -> Likelihood:
    """Raises TypeError when a log-probability is missing, or there is none."""
    known = [float(value) for value in values]
    if not known:
        raise TypeError("no token")
    return Likelihood(math.fsum(known), len(known))
