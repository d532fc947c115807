"""Embedding images: in order, a batch ahead; an image that cannot be decoded stops nothing."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from scot.data.records import CaptionedImage
from scot.embeddings.images import embed_images
from scot.encoders import load_encoder
from scot.encoders.base import Vectors
from scot.encoders.clip import ClipEncoder
from scot.encoders.resizing import Pixels
from tests.support.random_encoder import save_random_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> ClipEncoder:
    return load_encoder(save_random_encoder(tmp_path_factory.mktemp("encoder")), device="cpu")


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (shade, 0, 255 - shade)).save(buffer, "PNG")
    return buffer.getvalue()


def test_batches_hold_every_image_in_order(encoder: ClipEncoder) -> None:
    records = [CaptionedImage(f"p{n}", b"broken" if n == 2 else png(n * 20), ("x",), {}) for n in range(7)]
    batches = list(embed_images(records, CaptionedImage.load, encoder, batch_size=3))
    embedded = [[record.image_id for record in batch.sources] for batch in batches]
    assert embedded == [["p0", "p1"], ["p3", "p4", "p5"], ["p6"]]
    refused = [(record.image_id, error.reason) for batch in batches for record, error in batch.refused]
    assert refused == [("p2", "not_an_image")]
    vectors = np.concatenate([batch.vectors for batch in batches])
    expected = encoder.encode_images([record.load() for record in records if record.image_id != "p2"])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_sources_are_read_one_batch_ahead(encoder: ClipEncoder) -> None:
    read: list[int] = []

    def sources() -> Iterator[int]:
        for number in range(9):
            read.append(number)
            yield number

    batches = embed_images(sources(), lambda n: Image.new("RGB", (40, 40), (n, n, n)), encoder, batch_size=2)
    assert next(batches).sources == [0, 1]
    assert read == [0, 1, 2, 3]
    batches.close()  # type: ignore[attr-defined]


def test_a_custom_embedding_and_an_empty_source(encoder: ClipEncoder) -> None:
    images = [Image.new("RGB", (40, 40))] * 3

    def ones(pixels: list[Pixels]) -> Vectors:
        return np.ones((len(pixels), 2, 4), np.float32)

    (batch,) = embed_images(images, lambda image: image, encoder, embed=ones)
    assert batch.vectors.shape == (3, 2, 4)
    assert batch.states == []
    assert list(embed_images([], CaptionedImage.load, encoder)) == []
