"""What the Gateway and the towers' replicas send to each other; nothing here needs PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from scot.edit import Edit

if TYPE_CHECKING:
    from scot.encoders.pixel_budget import PixelBudget
    from scot.encoders.resizing import Pixels, Resizing
    from services.search.composer.embedding_cache import Embedded

Vector = npt.NDArray[np.float32]  # (D,), unit length


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """The encoder of a service: its vectors are ``(dim,)``, and fit those of the same id alone."""

    encoder_id: str
    dim: int
    resizing: Resizing | PixelBudget
    """How images are prepared for it."""


@dataclass(frozen=True, slots=True)
class ComposeTurn:
    """One turn of a conversation: what it starts from, its edits, and the means of what was liked and disliked."""

    images: tuple[tuple[Pixels, float], ...] = ()
    """References known by their pixels ``(H, W, 3)``, and their weights."""
    vector: npt.NDArray[np.float32] | None = None
    """The weighted sum ``(D,)`` of the references known by their vectors; None when there are none."""
    vector_weight: float = 0.0
    """The sum of the absolute weights in ``vector``."""
    edits: tuple[Edit, ...] = ()
    like: Vector | None = None
    dislike: Vector | None = None

    @property
    def has_references(self) -> bool:
        """Whether it starts from references of its own."""
        return bool(self.images) or self.vector is not None


class IndexedItem(NamedTuple):
    """An item of a collection."""

    collection: str
    item_id: str


@dataclass(frozen=True, slots=True)
class ComposeJob:
    """One query: the turns of its conversation, the current one last."""

    turns: tuple[ComposeTurn, ...]
    composer: str = ""
    """Empty: the rollout chooses (:mod:`services.search.rollout`)."""
    caller: str = ""
    """Any text that identifies the caller; the rollout depends on it."""
    with_shadow: bool = False
    """Whether to compose the query vector of the shadow too."""
    item: IndexedItem | None = None
    """What the query starts from, if that is one indexed item and nothing else."""
    caption_weight: float = 0.0
    """The weight of its caption in its vector, if it has one."""
    picture: Pixels | Embedded | None = None
    """The item's picture, or what the image tower made of it; the Composer finds it (:mod:`.item_pictures`)."""

    @property
    def item_vector(self) -> Vector:
        """The vector ``(D,)`` of its item, times the reference's weight."""
        vector_D = self.turns[0].vector
        assert vector_D is not None  # a job with an item has it
        return vector_D

    @property
    def together(self) -> tuple[tuple[Pixels, ...], tuple[str, ...]] | None:
        """The pictures and edits of a query that is nothing else; None where weights, vectors or likes say more."""
        first, *later = self.turns
        edits = [edit for turn in self.turns for edit in turn.edits]
        said_more = any(turn.like is not None or turn.dislike is not None for turn in self.turns)
        if not edits or said_more or any(turn.has_references for turn in later):
            return None
        if any(edit.negative or edit.weight != 1.0 for edit in edits):
            return None
        images = tuple(image for image, _ in first.images)
        if first.vector is not None:
            if images or not isinstance(self.picture, np.ndarray):
                return None
            images = (self.picture,)
        elif len({weight for _, weight in first.images}) > 1 or any(weight < 0 for _, weight in first.images):
            return None
        return images, tuple(edit.text for edit in edits)

    @property
    def needs_composer(self) -> bool:
        """Whether there is an edit to compose with something: references, or what was said before."""
        started = False
        for turn in self.turns:
            started |= turn.has_references
            if len(turn.edits) > (0 if started else 1):
                return True
            started |= bool(turn.edits) or turn.like is not None
        return False


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
    repeatable: bool = True
    """Whether the same query has the same vector again; not if the picture of its item is missing now."""
    shadow: str = ""
    """The shadow composer of this query; empty: none."""
    shadow_vector: Vector | None = None
    """Its query vector ``(D,)``; None when it was not requested, or failed."""


@dataclass(frozen=True, slots=True)
class EncodedText:
    """The vector ``(D,)`` of a text, and whether the text did not fit the context of the text tower."""

    vector: Vector
    truncated: bool
