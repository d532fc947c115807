"""Bulk indexing: what can be decoded is stored once under its id, the rest is counted, and a rerun changes nothing."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scot.data.records import CaptionedImage, Refusals
from scot.encoders import load_encoder
from scot.encoders.clip import ClipEncoder
from scot.errors import EncoderMismatch
from scot.index.bulk import index_captioned
from scot.index.store import GalleryStore, Item
from scot.progress import Progress
from tests.support.random_encoder import save_random_encoder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> ClipEncoder:
    return load_encoder(save_random_encoder(tmp_path_factory.mktemp("encoder")), device="cpu")


def records() -> Iterator[CaptionedImage]:
    for number in range(7):
        buffer = io.BytesIO()
        Image.new("RGB", (40, 40), (number * 30, 0, 0)).save(buffer, "PNG")
        payload = {"n": number, "nan": float("nan"), "numpy": np.float32(0.5)}
        captions = (f"shade {number}", "another") if number == 0 else (f"shade {number}",)
        yield CaptionedImage(f"p{number}", buffer.getvalue(), captions, payload)
        if number == 3:
            yield CaptionedImage("broken", b"not a picture", ("x",), {})
            yield CaptionedImage("missing", Path("nowhere.png"), ("x",), {})


def test_indexing_twice_is_indexing_once(tmp_path: Path, encoder: ClipEncoder) -> None:
    async def work() -> None:
        store = GalleryStore.open(path=tmp_path)
        lines: list[str] = []
        for _ in range(2):
            refusals = Refusals()
            with Progress(lines.append, every_s=0).task("indexing", 9, "images") as task:
                stored = await index_captioned(store, "gallery", records(), encoder, refusals, batch_size=3, task=task)
            assert stored == 7
            assert refusals.total == 2
            assert refusals.counts["missing"] == 1
            assert (await store.info("gallery")).items == 7
        assert [line.partition(" (")[0] for line in lines[:3]] == [f"indexing: {n} of 9 images" for n in (3, 6, 9)]
        assert lines[2].endswith("2 refused")
        got = (await store.get("gallery", ["p0"], with_vectors=True))["p0"]
        expected = {"n": 0, "nan": None, "numpy": 0.5, "caption": "shade 0", "captions": ["shade 0", "another"]}
        assert got.payload == expected
        np.testing.assert_allclose(got.vector, encoder.encode_images([Image.new("RGB", (40, 40))])[0], atol=1e-5)
        await store.close()

    asyncio.run(work())


def test_a_collection_of_another_encoder_is_left_alone(tmp_path: Path, encoder: ClipEncoder) -> None:
    async def work() -> None:
        store = GalleryStore.open(path=tmp_path)
        await store.ensure("gallery", "another@0-32d", 32)
        await store.upsert("gallery", [Item("a", np.ones(32, np.float32))])
        with pytest.raises(EncoderMismatch, match="another@0-32d"):
            await index_captioned(store, "gallery", records(), encoder, Refusals())
        assert (await store.info("gallery")).items == 1
        await store.close()

    asyncio.run(work())
