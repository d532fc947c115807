"""What SCOT uses of open_clip beyond its public interface: an upgrade that changes one of these fails here, by name."""

from __future__ import annotations

import inspect
from operator import attrgetter

import open_clip
import pytest
import torch

from scot.encoders.open_clip_hooks import shorter_towers
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


def test_a_clip_model_with_the_text_tower_in_itself_gives_the_same_vectors_and_states_from_fewer_tokens() -> None:
    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    text = {"context_length": 16, "vocab_size": 49_408, "width": 64, "heads": 2, "layers": 2}
    model = open_clip.CLIP(32, vision, text).eval()
    towers = shorter_towers(model)
    assert sorted(towers) == list(range(1, 16))
    text_BL = open_clip.tokenize(["a red dog", "it is blue"], context_length=16)
    with torch.inference_mode():
        whole = model.forward_intermediates(text=text_BL, text_indices=1, normalize=False, normalize_intermediates=True)
        short = towers[5].forward_intermediates(
            text=text_BL[:, :5], indices=1, output_fmt="NLC", normalize_intermediates=True
        )
        torch.testing.assert_close(towers[5](text_BL[:, :5]), model.encode_text(text_BL))
    torch.testing.assert_close(short["text_features"], whole["text_features"])
    torch.testing.assert_close(short["text_intermediates"][0], whole["text_intermediates"][0][:, :5])


def test_a_text_tower_that_reads_all_places_is_not_shortened() -> None:
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    text = {"context_length": 16, "vocab_size": 100, "width": 64, "heads": 2, "layers": 1, "no_causal_mask": True}
    assert not shorter_towers(open_clip.CLIP(32, vision, text))
