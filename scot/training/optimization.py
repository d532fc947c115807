"""The learning rate of a step, the parameters with weight decay, and the precision of the composer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scot.training.config import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine to zero (Loshchilov & Hutter, arXiv 1608.03983)."""
    warm = int(config.warmup * config.steps)
    if step < warm:
        return config.lr * (step + 1) / warm
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, config.steps - warm)))


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices have weight decay; biases and the temperature have none."""
    learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in learned if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in learned if p.ndim < 2], "weight_decay": 0.0},
    ]


def computes_in_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether the composer runs in bfloat16 (autocast) on a device."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # On a CPU without bfloat16 instructions autocast is slower than float32; with them it was twice as fast (AVX-512).
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
