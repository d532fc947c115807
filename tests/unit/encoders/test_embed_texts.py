"""Texts in one call: tokenized, embedded, with hidden states when requested, and which of them were cut."""

from __future__ import annotations

import numpy as np
import pytest

from scot.encoders import Encoder, load_encoder
from scot.encoders.base import embed_texts
from scot.errors import InvalidInput

TEXTS = ["a red shirt", "a " + "very " * 200 + "long text"]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("tiny")


def test_vectors_and_what_was_cut(encoder: Encoder) -> None:
    vectors_ND, states, truncated = embed_texts(encoder, TEXTS)
    np.testing.assert_array_equal(vectors_ND, encoder.encode_texts(TEXTS))
    assert (states, truncated) == ([], [False, True])


def test_hidden_states_when_requested(encoder: Encoder) -> None:
    vectors_ND, states, truncated = embed_texts(encoder, TEXTS, states=True)
    np.testing.assert_allclose(vectors_ND, encoder.encode_texts(TEXTS), atol=1e-5)
    assert [each.ndim for each in states] == [2, 2]
    assert len(states[0]) < len(states[1])
    assert truncated == [False, True]


def test_no_texts(encoder: Encoder) -> None:
    vectors_ND, states, truncated = embed_texts(encoder, [])
    assert (vectors_ND.shape, states, truncated) == ((0, encoder.dim), [], [])


def test_an_encoder_without_states_refuses(encoder: Encoder) -> None:
    class Plain:
        id = "plain@1"
        tokenize = encoder.tokenize
        encode_tokens = encoder.encode_tokens

    assert len(embed_texts(Plain(), TEXTS).vectors_ND) == 2
    with pytest.raises(InvalidInput, match="plain@1 does not give its hidden states"):
        embed_texts(Plain(), TEXTS, states=True)
