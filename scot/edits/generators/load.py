"""From a config to a writer of edits; the parts of an engine are imported only when it is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scot.edits.engines.base import TextEngine
from scot.edits.engines.config import EngineConfig, model_id
from scot.edits.filters import TextFilters
from scot.edits.prompt import Prompt
from scot.edits.rules import RulesEngine

if TYPE_CHECKING:
    from scot.edits.generators.base import EditGenerator


def load_generator(config: EngineConfig, filters: TextFilters | None = None) -> EditGenerator:
    """The writer that a config describes; it must be closed.

    Raises:
        InvalidInput: the prompt or model does not exist.
        Unavailable: the engine cannot be started or reached.
    """
    from scot.edits.generators.base import ModelGenerator, RulesGenerator  # not above: it imports this folder

    if config.engine == "rules":
        return RulesGenerator(RulesEngine())
    if config.engine == "service":
        from scot.edits.generators.service import ServiceGenerator

        return ServiceGenerator(config)
    prompt = Prompt.load(config.prompt)
    return ModelGenerator(_model(config), prompt, filters or TextFilters(), temperature=config.temperature)


def names(config: EngineConfig) -> tuple[str, str]:
    """The generator and the prompt version that triplets will carry, without loading a model.

    Raises:
        InvalidInput: there is no such prompt.
        Unavailable: the service, whose names they are, does not answer.
    """
    if config.engine in ("rules", "service"):
        writer = load_generator(config)
        return writer.generator, writer.prompt_version
    return model_id(config), Prompt.load(config.prompt).version


def _model(config: EngineConfig) -> TextEngine:
    if config.engine == "openai":
        from scot.edits.engines.openai import OpenAIEngine

        return OpenAIEngine(config)
    from scot.edits.engines.vllm import VllmEngine

    return VllmEngine(config)
