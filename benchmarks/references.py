"""What a reference by id needs besides its vector: ``python benchmarks/references.py --output references.json``.

Draws a gallery of each world and composes its queries with a composer that reads patches. The reference's vector is
always the stored one; its patches are those of the picture, none, their int8 form, or those of the picture's thumbnail,
encoded again. A thumbnail of 110 pixels is to the packaged encoder (96) what one of 256 pixels is to an encoder of 224.
Each row has recall, the bytes that are kept for an item, and the processor time of getting the patches.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from scot import flags
from scot.composers import Composer, composer_path, load_composer
from scot.composers.base import States, padded
from scot.data.images import decode_image
from scot.embeddings.hidden_states import pack, unpack
from scot.encoders import Encoder, load_encoder, state_encoder
from scot.evaluation.images import ImageFile
from scot.evaluation.model import EncodedBenchmark, encode_benchmark
from scot.evaluation.scoring import score
from scot.evaluation.worlds import read_gallery
from scot.index import thumbnails
from scot.machine import machine
from scot.worlds.drawing import DrawConfig, draw

_MEASURED = ("recall@1", "recall@10")
_TIMED = 64


@dataclass(frozen=True, slots=True)
class ReferencesBenchmark:
    """Measure references by id with and without patches."""

    composer: str = "tiny-1"
    """The composer, which reads patches."""
    encoder: str = "tiny"
    """Its encoder."""
    worlds: tuple[str, ...] = ("wardrobe", "scenes")
    """The drawn worlds."""
    size: int = 4_000
    """Pictures of a gallery."""
    queries: int = 2_000
    """Queries of a gallery."""
    seeds: tuple[int, ...] = (0, 1)
    """One gallery each."""
    output: Path | None = None
    """Also write the numbers as JSON."""


Patches = list[npt.NDArray[np.float16] | None]


@dataclass(frozen=True, slots=True)
class Replaced(EncodedBenchmark):
    """A benchmark whose references have other patches."""

    patches: Callable[[Sequence[ImageFile]], Patches] | None = None
    """From references to their patches ``(L, W)``; None: those of the pictures."""

    def states(self, part: str, start: int, pairs: Sequence[tuple[str, str]]) -> tuple[States, States]:
        """The hidden states of (image, edit) pairs."""
        if self.patches is None:
            return EncodedBenchmark.states(self, part, start, pairs)
        _, edits = state_encoder(self.encoder).encode_texts_states([edit for _, edit in pairs])
        return padded(self.patches([self.images[part][name] for name, _ in pairs])), padded(edits)


def main(config: ReferencesBenchmark) -> int:
    """Measure and print a Markdown table."""
    torch.set_num_threads(1)
    print(machine(), flush=True)
    encoder = load_encoder(config.encoder, device="cpu")
    composer = load_composer(composer_path(config.composer, None), encoder_id=encoder.id, dim=encoder.dim)
    rows: list[dict[str, Any]] = []
    for world in config.worlds:
        for seed in config.seeds:
            with tempfile.TemporaryDirectory() as folder:
                rows += measured(config, world, seed, composer, Path(folder))
    print(f"| world | patches of | {' | '.join(_MEASURED)} | bytes an item | ms |\n|---|---|{'---|' * 4}")
    for world, kind in dict.fromkeys((row["world"], row["patches"]) for row in rows):
        some = [row for row in rows if (row["world"], row["patches"]) == (world, kind)]
        means = [f"{np.mean([row[name] for row in some]):.3f}" for name in _MEASURED]
        print(f"| {world} | {kind} | {' | '.join(means)} | {some[0]['bytes']:,.0f} | {some[0]['cpu_ms']:.2f} |")
    if config.output is not None:
        config.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return 0


def measured(
    config: ReferencesBenchmark, world: str, seed: int, composer: Composer, folder: Path
) -> list[dict[str, Any]]:
    """The rows of one gallery."""
    encoder = load_encoder(config.encoder, device="cpu")
    gallery = folder / "gallery"
    with redirect_stdout(sys.stderr):
        draw(DrawConfig(world, gallery, "eval", config.size, config.queries, seed))  # type: ignore[arg-type]
    whole = encode_benchmark(read_gallery(gallery), encoder, gallery, folder / "cache")
    some = [*next(iter(whole.images.values())).values()][:_TIMED]
    rows = []
    for kind, (patches, stored, read) in kinds(encoder).items():
        changed = Replaced(whole.benchmark, encoder, whole.images, whole.vectors, whole.cache, patches=patches)
        (vectors,) = changed.compose(composer)
        metrics = score(whole.benchmark, changed.rank(vectors)).metrics
        kept = [stored(image) for image in some]
        row: dict[str, Any] = {"world": world, "seed": seed, "patches": kind, "bytes": np.mean([*map(len, kept)])}
        rows.append({**row, "cpu_ms": _cpu_ms(kept, read), **{name: metrics[name] for name in _MEASURED}})
    return rows


Kind = tuple[Callable[[Sequence[ImageFile]], Patches] | None, Callable[[ImageFile], bytes], Callable[[bytes], object]]
"""The patches of references, what is kept of one, and how its patches come out of that."""


def kinds(encoder: Encoder) -> dict[str, Kind]:
    """Every way to get the patches of an item."""
    towers = state_encoder(encoder)

    def encoded(images: Sequence[Image.Image]) -> Patches:
        return [*towers.encode_pixels_states([encoder.preprocess(image) for image in images])[1]]

    def packed(image: ImageFile) -> bytes:
        return pack(encoded([image.load()])[0], "int8")

    def unpacked(data: bytes) -> npt.NDArray[np.float16]:
        return unpack(data, width, "int8")

    def thumbnail(side: int, image: ImageFile) -> bytes:
        small = image.load()
        small.thumbnail((side, side), Image.Resampling.BILINEAR)
        return thumbnails.encode(small)

    (first,) = encoded([Image.new("RGB", (8, 8))])
    assert first is not None
    width = first.shape[1]
    found: dict[str, Kind] = {
        "the picture": (None, lambda image: image.file.read_bytes(), lambda data: encoded([decode_image(data)])),
        "none": (lambda images: [None] * len(images), lambda image: b"", len),
        "their int8 form": (lambda images: [unpacked(packed(image)) for image in images], packed, unpacked),
    }
    for side in (thumbnails.SIDE, 110, 64):
        kept = partial(thumbnail, side)
        found[f"a thumbnail of {side} pixels"] = (
            lambda images, kept=kept: encoded([decode_image(kept(image)) for image in images]),  # type: ignore[misc]
            kept,
            lambda data: encoded([decode_image(data)]),
        )
    return found


def _cpu_ms(inputs: Sequence[Any], work: Callable[[Any], object]) -> float:
    work(inputs[0])  # to warm up
    begun = time.process_time()
    for each in inputs:
        work(each)
    return (time.process_time() - begun) / len(inputs) * 1e3


if __name__ == "__main__":
    sys.exit(flags.run("references benchmark", main, ReferencesBenchmark))
