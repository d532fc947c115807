"""Captions in the place of their images: moved across the modality gap, and blurred by what captions do not say."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch.nn.functional import normalize

from scot.embeddings.moments import Moments
from scot.training.distributed import rank_and_world
from scot.training.objectives.batch import TripletBatch, add_noise

MATCHED = -1.0
"""A noise of this σ is as large as the images' own around captions."""
FEWEST = 100
"""Images that a covariance needs; of fewer only the mean is used."""
_UNMATCHED = 0.03  # σ where no image says how large the noise is


@dataclass(frozen=True, slots=True)
class StandIns:
    """References made of captions: normalize(μ_I + s (T_o − μ_T) + ε).

    LinCIR (arXiv 2312.01998) trains on captions with isotropic noise alone. The means close the gap between the
    modalities. s and the noise ε ~ N(0, R Rᵀ) give the stand-ins the covariance of images, so that a composer learns
    how much of a reference is signal; without ``root_DD`` the noise is isotropic, of ``sigma``, and s is 1.
    """

    caption_mean_D: torch.Tensor
    image_mean_D: torch.Tensor
    scale: float = 1.0
    root_DD: torch.Tensor | None = None
    sigma: float = 0.0

    @classmethod
    def fit(cls, caption_ND: torch.Tensor, images: Moments | None, sigma: float = MATCHED) -> StandIns:
        """Between captions ``(N, D)`` and images; without images the gap stays open.

        The model is I − μ_I = s (T_o − μ_T) + ε with an isotropic part in ε: along the eigenvectors of the captions'
        covariance, with eigenvalues λ, the images' variance is s² λ plus a constant. s² is the slope of a line through
        them; what the images vary beyond s² Σ_T is the noise. Nothing is paired, so any images will do.
        """
        captions = Moments.of([caption_ND])
        if images is None:
            return cls(captions.mean_D, captions.mean_D, sigma=_UNMATCHED if sigma < 0 else sigma)
        if sigma >= 0 or images.count < FEWEST:
            return cls(captions.mean_D, images.mean_D, sigma=_UNMATCHED if sigma < 0 else sigma)
        values_D, vectors_DD = torch.linalg.eigh(captions.covariance_DD)
        seen_D = (vectors_DD * (images.covariance_DD @ vectors_DD)).sum(0)
        spread_D = values_D - values_D.mean()
        slope = float((spread_D * (seen_D - seen_D.mean())).sum() / spread_D.square().sum().clamp(min=1e-12))
        slope = max(slope, 0.0)
        rest_D, axes_DD = torch.linalg.eigh(images.covariance_DD - slope * captions.covariance_DD)
        return cls(captions.mean_D, images.mean_D, slope**0.5, axes_DD * rest_D.clamp(min=0.0).sqrt())

    @property
    def gap(self) -> float:
        """The distance of the means."""
        return float((self.image_mean_D - self.caption_mean_D).norm())

    @property
    def noise(self) -> float:
        """The length of the matched noise, root mean square; 0 if it is not matched."""
        return 0.0 if self.root_DD is None else float(self.root_DD.norm())

    def of(self, caption_BD: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Unit stand-ins of unit captions ``(B, D)``; without a generator they have no noise.

        The noise is drawn for the global batch, of which each worker has its rows.
        """
        moved_BD = self.image_mean_D + self.scale * (caption_BD - self.caption_mean_D)
        if generator is None:
            return normalize(moved_BD, dim=-1)
        if self.root_DD is None:
            return add_noise(normalize(moved_BD, dim=-1), self.sigma, generator)
        rows, (rank, world) = len(caption_BD), rank_and_world()
        noise_GD = torch.randn((rows * world, caption_BD.shape[1]), generator=generator)
        return normalize(moved_BD + noise_GD[rank * rows : (rank + 1) * rows] @ self.root_DD.T, dim=-1)


def from_captions(batch: TripletBatch, share: float, stand_ins: StandIns, seed: int) -> TripletBatch:
    """The batch with captions (:class:`StandIns`) in the place of a ``share`` of the references.

    Such a row has no hidden states of an image. The rows are drawn for the global batch.
    """
    if not share:
        return batch
    rows, (rank, world) = len(batch.image_BD), rank_and_world()
    generator = torch.Generator().manual_seed(seed)
    chosen_B1 = (torch.rand((rows * world, 1), generator=generator) < share)[rank * rows : (rank + 1) * rows]
    image_BD = torch.where(chosen_B1, stand_ins.of(batch.caption_BD, generator), batch.image_BD)
    states = batch.states and (batch.states[0]._replace(mask_BL=batch.states[0].mask_BL & ~chosen_B1), batch.states[1])
    return replace(batch, image_BD=image_BD, states=states)
