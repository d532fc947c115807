"""What the Gateway and the towers' replicas send to each other; nothing here needs PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from scot.client import Edit

if TYPE_CHECKING:
    from scot.encoders.resizing import Pixels, Resizing

Vector = npt.NDArray[np.float32]  # (D,), unit length


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """The encoder of a service: its vectors are ``(dim,)``, and fit those of the same id alone."""

    encoder_id: str
    dim: int
    resizing: Resizing
    """How images are prepared for it."""


@dataclass(frozen=True, slots=True)
class ComposeJob:
    """One query: at most one of ``pixels`` ``(H, W, 3)`` and ``vector`` ``(D,)``, and its edits."""

    pixels: Pixels | None
    vector: Vector | None
    edits: tuple[Edit, ...]
    composer: str = ""
    """Empty: the rollout chooses (:mod:`services.search.rollout`)."""
    caller: str = ""
    """Any text that identifies the caller; the rollout depends on it."""
    with_shadow: bool = False
    """Whether to compose the query vector of the shadow too."""

    @property
    def needs_composer(self) -> bool:
        """Whether there is an edit to compose with something: a reference, or the edit before."""
        has_reference = self.pixels is not None or self.vector is not None
        return len(self.edits) > (0 if has_reference else 1)


@dataclass(frozen=True, slots=True)
class Composed:
    """The query vector ``(D,)``, its composer, its seconds in the queue and in the batch, and the size of the batch."""

    vector: Vector
    composer: str
    text_truncated: bool = False
    """Whether an edit did not fit the context of the text tower."""
    queue_s: float = 0.0
    compose_s: float = 0.0
    batch: int = 1
    shadow: str = ""
    """The shadow composer of this query; empty: none."""
    shadow_vector: Vector | None = None
    """Its query vector ``(D,)``; None when it was not requested, or failed."""


@dataclass(frozen=True, slots=True)
class EncodedText:
    """The vector ``(D,)`` of a text, and whether the text did not fit the context of the text tower."""

    vector: Vector
    truncated: bool
