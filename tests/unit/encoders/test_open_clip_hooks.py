"""What SCOT uses of open_clip beyond its public interface: an upgrade that changes one of these fails here, by name."""

from __future__ import annotations

import inspect
from operator import attrgetter

import open_clip
import pytest
import torch

from scot.encoders.clip import TINY_DIR


@pytest.mark.parametrize(
    "name",
    [
        "factory._get_hf_config",
        "get_model_config",
        "pretrained.get_pretrained_cfg",
        "transform.PreprocessCfg.__dataclass_fields__",
        "transform.image_transform_v2",
        "transformer.TextTransformer",
    ],
)
def test_open_clip_has(name: str) -> None:
    assert attrgetter(name)(open_clip) is not None


def test_the_hub_config_is_found_by_the_model_id_alone() -> None:
    first, *others = inspect.signature(open_clip.factory._get_hf_config).parameters.values()
    assert first.name == "model_id"
    assert all(other.default is not inspect.Parameter.empty for other in others)


def test_the_last_two_transforms_make_a_tensor_and_normalize_it() -> None:
    config = open_clip.transform.PreprocessCfg(size=96)
    *_, to_tensor, normalize = open_clip.transform.image_transform_v2(config, is_train=False).transforms
    assert type(to_tensor).__name__.endswith("ToTensor")
    assert type(normalize).__name__ == "Normalize"
    assert len(config.mean) == len(config.std) == 3


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
