"""The terms of the objective, their weights and negatives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from scot.errors import InvalidInput

TERMS = ("contrastive", "sigmoid", "retrieved", "moved", "analogy", "direction", "preservation")
"""The terms of the loss; each has its weight in :class:`LossConfig`, as ``NAME_weight``."""

_COMPARING = TERMS[:4]  # the terms that compare candidates, with the temperature


@dataclass(frozen=True, slots=True)
class LossConfig:
    """The weights of the terms, and the negatives in addition to the T_u of the batch's other rows."""

    contrastive_weight: float = 1.0
    """Weight of InfoNCE to the edited caption T_u."""
    sigmoid_weight: float = 0.0
    """Weight of the sigmoid loss, in which every candidate with T_u's text is a positive."""
    retrieved_weight: float = 0.0
    """Weight of InfoNCE to the image nearest to T_u, the second target."""
    moved_weight: float = 0.0
    """Weight of InfoNCE to the moved image, I + T_u − T_o mixed with T_u, among the moved images of the batch."""
    direction_weight: float = 0.0
    """Weight of the direction loss, cos(V_c − I, T_u − T_o)."""
    preservation_weight: float = 0.0
    """Weight of source preservation: V_c equals I, except along the edit's direction."""
    analogy_weight: float = 0.0
    """Weight of the analogy, 1 − cos of V_c and the moved image."""
    moved_share: float = 0.5
    """The share of I + T_u − T_o in the moved image; the rest is T_u."""
    caption_negatives: bool = True
    """The captions T_o of the batch are negatives: a row's own T_o punishes ignoring the edit."""
    edit_negatives: bool = False
    """The edits T_m of the batch are negatives: a row's own T_m punishes ignoring the image."""
    image_negatives: bool = False
    """A row's own reference I is a negative: punishes returning it."""
    sibling_negatives: int = 0
    """Number of T_u of the same image's other edits that are negatives."""
    hardness: float = 0.0
    """The β of HN-NCE, which gives hard negatives more weight; 0: equal weights."""
    queue: int = 0
    """Number of earlier steps whose T_u are also negatives."""
    edit_noise: float = 0.0
    """The σ of the noise on the edits T_m."""
    target_noise: float = 0.0
    """The σ of the noise on the edited captions T_u."""
    logit_scale: float = 20.0
    """The inverse temperature s, or its initial value."""
    learn_scale: bool = True
    """Learn the inverse temperature."""
    sigmoid_bias: float = -10.0
    """The initial value of the learned bias of the sigmoid loss."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LossConfig:
        """The inverse of ``dataclasses.asdict``. Raises InvalidInput when there is no such term or setting."""
        known = [field.name for field in fields(cls)]
        unknown = sorted(values.keys() - set(known))
        if unknown:
            raise InvalidInput(f"the loss has no term or setting {', '.join(unknown)}; known: {', '.join(known)}")
        return cls(**values)

    def weights(self) -> dict[str, float]:
        """The terms in use with their weights, in the order of :data:`TERMS`."""
        return {term: weight for term in TERMS if (weight := float(getattr(self, f"{term}_weight")))}

    def __post_init__(self) -> None:
        at_least_0 = [f"{term}_weight" for term in TERMS]
        for name in (*at_least_0, "sibling_negatives", "hardness", "queue", "edit_noise", "target_noise"):
            value = getattr(self, name)
            if not 0.0 <= value < float("inf"):
                raise InvalidInput(f"{name} must be a number and not negative, but is {value}")
        if not 0.0 <= self.moved_share <= 1.0:
            raise InvalidInput(f"moved_share must be from 0 to 1, not {self.moved_share}")
        if not any(getattr(self, f"{term}_weight") for term in _COMPARING):
            named = ", ".join(f"{term}_weight" for term in _COMPARING)
            raise InvalidInput(f"one of {named} must be above 0: the other terms alone have no negatives")
        if not 0.0 < self.logit_scale <= 100.0:
            raise InvalidInput(f"logit_scale must be above 0 and at most 100, not {self.logit_scale}")
