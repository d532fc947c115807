"""The interface of composers: (reference, edit) to a query vector in the encoder's space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import normalize


class States(NamedTuple):
    """The last hidden states of B images or texts. A row may have none: a reference known only by its vector."""

    values_BLW: torch.Tensor
    """Of any float type."""
    mask_BL: torch.Tensor
    """bool: False for padding, whose values are arbitrary but finite."""

    def to(self, device: torch.device | str) -> States:
        """The same on a device."""
        return States(self.values_BLW.to(device), self.mask_BL.to(device))


def padded(rows: Sequence[npt.NDArray[np.float16] | None]) -> States:
    """A batch of rows of ``(L, W)`` states, None for a row without states. If no row has any, L and W are 0."""
    given = [row for row in rows if row is not None]
    width = given[0].shape[1] if given else 0
    values_BLW = np.zeros((len(rows), max(map(len, given), default=0), width), np.float16)
    mask_BL = np.zeros(values_BLW.shape[:2], np.bool_)
    for place, row in enumerate(rows):
        if row is not None:
            values_BLW[place, : len(row)], mask_BL[place, : len(row)] = row, True
    return States(torch.from_numpy(values_BLW), torch.from_numpy(mask_BL))


class Composer(Protocol):
    """A composition function V_c = f(I, T_m) on the vectors of one frozen encoder (SCOT, arXiv 2501.08347).

    ``encoder_id`` is the encoder whose vectors it was trained on, None when it works with any. A composer that
    ``reads_states`` also takes the hidden states of references and edits; the others take the vectors alone.
    """

    name: str
    architecture: str
    encoder_id: str | None
    reads_states: bool

    def compose(self, image_BD: torch.Tensor, text_BD: torch.Tensor, *states: States) -> torch.Tensor:
        """Reference images and edits, unit float32 rows, to query vectors: unit float32 rows ``(B, D)``."""


class ComposerModule(nn.Module):
    """The trainable part of a composer. Subclasses map two ``(B, D)`` batches of unit rows to unit rows ``(B, D)``.

    The constructor of a subclass takes only its typed config, so that an artifact can rebuild it. A subclass that
    ``reads_states`` also receives the hidden states of references and edits.
    """

    config: Any
    reads_states: ClassVar[bool] = False

    def fit_statistics(self, image_ND: torch.Tensor, text_ND: torch.Tensor) -> None:
        """Called once with the training pool, before the first step; for values that are measured, not learned."""


class CenteredModule(ComposerModule):
    """A module that can subtract each modality's mean over the training pool from its inputs (setting ``centre``).

    n(x − μ) removes the gap between the modalities (i-CIR, arXiv 2510.25387); without ``centre``, inputs are unchanged.
    """

    image_mean_D: torch.Tensor
    text_mean_D: torch.Tensor

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("image_mean_D", torch.zeros(config.dim))
        self.register_buffer("text_mean_D", torch.zeros(config.dim))

    def fit_statistics(self, image_ND: torch.Tensor, text_ND: torch.Tensor) -> None:
        """Measure the modality means on the training pool."""
        if self.config.centre:
            self.image_mean_D.copy_(image_ND.float().mean(0))
            self.text_mean_D.copy_(text_ND.float().mean(0))

    def centered(self, image_BD: torch.Tensor, text_BD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Reference and edit as the network reads them: unit rows ``(B, D)`` each."""
        if not self.config.centre:
            return image_BD, text_BD
        return normalize(image_BD - self.image_mean_D, dim=-1), normalize(text_BD - self.text_mean_D, dim=-1)


def gated_sum(
    residual_BD: torch.Tensor, gate_B1: torch.Tensor, image_BD: torch.Tensor, text_BD: torch.Tensor
) -> torch.Tensor:
    """normalize(r + λ·t + (1 − λ)·i), λ = σ(gate), in float32: adds a network's output r to a gated sum."""
    share_B1 = torch.sigmoid(gate_B1.float())
    return normalize(residual_BD.float() + share_B1 * text_BD + (1.0 - share_B1) * image_BD, dim=-1)


class LearnedComposer:
    """A trained module as a :class:`Composer`: evaluation mode, no gradient, float32 out."""

    def __init__(self, name: str, architecture: str, encoder_id: str, module: ComposerModule) -> None:
        self.name, self.architecture = name, architecture
        self.encoder_id: str | None = encoder_id
        self.reads_states = module.reads_states
        self.module = module.eval().requires_grad_(False)

    @torch.inference_mode()
    def compose(self, image_BD: torch.Tensor, text_BD: torch.Tensor, *states: States) -> torch.Tensor:
        """Unit float32 rows ``(B, D)``; ``states`` are those of references and edits, if the composer reads them."""
        query_BD: torch.Tensor = self.module(image_BD.float(), text_BD.float(), *states)
        return query_BD.float()

    def to(self, device: str | torch.device) -> LearnedComposer:
        """Move the weights; inputs must be on the same device."""
        self.module.to(device)
        return self
