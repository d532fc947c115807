"""Filters on embeddings, by vectors in the plane whose cosines anyone can work out."""

from __future__ import annotations

import numpy as np
import pytest

from scot.edits.similarity import Similarities, SimilarityFilters, Vectors
from scot.errors import InvalidInput

EAST, NORTH, WEST = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)
NEAR_EAST = (0.96, 0.28)  # unit, as 0.96² + 0.28² = 1
NORTH_EAST = (0.6, 0.8)
NORTH_WEST = (-0.6, 0.8)


def rows(*vectors: tuple[float, float]) -> Vectors:
    return np.array(vectors, np.float32)


def reason(
    filters: SimilarityFilters,
    *,
    caption: tuple[float, float] = EAST,
    edit: tuple[float, float] = NORTH,
    edited: tuple[float, float] = NORTH_EAST,
    image: tuple[float, float] | None = None,
) -> str | None:
    pictures = None if image is None else rows(image)
    (found,) = filters.reasons(Similarities.measure(rows(caption), rows(edit), rows(edited), pictures))
    return found


def test_cosines_are_those_of_the_rows() -> None:
    measured = Similarities.measure(
        rows(EAST, EAST), rows(NORTH, NORTH_EAST), rows(NORTH_EAST, WEST), rows(NORTH_EAST, EAST)
    )
    assert measured.caption_edited == pytest.approx([0.6, -1.0])
    assert measured.edit_edited == pytest.approx([0.8, -0.6])
    assert measured.image_caption == pytest.approx([0.6, 1.0])


def test_without_pictures_theirs_is_not_a_number() -> None:
    measured = Similarities.measure(rows(EAST, EAST), rows(NORTH, NORTH), rows(WEST, WEST), None)
    assert np.isnan(measured.image_caption).tolist() == [True, True]


@pytest.mark.parametrize(
    ("edited", "expected"),
    [(EAST, "near_identical"), (NEAR_EAST, None), (NORTH_EAST, None), (NORTH, None), (NORTH_WEST, "unrelated")],
)
def test_the_edited_caption_is_neither_the_caption_nor_something_else(
    edited: tuple[float, float], expected: str | None
) -> None:
    assert reason(SimilarityFilters(), edit=WEST, edited=edited) == expected


@pytest.mark.parametrize(
    ("edit", "expected"), [(NORTH_EAST, "gives_all_away"), (NORTH, None), (EAST, None), (WEST, None)]
)
def test_the_edit_alone_does_not_find_the_edited_caption(edit: tuple[float, float], expected: str | None) -> None:
    assert reason(SimilarityFilters(), edit=edit) == expected


@pytest.mark.parametrize(
    ("image", "expected"), [(NORTH, "caption_misfits"), (NORTH_EAST, None), (EAST, None), (None, None)]
)
def test_the_caption_fits_its_picture(image: tuple[float, float] | None, expected: str | None) -> None:
    assert reason(SimilarityFilters(least_picture_caption=0.5), image=image) == expected


def test_by_default_no_picture_misfits() -> None:
    assert reason(SimilarityFilters(), image=WEST) is None


def test_every_edit_has_the_first_of_its_reasons_in_order() -> None:
    measured = Similarities.measure(
        rows(EAST, EAST, EAST),
        rows(EAST, NORTH, NORTH_EAST),
        rows(EAST, NORTH_EAST, NORTH_EAST),
        rows(WEST, EAST, WEST),
    )
    filters = SimilarityFilters(least_picture_caption=0.0)
    assert filters.reasons(measured) == ["near_identical", None, "gives_all_away"]


def test_no_edits_have_no_reasons() -> None:
    none = np.empty((0, 2), np.float32)
    assert SimilarityFilters().reasons(Similarities.measure(none, none, none, none)) == []


@pytest.mark.parametrize(
    "name", ["most_caption_edited", "least_caption_edited", "most_edit_edited", "least_picture_caption"]
)
@pytest.mark.parametrize("value", [-1.1, 1.1, float("nan")])
def test_a_limit_that_is_no_cosine_is_told(name: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=f"{name} must be between -1 and 1, not {value}"):
        SimilarityFilters(**{name: value})
