"""Images are resized and cropped as open_clip does, without importing it."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
from typing import Any

import numpy as np
import open_clip
import pytest
from PIL import Image

from scot.encoders import Resizing
from scot.encoders.open_clip_hooks import preprocessing
from scot.errors import InvalidInput

SIZES = [(1, 1), (1, 300), (300, 1), (63, 64), (64, 64), (65, 64), (640, 427), (427, 640), (20, 31), (31, 20), (97, 33)]


def images() -> list[Image.Image]:
    rng = random.Random(0)
    sizes = SIZES + [(rng.randint(1, 200), rng.randint(1, 200)) for _ in range(40)]
    noise = np.random.default_rng(0).integers(0, 256, (640, 640, 3), dtype=np.uint8)
    return [Image.fromarray(noise[:height, :width]) for width, height in sizes]


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "random"])
@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("size", [64, 33, (48, 80), (81, 48)])
def test_pixels_are_those_of_open_clip(size: Any, resize_mode: str, interpolation: str) -> None:
    settings = {"size": size, "resize_mode": resize_mode, "interpolation": interpolation, "fill_color": 7}
    config = open_clip.transform.PreprocessCfg(**settings)
    *steps, _, _ = open_clip.transform.image_transform_v2(config, is_train=False).transforms
    resizing, _, _ = preprocessing(settings)
    for image in images():
        expected = image
        try:
            for step in steps:
                expected = step(expected)
        except ValueError:  # open_clip cannot resize an image so narrow that a side would have no pixel
            assert resize_mode == "longest"
            assert max(image.size) > 30 * min(image.size)
            continue
        np.testing.assert_array_equal(resizing(image), np.asarray(expected), err_msg=str(image.size))


def test_an_image_too_narrow_for_open_clip_keeps_a_pixel() -> None:
    pixels = Resizing((32, 32), "longest")(Image.new("RGB", (500, 1), "white"))
    assert pixels.shape == (32, 32, 3)
    assert pixels.max() == 255


def test_it_can_be_sent_to_a_process_that_has_no_torch() -> None:
    resizing = Resizing((32, 48), "longest", fill=9)
    program = (
        "import pickle, sys; from PIL import Image\n"
        "resizing = pickle.load(sys.stdin.buffer)\n"
        "sys.stdout.buffer.write(resizing(Image.new('RGB', (5, 9), 'teal')).tobytes())\n"
        "assert not {'torch', 'torchvision', 'open_clip'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(resizing), stdout=subprocess.PIPE, check=True
    )
    assert done.stdout == resizing(Image.new("RGB", (5, 9), "teal")).tobytes()


def test_an_unknown_way_to_resize_is_refused() -> None:
    with pytest.raises(InvalidInput, match="resize_mode must be one of shortest, longest, squash, not 'crop'"):
        preprocessing({"size": 64, "resize_mode": "crop"})
