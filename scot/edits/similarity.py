"""Filters on embeddings: does the edited caption differ from the caption, and is the image needed to find it?

The vectors are those of the frozen encoder that a composer is trained on: texts with equal vectors teach a composer
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scot.errors import InvalidInput

Vectors = npt.NDArray[np.float32]
Cosines = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Similarities:
    """Cosines of N edits, ``(N,)`` each. ``image_caption`` is NaN where the image was not read."""

    caption_edited: Cosines
    edit_edited: Cosines
    image_caption: Cosines

    @classmethod
    def measure(
        cls, caption_ND: Vectors, edit_ND: Vectors, edited_ND: Vectors, image_ND: Vectors | None
    ) -> Similarities:
        """From unit rows ``(N, D)``."""
        image = np.full(len(caption_ND), np.nan, np.float32) if image_ND is None else _cosines(image_ND, caption_ND)
        return cls(_cosines(caption_ND, edited_ND), _cosines(edit_ND, edited_ND), image)


@dataclass(frozen=True)
class SimilarityFilters:
    """Limits on cosines; choose them from the quantiles that ``scot edits report`` prints for your encoder."""

    most_caption_edited: float = 0.97
    """With an encoder: an edited caption with a higher cosine to the caption is ``near_identical``."""
    least_caption_edited: float = 0.0
    """With an encoder: an edited caption with a lower cosine to the caption is ``unrelated``. CLIP ViT-L/14: 0.5."""
    most_edit_edited: float = 0.9
    """With an encoder: an edit with a higher cosine to the edited caption ``gives_all_away``."""
    least_picture_caption: float = -1.0
    """With an encoder: a caption with a lower cosine to its image is a ``caption_misfits``; -1: images are not read."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not -1.0 <= getattr(self, name) <= 1.0:
                raise InvalidInput(f"{name} must be between -1 and 1, not {getattr(self, name)}")

    def reasons(self, measured: Similarities) -> list[str | None]:
        """Why each edit is refused, or None."""
        tests = (  # a NaN cosine is refused, except for an image that was not read
            ("near_identical", ~(measured.caption_edited <= self.most_caption_edited)),
            ("unrelated", ~(measured.caption_edited >= self.least_caption_edited)),
            ("gives_all_away", ~(measured.edit_edited <= self.most_edit_edited)),
            ("caption_misfits", measured.image_caption < self.least_picture_caption),
        )
        return [
            next((reason for reason, failed in tests if failed[n]), None) for n in range(len(measured.caption_edited))
        ]


def _cosines(one_ND: Vectors, other_ND: Vectors) -> Cosines:
    rows: Cosines = (one_ND * other_ND).sum(axis=1).clip(-1.0, 1.0)  # rounding
    return rows
