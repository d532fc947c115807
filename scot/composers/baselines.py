"""Compositions without training: what a learned composer has to beat."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from scot.composers.base import Composer
from scot.errors import InvalidInput

BASELINES = ("sum", "slerp", "text_only", "image_only")
"""The names :func:`baseline` knows."""

_PARALLEL = 1e-4  # under this sine, the great circle between two vectors is not defined well enough to walk along


class Sum:
    """normalize(w·t + (1 − w)·i): the weighted sum of edit and reference. ``weight`` is w, the share of the text."""

    architecture = "sum"
    encoder_id: str | None = None

    def __init__(self, weight: float = 0.5) -> None:
        self.weight = _share("sum", weight)
        self.name = "sum" if weight == 0.5 else f"sum:{weight:g}"

    def compose(self, image_BD: torch.Tensor, text_BD: torch.Tensor) -> torch.Tensor:
        """Unit float32 rows ``(B, D)``."""
        return normalize(self.weight * text_BD.float() + (1.0 - self.weight) * image_BD.float(), dim=-1)


class Slerp:
    """Spherical interpolation (Shoemake 1985; Jang et al., arXiv 2405.00571): ``t`` of the way from reference to edit.

    slerp(i, e; t) = (sin((1 − t)θ)·i + sin(tθ)·e) / sin θ, with θ the angle between the two.
    """

    architecture = "slerp"
    encoder_id: str | None = None

    def __init__(self, t: float = 0.5) -> None:
        self.t = _share("slerp", t)
        self.name = "slerp" if t == 0.5 else f"slerp:{t:g}"

    def compose(self, image_BD: torch.Tensor, text_BD: torch.Tensor) -> torch.Tensor:
        """Unit float32 rows ``(B, D)``."""
        image_BD, text_BD = image_BD.float(), text_BD.float()
        angle_B1 = (image_BD * text_BD).sum(-1, keepdim=True).clamp(-1.0, 1.0).arccos()
        sine_B1 = angle_B1.sin()
        straight = sine_B1 < _PARALLEL
        sine_B1 = torch.where(straight, torch.ones_like(sine_B1), sine_B1)
        image_B1 = torch.where(straight, torch.full_like(angle_B1, 1.0 - self.t), ((1.0 - self.t) * angle_B1).sin())
        text_B1 = torch.where(straight, torch.full_like(angle_B1, self.t), (self.t * angle_B1).sin())
        return normalize((image_B1 * image_BD + text_B1 * text_BD) / sine_B1, dim=-1)


class TextOnly:
    """The edit alone."""

    name = architecture = "text_only"
    encoder_id: str | None = None

    def compose(self, image_BD: torch.Tensor, text_BD: torch.Tensor) -> torch.Tensor:
        """The edits' rows ``(B, D)``."""
        return normalize(text_BD.float(), dim=-1)


class ImageOnly:
    """The reference alone."""

    name = architecture = "image_only"
    encoder_id: str | None = None

    def compose(self, image_BD: torch.Tensor, text_BD: torch.Tensor) -> torch.Tensor:
        """The references' rows ``(B, D)``."""
        return normalize(image_BD.float(), dim=-1)


def baseline(name: str) -> Composer:
    """A baseline by name; ``sum:0.7`` and ``slerp:0.7`` give the text a share of 0.7.

    Raises:
        InvalidInput: no baseline has this name, or its weight is not a number from 0 to 1.
    """
    kind, colon, weight = name.partition(":")
    if kind not in BASELINES:
        raise InvalidInput(f"there is no baseline {name!r}; the baselines are {', '.join(BASELINES)}")
    if kind in ("text_only", "image_only"):
        if colon:
            raise InvalidInput(f"the baseline {kind} takes no weight, but {name!r} names one")
        return TextOnly() if kind == "text_only" else ImageOnly()
    try:
        share = float(weight) if colon else 0.5
    except ValueError:
        raise InvalidInput(f"the weight in {name!r} is not a number") from None
    return Sum(share) if kind == "sum" else Slerp(share)


def _share(name: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise InvalidInput(f"the weight of the text in {name} must be from 0 to 1, not {value:g}")
    return value
