"""What SCOT uses of open_clip beyond its public interface: an upgrade that changes one of these fails here, by name."""

from __future__ import annotations

import inspect
from operator import attrgetter

import open_clip
import pytest
import torch

from scot.encoders.packaged import TINY_DIR


@pytest.mark.parametrize(
    "name",
    [
        "factory._get_hf_config",
        "get_model_config",
        "pretrained.get_pretrained_cfg",
        "transform.PreprocessCfg.__dataclass_fields__",
        "transformer.TextTransformer",
    ],
)
def test_open_clip_has(name: str) -> None:
    assert attrgetter(name)(open_clip) is not None


def test_the_hub_config_is_found_by_the_model_id_alone() -> None:
    first, *others = inspect.signature(open_clip.factory._get_hf_config).parameters.values()
    assert first.name == "model_id"
    assert all(other.default is not inspect.Parameter.empty for other in others)


def test_a_text_tower_has_the_attributes_that_decide_whether_it_can_be_shortened() -> None:
    model = open_clip.create_model(f"local-dir:{TINY_DIR}", precision="fp32")
    text = model.text
    assert isinstance(text, open_clip.transformer.TextTransformer)
    missing = [
        name
        for name in ("attn_mask", "cls_emb", "pool_type", "use_pad_mask", "output_tokens")
        if not hasattr(text, name)
    ]
    assert not missing
    assert text._buffers["attn_mask"] is text.attn_mask
    assert isinstance(text.attn_mask, torch.Tensor)
    assert callable(model.forward_intermediates)
    assert callable(text.forward_intermediates)
