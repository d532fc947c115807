"""Compositions without training: the baselines of a learned composer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import normalize

from scot.baselines import FITTED_BASELINES, parse_baseline
from scot.composers.base import Composer, States

TRIED_WEIGHTS = tuple(round(0.1 * i, 1) for i in range(1, 10))
"""The weights that are tried for each baseline that has one."""

_PARALLEL = 1e-4  # below this sine, the great circle between two vectors is numerically undefined


class Sum:
    """normalize(w·t + (1 − w)·i): the weighted sum of edit and reference. ``weight`` is w, the share of the text."""

    architecture = "sum"
    encoder_id: str | None = None
    reads_states = False

    def __init__(self, weight: float = 0.5) -> None:
        self.weight = weight
        self.name = self.architecture if weight == 0.5 else f"{self.architecture}:{weight:g}"

    def compose(self, image_BD: torch.Tensor, text_BD: torch.Tensor, *states: States) -> torch.Tensor:
        """Unit float32 rows ``(B, D)``."""
        return normalize(self.weight * text_BD.float() + (1.0 - self.weight) * image_BD.float(), dim=-1)


class CenteredSum(Sum):
    """normalize(w·n(t − μ_t) + (1 − w)·n(i − μ_i)): the sum without the gap between modalities (arXiv 2510.25387).

    μ_i and μ_t are the means of ``(N, D)`` images and ``(M, D)`` edits, n normalises. The gallery is not centred: this
    would change a query's cosines only by a constant, up to the lengths of the centred rows.
    """

    architecture = "centred_sum"

    def __init__(self, image_ND: torch.Tensor, text_MD: torch.Tensor, weight: float = 0.5) -> None:
        super().__init__(weight)
        self._image_mean_D, self._text_mean_D = image_ND.float().mean(0), text_MD.float().mean(0)

    def compose(self, image_BD: torch.Tensor, text_BD: torch.Tensor, *states: States) -> torch.Tensor:
        """Unit float32 rows ``(B, D)``."""
        image_BD = normalize(image_BD.float() - self._image_mean_D, dim=-1)
        return super().compose(image_BD, normalize(text_BD.float() - self._text_mean_D, dim=-1))


class Slerp:
    """Spherical interpolation (Shoemake 1985; Jang et al., arXiv 2405.00571): ``t`` of the way from reference to edit.

    slerp(i, e; t) = (sin((1 − t)θ)·i + sin(tθ)·e) / sin θ, with θ the angle between the two.
    """

    architecture = "slerp"
    encoder_id: str | None = None
    reads_states = False

    def __init__(self, t: float = 0.5) -> None:
        self.t = t
        self.name = "slerp" if t == 0.5 else f"slerp:{t:g}"

    def compose(self, image_BD: torch.Tensor, text_BD: torch.Tensor, *states: States) -> torch.Tensor:
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
    reads_states = False

    def compose(self, image_BD: torch.Tensor, text_BD: torch.Tensor, *states: States) -> torch.Tensor:
        """The edits' rows ``(B, D)``."""
        return normalize(text_BD.float(), dim=-1)


class ImageOnly:
    """The reference alone."""

    name = architecture = "image_only"
    encoder_id: str | None = None
    reads_states = False

    def compose(self, image_BD: torch.Tensor, text_BD: torch.Tensor, *states: States) -> torch.Tensor:
        """The references' rows ``(B, D)``."""
        return normalize(image_BD.float(), dim=-1)


def baseline(name: str) -> Composer:
    """A baseline by name; ``sum:0.7`` (the weighted sum) and ``slerp:0.7`` give the text a share of 0.7.

    Raises:
        InvalidInput: no baseline has this name, or its weight is not a number from 0 to 1.
    """
    kind, weight = parse_baseline(name)
    match kind:
        case "sum":
            return Sum(weight)
        case "slerp":
            return Slerp(weight)
        case "text_only":
            return TextOnly()
    return ImageOnly()


def fitted_baseline(name: str, image_ND: torch.Tensor, text_MD: torch.Tensor) -> Composer:
    """A baseline that takes the modality means from a pool of images and edits: ``centred_sum``, ``centred_sum:0.7``.

    Raises:
        InvalidInput: no such baseline has this name, or its weight is not a number from 0 to 1.
    """
    _, weight = parse_baseline(name, FITTED_BASELINES)
    return CenteredSum(image_ND, text_MD, weight)


def tuned_baselines(
    image_ND: torch.Tensor, text_MD: torch.Tensor, weights: Sequence[float] = TRIED_WEIGHTS
) -> list[dict[str, Composer]]:
    """For every baseline, by name, the weights to choose its best from, fitted to a pool of images and edits."""

    def fitted(name: str) -> Composer:
        return fitted_baseline(name, image_ND, text_MD) if name.startswith(FITTED_BASELINES) else baseline(name)

    plain = [[name] for name in ("image_only", "text_only")]
    weighted = [[f"{name}:{weight}" for weight in weights] for name in ("sum", "slerp", *FITTED_BASELINES)]
    return [{name: fitted(name) for name in names} for names in plain + weighted]
