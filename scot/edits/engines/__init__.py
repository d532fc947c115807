"""Engines: text in, text out. ``openai`` and ``vllm`` are language models; ``rules`` and ``service`` need none here."""

from scot.edits.engines.base import Completion, Sampling, TextEngine
from scot.edits.engines.config import ENGINES, EngineConfig

__all__ = ["ENGINES", "Completion", "EngineConfig", "Sampling", "TextEngine"]
