"""What the benchmarks of the service ask of it: a gallery of random vectors, pictures, and queries."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scot.encoders import load_encoder
from scot.index.store import GalleryStore, Item
from scot.v1 import search_pb2

WORDS = ("red", "green", "blue", "striped", "dotted", "long", "short", "bright")


async def fill(path: Path, encoder_name: str, items: int) -> None:
    """A gallery of random unit vectors in the embedded store."""
    encoder = load_encoder(encoder_name, device="cpu")
    rows = np.random.default_rng(0).normal(size=(items, encoder.dim)).astype(np.float32)
    store = GalleryStore.open(path=path)
    await store.ensure("gallery", encoder.id, encoder.dim)
    await store.upsert("gallery", [Item(str(n), row, {"n": n, "caption": "a thing"}) for n, row in enumerate(rows)])
    await store.close()


def pictures(count: int, kind: str = "JPEG") -> list[bytes]:
    """Pictures of 256 x 256 pixels, smooth enough to be the size that photographs of them are."""
    rng = np.random.default_rng(1)
    buffers = [io.BytesIO() for _ in range(count)]
    for buffer in buffers:
        coarse = Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8))
        coarse.resize((256, 256), Image.Resampling.BICUBIC).save(buffer, kind)
    return [buffer.getvalue() for buffer in buffers]


def queries(composer: str, pictures: Sequence[bytes]) -> list[search_pb2.ComposeSearchRequest]:
    """A picture and an edit each, no two of them alike."""
    return [
        search_pb2.ComposeSearchRequest(
            reference=search_pb2.Reference(image=picture),
            edits=[search_pb2.Edit(text=f"make it {WORDS[n % 8]} and {WORDS[n // 8 % 8]}, number {n}")],
            composer=composer,
        )
        for n, picture in enumerate(pictures)
    ]


async def start_encoder(stub: Any) -> None:
    """Call Encode: its replica starts with the first call, which the gateway makes ten seconds after its start."""
    text = search_pb2.EncodeInput(text="red")
    await stub.Encode(search_pb2.EncodeRequest(inputs=[text]), timeout=300)
