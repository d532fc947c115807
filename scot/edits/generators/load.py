"""From a config to an edit generator; the modules of an engine are imported only when the engine is chosen."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from scot.data.storage import Folder
from scot.edits.engines.config import EngineConfig, model_id
from scot.edits.filters import TextFilters
from scot.edits.generators.base import EditGenerator, ModelGenerator, RulesGenerator
from scot.edits.pairs import PAIRS, PairIndex
from scot.edits.prompt import Prompt
from scot.edits.rules import RulesEngine
from scot.edits.slots import SlotsEngine
from scot.errors import InvalidInput, install_hint

if TYPE_CHECKING:
    from scot.edits.engines.openai import OpenAIEngine
    from scot.edits.engines.vllm import VllmEngine

_NO_OPENAI = f"the openai engine needs the package openai: {install_hint('edits')}"


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
    if config.rank:
        from scot.edits.generators.slots import SlotsGenerator

        return SlotsGenerator(filters or TextFilters(), ranker=_model(config), margin=config.rank_margin)
    prompt = Prompt.load(config.prompt)
    return ModelGenerator(
        _model(config), prompt, filters or TextFilters(), temperature=config.temperature, one_aspect=config.one_aspect
    )


def names(config: EngineConfig) -> tuple[str, str]:
    """The generator and the prompt version that triplets will carry, without loading a model.

    Raises:
        InvalidInput: there is no such prompt, or the package of the engine is not installed.
        Unavailable: the service, which defines both names, does not answer.
    """
    if config.engine == "pairs":
        return PAIRS
    if config.engine in ("rules", "slots", "service"):
        generator = load_generator(config)
        return generator.generator, generator.prompt_version
    if config.engine == "openai" and find_spec("openai") is None:
        raise InvalidInput(_NO_OPENAI)
    if config.rank:
        return f"{SlotsEngine.generator}+{model_id(config)}", SlotsEngine.prompt_version
    return model_id(config), Prompt.load(config.prompt).version


def _model(config: EngineConfig) -> OpenAIEngine | VllmEngine:
    if config.engine == "openai":
        if find_spec("openai") is None:
            raise InvalidInput(_NO_OPENAI)
        from scot.edits.engines.openai import OpenAIEngine

        return OpenAIEngine(config)
    from scot.edits.engines.vllm import VllmEngine

    return VllmEngine(config)
