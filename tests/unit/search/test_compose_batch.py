"""A batch of queries composed together: the states that a composer gets for each of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from scot.composers import baseline
from scot.composers.base import States
from scot.encoders import Encoder, load_encoder
from services.search.composer.compose_batch import compose_batch
from services.search.composer.embedding_cache import CachedEncoder
from services.search.composer.messages import Composed, ComposeJob
from tests.support.compose_jobs import job


class Reader:
    """The sum, and a note of how many states each row had."""

    name = architecture = "reader"
    encoder_id: str | None = None
    reads_states = True

    def __init__(self) -> None:
        self.lengths: list[tuple[int, int]] = []

    def compose(self, image_BD: torch.Tensor, text_BD: torch.Tensor, *states: States) -> torch.Tensor:
        patches_B, words_B = (each.mask_BL.sum(1).tolist() for each in states)
        self.lengths += list(zip(patches_B, words_B, strict=True))
        return normalize(image_BD + text_BD, dim=-1)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("tiny")


def jobs(encoder: Encoder, *, composer: str) -> list[ComposeJob]:
    pixels = encoder.preprocess(Image.new("RGB", (96, 96), "teal"))
    red, blue = "red", "make it blue and much larger"
    vector = encoder.encode_texts(["a"])[0]
    starts = ((pixels, None, (red,)), (None, vector, (blue,)), (pixels, None, (blue, red)), (None, None, (red, blue)))
    return [job(*texts, image=image, vector=start, composer=composer) for image, start, texts in starts]


def test_only_the_start_of_a_query_shows_its_patches(encoder: Encoder) -> None:
    reader = Reader()
    answers = compose_batch(CachedEncoder(encoder), lambda _: reader, jobs(encoder, composer="reader"))
    assert all(isinstance(answer, Composed) for answer in answers)
    long = len(encoder.encode_texts_states(["make it blue and much larger"])[1][0])  # type: ignore[attr-defined]
    # A picture, a vector, a picture; then second edits, and a text-only query, which start from what came before.
    assert sorted(reader.lengths) == sorted([(9, 3), (0, long), (9, long), (0, 3), (0, long)])


def test_answers_are_those_of_a_composer_that_reads_none(encoder: Encoder) -> None:
    answers = compose_batch(CachedEncoder(encoder), lambda _: Reader(), jobs(encoder, composer="reader"))
    plain = compose_batch(CachedEncoder(encoder), lambda _: baseline("sum"), jobs(encoder, composer="sum"))
    for ours, theirs in zip(answers, plain, strict=True):
        assert isinstance(ours, Composed)
        assert isinstance(theirs, Composed)
        np.testing.assert_allclose(ours.vector, theirs.vector, atol=1e-5)


def test_a_text_that_does_not_fit_the_context_is_told(encoder: Encoder) -> None:
    long = "much larger " * 200
    queries = [("red",), ("red", long), (long,)]
    queued = [job(*texts) for texts in queries]
    answers = compose_batch(CachedEncoder(encoder), lambda _: baseline("sum"), queued)
    assert [answer.text_truncated for answer in answers if isinstance(answer, Composed)] == [False, True, True]
