"""What every composer offers: (reference, edit) to a query vector in the encoder's space."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import torch
from torch import nn
from torch.nn.functional import normalize

from scot.composers.states import States


class Composer(Protocol):
    """A composition function V_c = f(I, T_m) on the vectors of one frozen encoder (SCOT, arXiv 2501.08347).

    ``encoder_id`` is the encoder whose vectors it was trained on, None when it works with any. A composer that
    ``reads_states`` takes the hidden states of references and edits too; any other takes the vectors alone.
    """

    name: str
    architecture: str
    encoder_id: str | None
    reads_states: bool

    def compose(self, image_BD: torch.Tensor, text_BD: torch.Tensor, *states: States) -> torch.Tensor:
        """Reference images and edits, unit float32 rows, to query vectors: unit float32 rows ``(B, D)``."""


class ComposerModule(nn.Module):
    """The trainable side of a composer. Subclasses map two ``(B, D)`` batches of unit rows to unit rows ``(B, D)``.

    The constructor of a subclass takes its typed config only, so that an artifact can rebuild it. One that
    ``reads_states`` is called with the hidden states of references and edits besides.
    """

    config: Any
    reads_states: ClassVar[bool] = False

    def fit_statistics(self, image_ND: torch.Tensor, text_ND: torch.Tensor) -> None:
        """Called once with the training pool, before the first step; for what is measured rather than learned."""


class CentredModule(ComposerModule):
    """A module that may take each modality's mean over the training pool out of its inputs: its config has ``centre``.

    n(x − μ) takes the gap between the modalities out (i-CIR, arXiv 2510.25387); without ``centre``, the inputs stay.
    """

    image_mean_D: torch.Tensor
    text_mean_D: torch.Tensor

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("image_mean_D", torch.zeros(config.dim))
        self.register_buffer("text_mean_D", torch.zeros(config.dim))

    def fit_statistics(self, image_ND: torch.Tensor, text_ND: torch.Tensor) -> None:
        """Take the modality means from the training pool."""
        if self.config.centre:
            self.image_mean_D.copy_(image_ND.float().mean(0))
            self.text_mean_D.copy_(text_ND.float().mean(0))

    def centred(self, image_BD: torch.Tensor, text_BD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Reference and edit as the network sees them: unit rows ``(B, D)`` each."""
        if not self.config.centre:
            return image_BD, text_BD
        return normalize(image_BD - self.image_mean_D, dim=-1), normalize(text_BD - self.text_mean_D, dim=-1)


def gated_sum(
    residual_BD: torch.Tensor, gate_B1: torch.Tensor, image_BD: torch.Tensor, text_BD: torch.Tensor
) -> torch.Tensor:
    """normalize(r + λ·t + (1 − λ)·i), λ = σ(gate), in float32: what a composition network's output is added to."""
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
        """Unit float32 rows ``(B, D)``; ``states`` are those of references and edits, where the composer reads them."""
        query_BD: torch.Tensor = self.module(image_BD.float(), text_BD.float(), *states)
        return query_BD.float()

    def to(self, device: str | torch.device) -> LearnedComposer:
        """Move the weights; inputs must come on the same device."""
        self.module.to(device)
        return self
