"""A tiny, randomly initialised open_clip model in a folder, for tests that need a real encoder but not a good one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CONFIG: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
PREPROCESS: dict[str, Any] = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "interpolation": "bilinear",
    "resize_mode": "squash",
}


# As ViT-B-16-SigLIP: no causal mask, read at the last place, whose padding and end token are one.
SIGLIP: dict[str, Any] = {
    "embed_dim": 32,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": "linear", "image_size": 64},
    "text_cfg": {
        "context_length": 16, "vocab_size": 64, "width": 32, "heads": 2, "layers": 2, "no_causal_mask": True,
        "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6},
        "hf_tokenizer_name": "beside", "tokenizer_kwargs": {"clean": "canonicalize"},
    },
}  # fmt: skip


def save_random_siglip(folder: Path) -> str:
    """Write a tiny model built as open_clip's SigLIP ones are, with a tokenizer beside it; the name to load it by."""
    folder.mkdir(parents=True, exist_ok=True)
    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=special, show_progress=False)
    bpe.train_from_iterator(["a red striped shirt"], trainer)
    bpe.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="</s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.model.CustomTextCLIP(**{k: v for k, v in SIGLIP.items() if k != "custom_text"})
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    cfg = {"model_cfg": SIGLIP, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(cfg), encoding="utf-8")
    return f"local-dir:{folder}"


def save_random_encoder(folder: Path, *, seed: int = 0, embed_dim: int = 32) -> str:
    """Write the model into ``folder`` and return the name to load it by; equal seeds give equal ids."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**CONFIG, "embed_dim": embed_dim}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.model.CLIP(**config)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    cfg = {"model_cfg": config, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(cfg), encoding="utf-8")
    return f"local-dir:{folder}"
