"""Pictures within a number of pixels: the sizes of Qwen2-VL's own function, and its processor leaves them alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.qwen2_vl import Qwen2VLImageProcessor
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from scot.encoders import PixelBudget
from scot.errors import ImageRefused

BUDGET = PixelBudget(most=24 * 28 * 28, least=2 * 28 * 28, multiple=28)


@given(st.integers(1, 3_000), st.integers(1, 3_000))
@settings(max_examples=300, deadline=None)
def test_sizes_are_those_of_transformers(width: int, height: int) -> None:
    if max(width, height) > 200 * min(width, height):
        with pytest.raises(ImageRefused, match="200 times"):
            BUDGET.resized(width, height)
        return
    expected = smart_resize(height, width, factor=28, min_pixels=BUDGET.least, max_pixels=BUDGET.most)
    assert BUDGET.resized(width, height)[::-1] == expected


def test_the_processor_does_not_resize_again() -> None:
    pixels = BUDGET(Image.effect_noise((301, 97), 80).convert("RGB"))
    limits = {"min_pixels": BUDGET.least, "max_pixels": BUDGET.most}
    processor = Qwen2VLImageProcessor(**limits)
    as_is, resized = (processor(Image.fromarray(pixels), do_resize=on, return_tensors="np") for on in (False, True))
    np.testing.assert_array_equal(as_is["pixel_values"], resized["pixel_values"])
    assert as_is["image_grid_thw"].tolist() == [[1, pixels.shape[0] // 14, pixels.shape[1] // 14]]


def test_without_a_multiple_only_what_is_too_large_is_resized() -> None:
    budget = PixelBudget(most=5_000)
    small = Image.effect_noise((90, 50), 80).convert("RGB")
    np.testing.assert_array_equal(budget(small), np.asarray(small))
    assert budget.resized(180, 100) == (94, 52)
