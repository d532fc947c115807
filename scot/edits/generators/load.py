"""From a config to an edit generator; the modules of an engine are imported only when the engine is chosen."""

from __future__ import annotations

from scot.data.shards import Folder
from scot.edits.engines.base import TextEngine
from scot.edits.engines.config import EngineConfig, model_id
from scot.edits.filters import TextFilters
from scot.edits.generators.base import EditGenerator, ModelGenerator, RulesGenerator
from scot.edits.pairs import PAIRS, PairIndex
from scot.edits.prompt import Prompt
from scot.edits.rules import RulesEngine
from scot.errors import InvalidInput, install_hint


def load_generator(
    config: EngineConfig, filters: TextFilters | None = None, corpus: Folder | None = None
) -> EditGenerator:
    """The generator that a config describes; the caller must close it.

    ``corpus`` is the folder with the index of the corpus, which the pairs engine needs.

    Raises:
        InvalidInput: the prompt, model or index does not exist.
        Unavailable: the engine cannot be started or reached.
    """
    if config.engine == "rules":
        return RulesGenerator(RulesEngine())
    if config.engine == "slots":
        from scot.edits.generators.slots import SlotsGenerator

        return SlotsGenerator(filters or TextFilters())
    if config.engine == "auto":
        raise InvalidInput("the engine auto needs a corpus to choose by: use ray_jobs/generate_edits.py")
    if config.engine == "pairs":
        from scot.edits.generators.pairs import PairsGenerator

        if corpus is None:
            raise InvalidInput("the pairs engine needs a whole corpus: use ray_jobs/generate_edits.py")
        return PairsGenerator(PairIndex.read(corpus), filters or TextFilters())
    if config.engine == "service":
        from scot.edits.generators.service import ServiceGenerator

        return ServiceGenerator(config)
    prompt = Prompt.load(config.prompt)
    return ModelGenerator(
        _model(config), prompt, filters or TextFilters(), temperature=config.temperature, one_aspect=config.one_aspect
    )


def names(config: EngineConfig) -> tuple[str, str]:
    """The generator and the prompt version that triplets will carry, without loading a model.

    Raises:
        InvalidInput: there is no such prompt.
        Unavailable: the service, which defines both names, does not answer.
    """
    if config.engine == "pairs":
        return PAIRS
    if config.engine in ("rules", "slots", "service"):
        generator = load_generator(config)
        return generator.generator, generator.prompt_version
    return model_id(config), Prompt.load(config.prompt).version


def _model(config: EngineConfig) -> TextEngine:
    if config.engine == "openai":
        try:
            from scot.edits.engines.openai import OpenAIEngine
        except ModuleNotFoundError as error:
            raise InvalidInput(f"the openai engine needs the package {error.name}: {install_hint('edits')}") from error

        return OpenAIEngine(config)
    from scot.edits.engines.vllm import VllmEngine

    return VllmEngine(config)
