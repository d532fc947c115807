"""BLIP-2 as an encoder: transformers' own scores, one vector a picture where one is wanted, clear refusals."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, Blip2ForImageTextRetrieval, Blip2Processor
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from scot.encoders import Encoder, MultiVectorEncoder, load_encoder
from scot.errors import InvalidInput
from scot.evaluation.topk import similarity
from tests.support.random_blip2 import CONTEXT, save_random_blip2
from tests.support.random_encoder import save_random_encoder

TEXTS = ["make it red", "a wide blue shirt with long sleeves", "", "no collar", "red " * 10]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blip2") / "model"
    save_random_blip2(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(folder: Path) -> MultiVectorEncoder:
    encoder = load_encoder(f"blip2:local-dir:{folder}")
    assert isinstance(encoder, MultiVectorEncoder)
    return encoder


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    rng = random.Random(0)
    return [
        Image.effect_noise((rng.randint(1, 90), rng.randint(1, 90)), 80).convert("RGB").point(lambda v: v // 2 + 60)
        for _ in range(4)
    ] + [Image.new("RGB", (40, 20), "teal")]


def multi(encoder: MultiVectorEncoder, pictures: list[Image.Image]) -> np.ndarray:
    return encoder.encode_pixels_multi([encoder.preprocess(picture) for picture in pictures])


def test_scores_are_those_of_transformers(
    folder: Path, encoder: MultiVectorEncoder, pictures: list[Image.Image]
) -> None:
    model = Blip2ForImageTextRetrieval.from_pretrained(folder).eval()
    processor = Blip2Processor(BlipImageProcessorPil.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))
    inputs = processor(images=pictures, text=TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = model(**inputs, use_image_text_matching_head=False)
    vectors_NVD, texts_ND = multi(encoder, pictures), encoder.encode_texts(TEXTS)
    np.testing.assert_allclose(vectors_NVD, expected.image_embeds.numpy(), atol=1e-5)
    np.testing.assert_allclose(texts_ND, expected.text_embeds.numpy(), atol=1e-5)
    scores_TN = similarity(torch.from_numpy(texts_ND), torch.from_numpy(vectors_NVD)).numpy()
    np.testing.assert_allclose(scores_TN.T, expected.logits_per_image.numpy(), atol=1e-5)
    assert np.ptp(scores_TN) > 0.05  # the random model does tell them apart


def test_rows_are_unit_float32_and_do_not_depend_on_the_batch(
    encoder: MultiVectorEncoder, pictures: list[Image.Image]
) -> None:
    vectors_NVD, images_ND, texts_ND = (
        multi(encoder, pictures),
        encoder.encode_images(pictures),
        encoder.encode_texts(TEXTS),
    )
    assert vectors_NVD.shape == (5, encoder.vectors_per_image, encoder.dim) == (5, 6, 24)
    for vectors in (vectors_NVD, images_ND, texts_ND):
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(multi(encoder, pictures[:1])[0], vectors_NVD[0], atol=1e-5)
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(encoder.encode_texts([text])[0], texts_ND[row], atol=1e-5)
    assert encoder.encode_images([]).shape == encoder.encode_texts([]).shape == (0, 24)
    assert multi(encoder, []).shape == (0, 6, 24)


def test_one_vector_a_picture_is_the_normalised_mean(encoder: MultiVectorEncoder, pictures: list[Image.Image]) -> None:
    mean_ND = multi(encoder, pictures).mean(1)
    expected = mean_ND / np.linalg.norm(mean_ND, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode_images(pictures), expected, atol=1e-5)


def test_the_id_tells_weights_apart_and_not_paths(encoder: Encoder, folder: Path, tmp_path: Path) -> None:
    same = load_encoder(save_random_blip2(tmp_path / "model"))
    assert load_encoder(save_random_blip2(tmp_path / "renamed")).id == same.id
    other = load_encoder(save_random_blip2(tmp_path / "other" / "model", seed=1))
    assert encoder.id == same.id != other.id
    assert encoder.id.startswith("blip2:local-dir@")
    assert encoder.id.endswith("-24d")
    settings = folder.parent / "model" / "preprocessor_config.json"
    changed = json.loads(settings.read_text()) | {"image_mean": [0.1, 0.1, 0.1]}
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(changed))
    assert load_encoder(f"blip2:local-dir:{tmp_path / 'model'}").id != encoder.id


def test_truncation_is_told(encoder: Encoder) -> None:
    fits, cut, far = encoder.tokenize(["red " * (CONTEXT - 2), "red " * (CONTEXT - 1), "red " * 500])
    assert [text.truncated for text in (fits, cut, far)] == [False, True, True]
    assert {len(text.tokens) for text in (fits, cut, far)} == {CONTEXT}
    np.testing.assert_array_equal(fits.tokens, cut.tokens)
    assert encoder.tokenize([]) == []


def test_a_special_token_that_is_spelled_out_is_text(encoder: Encoder) -> None:
    spelled, plain = encoder.tokenize(["red [PAD] blue", "red blue"])
    assert (spelled.tokens != 0).sum() > (plain.tokens != 0).sum()
    assert not np.allclose(*encoder.encode_texts(["red [SEP] blue", "red blue"]))


def test_images_are_resized_as_the_processor_does(folder: Path, encoder: Encoder, pictures: list[Image.Image]) -> None:
    processor = BlipImageProcessorPil.from_pretrained(folder)
    for picture in pictures:
        pixels = encoder.preprocess(picture)
        assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)
        expected_CHW = processor(picture, do_rescale=False, do_normalize=False)["pixel_values"][0]
        np.testing.assert_array_equal(pixels.transpose(2, 0, 1), expected_CHW)


@pytest.mark.parametrize("change", [{"do_resize": False}, {"size": {"shortest_edge": 32}}])
def test_a_processor_that_does_not_resize_to_one_size_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    name = save_random_blip2(tmp_path / "model")
    settings = tmp_path / "model" / "preprocessor_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | change))
    with pytest.raises(InvalidInput, match="must resize to one height and width"):
        load_encoder(name)


def test_half_precision_keeps_the_q_former_whole(folder: Path, encoder: Encoder, pictures: list[Image.Image]) -> None:
    half = load_encoder(f"blip2:local-dir:{folder}", dtype="bfloat16")
    assert half.id == encoder.id
    np.testing.assert_allclose(half.encode_texts(TEXTS), encoder.encode_texts(TEXTS), atol=1e-6)
    np.testing.assert_allclose(half.encode_images(pictures), encoder.encode_images(pictures), atol=0.05)


def test_a_missing_folder_is_one_sentence() -> None:
    with pytest.raises(InvalidInput, match="cannot be loaded: there is no folder /no/such") as caught:
        load_encoder("blip2:local-dir:/no/such")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["blip2:", "blip2:local-dir:"])
def test_an_empty_name_is_one_sentence(name: str) -> None:
    with pytest.raises(InvalidInput, match="blip2:"):
        load_encoder(name)


def test_a_model_of_another_class_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    save_random_blip2(tmp_path / "opt")
    config = json.loads((folder / "config.json").read_text()) | {"architectures": ["Blip2ForConditionalGeneration"]}
    (tmp_path / "opt" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidInput, match="is a Blip2ForConditionalGeneration, and BLIP-2's retrieval model is a"):
        load_encoder(f"blip2:local-dir:{tmp_path / 'opt'}")
    save_random_encoder(tmp_path / "clip")
    with pytest.raises(InvalidInput, match="cannot be loaded") as caught:
        load_encoder(f"blip2:local-dir:{tmp_path / 'clip'}")
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_all_there_are_refused(tmp_path: Path) -> None:
    name = save_random_blip2(tmp_path / "model")
    model = Blip2ForImageTextRetrieval.from_pretrained(tmp_path / "model")
    state = {key: value for key, value in model.state_dict().items() if not key.startswith("text_projection")}
    model.save_pretrained(tmp_path / "model", state_dict=state)
    with pytest.raises(InvalidInput, match=r"its weights lack text_projection\.bias and 1 others"):
        load_encoder(name)
