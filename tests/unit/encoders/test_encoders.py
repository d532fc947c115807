"""Encoders: open_clip's own preprocessing and tokeniser, unit rows, ids that tell what changed, clear refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from scot.encoders import Encoder, load_encoder
from scot.encoders.packaged import TINY_DIR
from scot.errors import InvalidInput
from scot.worlds import load_world
from scot.worlds.gallery import catalogue
from tests.support.random_encoder import save_random_encoder, save_random_siglip


@pytest.fixture(scope="module")
def tiny() -> Encoder:
    return load_encoder("tiny")


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    worlds = load_world("wardrobe"), load_world("scenes")
    drawn = [drawing.draw(world) for world in worlds for drawing in catalogue(world, 4, split="eval", seed=0)]
    return [*drawn, Image.new("RGB", (31, 200), "teal"), Image.new("RGB", (1, 1))]


def test_the_tiny_encoder_is_small_and_is_an_ordinary_open_clip_model(
    tiny: Encoder, pictures: list[Image.Image]
) -> None:
    assert sum(file.stat().st_size for file in TINY_DIR.iterdir()) <= 8 * 2**20
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{TINY_DIR}")
    model.eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{TINY_DIR}")
    # Of every length: the encoder computes little of the padding, which must not change a vector.
    texts = ["a red striped shirt", "make it blue", "", *(" ".join(["red"] * n) for n in range(40))]
    with torch.inference_mode():
        images = model.encode_image(torch.stack([preprocess(picture) for picture in pictures]), normalize=True)
        words = model.encode_text(tokenizer(texts), normalize=True)
    np.testing.assert_allclose(tiny.encode_images(pictures), images.numpy(), atol=1e-4)
    np.testing.assert_allclose(tiny.encode_texts(texts), words.numpy(), atol=1e-4)


def test_rows_are_unit_float32_and_do_not_depend_on_the_batch(tiny: Encoder, pictures: list[Image.Image]) -> None:
    rows = tiny.encode_images(pictures)
    assert rows.shape == (len(pictures), tiny.dim)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(tiny.encode_images(pictures[:1])[0], rows[0], atol=1e-4)
    assert tiny.encode_images([]).shape == (0, tiny.dim)
    assert tiny.encode_texts([]).shape == (0, tiny.dim)


def test_a_siglip_model_gives_what_open_clip_gives(tmp_path: Path, pictures: list[Image.Image]) -> None:
    encoder = load_encoder(save_random_siglip(tmp_path / "siglip"))
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path / 'siglip'}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'siglip'}")
    texts = ["a red shirt", "", "striped", " ".join(["red"] * 30)]
    with torch.inference_mode():
        images = model.eval().encode_image(torch.stack([preprocess(picture) for picture in pictures]), normalize=True)
        words = model.encode_text(tokenizer(texts), normalize=True)
    np.testing.assert_allclose(encoder.encode_images(pictures), images.numpy(), atol=1e-4)
    np.testing.assert_allclose(encoder.encode_texts(texts), words.numpy(), atol=1e-5)
    np.testing.assert_allclose(encoder.encode_texts(texts[:1])[0], words[0].numpy(), atol=1e-5)
    # The end token pads as well, and takes one of the 16 places.
    assert [encoder.tokenize(["a " * words])[0].truncated for words in (1, 14, 15, 16, 17, 18, 40)] == [
        False, False, False, True, True, True, True,
    ]  # fmt: skip


def test_a_text_finds_its_picture(tiny: Encoder) -> None:
    world = load_world("wardrobe")
    drawings = catalogue(world, 60, split="eval", seed=3)
    texts, images = zip(*((drawing.caption(world), drawing.draw(world)) for drawing in drawings), strict=True)
    scores = tiny.encode_texts(texts) @ tiny.encode_images(images).T
    assert (scores.argmax(1) == np.arange(60)).mean() > 0.8


@pytest.mark.parametrize("name", ["tiny", "random"])
def test_truncation_is_told(name: str, tmp_path: Path) -> None:
    encoder = load_encoder("tiny" if name == "tiny" else save_random_encoder(tmp_path / "model"))
    assert not encoder.tokenize(["make it red"])[0].truncated
    assert not encoder.tokenize([""])[0].truncated
    context = len(encoder.tokenize([""])[0].tokens)
    # Every "a" is one token in either vocabulary; two places are for the start and the end.
    assert not encoder.tokenize(["a " * (context - 2)])[0].truncated
    assert encoder.tokenize(["a " * (context - 1)])[0].truncated
    assert encoder.tokenize(["a " * 500])[0].truncated


def test_the_id_tells_weights_apart_and_not_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = load_encoder(save_random_encoder(tmp_path / "a" / "model", seed=0))
    same = load_encoder(save_random_encoder(tmp_path / "b" / "model", seed=0))
    other = load_encoder(save_random_encoder(tmp_path / "c" / "model", seed=1))
    renamed = load_encoder(save_random_encoder(tmp_path / "d" / "another-name", seed=0))
    monkeypatch.chdir(tmp_path / "a")
    here = [load_encoder("local-dir:model"), load_encoder("local-dir:./model"), load_encoder("local-dir:../b/model/")]
    assert {encoder.id for encoder in (same, renamed, *here)} == {one.id}
    assert one.id != other.id
    assert str(tmp_path) not in one.id
    assert one.id.endswith("-32d")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", "not tiny, NAME/PRETRAINED"),
        ("ViT-B-32/", "not tiny, NAME/PRETRAINED"),
        ("no-such-model/openai", "cannot be loaded: open_clip knows no model"),
        ("local-dir:/no/such/folder", "cannot be loaded"),
    ],
)
def test_a_wrong_name_is_one_sentence(name: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        load_encoder(name)
    assert "\n" not in str(caught.value)


def test_a_wrong_dtype_is_one_sentence() -> None:
    with pytest.raises(InvalidInput, match="float32, bfloat16 or float16, not 'int8'"):
        load_encoder("tiny", dtype="int8")
