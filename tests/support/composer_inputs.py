"""What each composition network is built with and called with in tests."""

from __future__ import annotations

from typing import Any

import torch

from scot.composers.architectures import settings_of
from scot.composers.base import States


def some_settings(architecture: str, dim: int = 8) -> dict[str, Any]:
    """The least that an architecture is built with; hidden states are 6 wide for pictures and 5 for texts."""
    reads = "image_states" in settings_of(architecture)
    return {"dim": dim, **({"image_states": 6, "text_states": 5} if reads else {})}


def some_states(architecture: str, rows: int, seed: int = 0) -> tuple[States, ...]:
    """Hidden states for ``rows`` references and edits, where the architecture reads them: four places, some empty."""
    settings = some_settings(architecture)
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        States(
            torch.randn(rows, 4, settings[name], generator=generator),
            torch.arange(4) < torch.randint(1, 5, (rows, 1), generator=generator),
        )
        for name in ("image_states", "text_states")
        if name in settings
    )
