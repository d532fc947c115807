"""An OpenAI-compatible endpoint over the rules engine: a real HTTP server whose answers are worth reading."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from scot.edits.rules import RulesEngine
from tests.support.chat_endpoint import chat_endpoint, said

MODEL = "rules-behind-http"


def rules_endpoint(seconds: float = 0.0) -> AbstractContextManager[str]:
    """The endpoint's base URL, for the time of the block; every answer takes ``seconds``."""
    return chat_endpoint(_edits, MODEL, seconds)


def _edits(asked: Mapping[str, Any]) -> dict[str, Any]:
    question = asked["messages"][-1]["content"].splitlines()
    caption = json.loads(question[0].removeprefix("caption: "))
    count = len(json.loads(question[1].removeprefix("aspects: ")))
    made = RulesEngine().edits(caption, count=count, seed=asked["seed"]).edits
    return said(json.dumps({"edits": [edit.answer() for edit in made]}))
