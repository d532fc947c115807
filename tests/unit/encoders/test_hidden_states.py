"""The hidden states of every family of encoders: beside the same vectors, one for each token, clear refusals."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from scot.encoders import Encoder, load_encoder, state_encoder
from scot.errors import InvalidInput
from tests.support.random_blip2 import save_random_blip2
from tests.support.random_encoder import save_random_encoder, save_random_siglip

TEXTS = ["make it red", "", *(" ".join(["red"] * n) for n in range(1, 40, 3)), "a"]


@pytest.fixture(scope="module", params=["tiny", "a transformer", "SigLIP", "BLIP-2"])
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    folder = tmp_path_factory.mktemp("encoder") / "model"
    match request.param:
        case "a transformer":
            return load_encoder(save_random_encoder(folder))
        case "SigLIP":
            return load_encoder(save_random_siglip(folder))
        case "BLIP-2":
            save_random_blip2(folder)
            return load_encoder(f"blip2:local-dir:{folder}")
    return load_encoder("tiny")


def test_the_vectors_beside_them_are_the_same(encoder: Encoder) -> None:
    noise = [Image.effect_noise((90, 50 + n), 80).convert("RGB") for n in range(3)]
    pixels = [encoder.preprocess(picture) for picture in noise]
    vectors_ND, states = state_encoder(encoder).encode_pixels_states(pixels)
    np.testing.assert_allclose(vectors_ND, encoder.encode_pixels(pixels), atol=1e-5)
    assert len({each.shape for each in states}) == 1
    assert not np.allclose(states[0], states[1])
    tokens = [text.tokens for text in encoder.tokenize(TEXTS)]
    vectors_ND, states = state_encoder(encoder).encode_tokens_states(tokens)
    np.testing.assert_allclose(vectors_ND, encoder.encode_tokens(tokens), atol=1e-5)
    assert {each.dtype for each in states} == {np.dtype(np.float16)}


def test_a_text_has_a_state_for_each_of_its_tokens_whatever_is_beside_it(encoder: Encoder) -> None:
    telling = state_encoder(encoder)
    tokens = [text.tokens for text in encoder.tokenize(["red", "red red red red", "red"])]
    _, states = telling.encode_tokens_states(tokens)
    _, alone = telling.encode_tokens_states(tokens[:1])
    np.testing.assert_allclose(states[0].astype(np.float32), alone[0].astype(np.float32), atol=2e-3)
    np.testing.assert_array_equal(states[0], states[2])
    assert len(states[1]) >= len(states[0])
    assert telling.encode_tokens_states([])[1] == telling.encode_pixels_states([])[1] == []


def test_an_encoder_that_does_not_tell_them_is_one_sentence() -> None:
    class Sealed:
        id = "sealed@1-8d"

    with pytest.raises(InvalidInput, match="the encoder sealed@1-8d does not give its hidden states"):
        state_encoder(Sealed())  # type: ignore[arg-type]
