"""The engines that write edits: ``rules`` needs no model, ``openai`` and ``vllm`` turn messages into text."""

from __future__ import annotations

from scot.edits.engines.base import Completion, Sampling, TextEngine
from scot.edits.engines.config import ENGINES, EngineConfig
from scot.edits.generators.load import load_generator

__all__ = ["ENGINES", "Completion", "EngineConfig", "Sampling", "TextEngine", "load_generator"]
