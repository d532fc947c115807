"""The packaged encoder without open_clip gives what open_clip gives."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from matplotlib import cbook
from PIL import Image

from scot.encoders import StateEncoder, load_encoder
from scot.encoders.packaged import TINY_DIR

TEXTS = [
    "make it red",
    "",
    "a  shirt &amp;amp; coat",
    "\uff26\uff35\uff2c\uff2c <end> width",
    "red " * 60,
    "\u65e5\u672c \xe2\u20ac\u2122",
]


@pytest.fixture(scope="module")
def encoders() -> tuple[StateEncoder, StateEncoder]:
    ours, theirs = load_encoder("tiny", device="cpu"), load_encoder(f"local-dir:{TINY_DIR}", device="cpu")
    assert isinstance(ours, StateEncoder)
    assert isinstance(theirs, StateEncoder)
    return ours, theirs


def test_the_id_is_that_of_the_weights_and_the_preprocessing(encoders: tuple[StateEncoder, StateEncoder]) -> None:
    ours, theirs = encoders
    assert ours.id.split("@")[1] == theirs.id.split("@")[1]
    assert ours.resizing == theirs.resizing


def test_photographs_and_their_states(encoders: tuple[StateEncoder, StateEncoder]) -> None:
    ours, theirs = encoders
    names = ("grace_hopper.jpg", "Minduka_Present_Blue_Pack.png", "logo2.png")
    photographs = [Image.open(cbook.get_sample_data(name)).convert("RGB") for name in names]
    pixels = [ours.preprocess(photograph) for photograph in photographs]
    for (found_ND, states), (expected_ND, expected_states) in [
        (ours.encode_pixels_states(pixels), theirs.encode_pixels_states(pixels)),
        (
            ours.encode_tokens_states(tokens := [t.tokens for t in theirs.tokenize(TEXTS)]),
            theirs.encode_tokens_states(tokens),
        ),
    ]:
        np.testing.assert_allclose(found_ND, expected_ND, atol=1e-6)
        for found_LW, expected_LW in zip(states, expected_states, strict=True):
            length = min(len(found_LW), len(expected_LW))  # after a spelled-out end token, ours reads no further
            found, expected = (each[:length].astype(float) for each in (found_LW, expected_LW))
            np.testing.assert_allclose(found, expected, atol=2e-3, rtol=1e-3)  # 2^-10: the steps of float16


def test_tokens_are_the_same_and_what_does_not_fit_is_told(encoders: tuple[StateEncoder, StateEncoder]) -> None:
    ours, theirs = encoders
    texts = [*TEXTS, *("a " * words for words in range(26, 40))]
    for text, found, expected in zip(texts, ours.tokenize(texts), theirs.tokenize(texts), strict=True):
        np.testing.assert_array_equal(found.tokens, expected.tokens, err_msg=text)
        assert found.truncated == expected.truncated, text
    assert ours.tokenize([]) == []


def test_half_precision_is_near(encoders: tuple[StateEncoder, StateEncoder]) -> None:
    half = load_encoder("tiny", device="cpu", dtype="bfloat16")
    similar_N = (half.encode_texts(TEXTS) * encoders[0].encode_texts(TEXTS)).sum(1)
    assert similar_N.min() > 0.99


def test_it_does_not_import_open_clip() -> None:
    program = (
        "import sys; from scot.encoders import load_encoder; load_encoder('tiny').encode_texts(['red'])\n"
        "assert not {'open_clip', 'torchvision', 'transformers', 'timm', 'torch._dynamo'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
