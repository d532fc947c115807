"""A tiny, randomly initialised open_clip model in a folder, for tests that need a real encoder but not a good one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file

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
