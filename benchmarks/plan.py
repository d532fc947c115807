"""The coefficients of ``scot plan`` that no other benchmark prints: ``python benchmarks/plan.py``.

They are sizes and ratios, and the processor time of decoding, so a busy machine changes them little. The captions are
those of ``scot composers bootstrap``, edited by the slots engine; the pictures are JPEGs with noise, as photographs.
Copy a number into scot/plan/coefficients.toml when it has changed.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.index import draw_jpegs
from scot import flags
from scot.bootstrap.captions import captions
from scot.data.images import decode_image
from scot.edits.chunk_generator import GenerationConfig
from scot.edits.engines import EngineConfig
from scot.edits.generation import generate_triplets
from scot.embeddings.encode import encode_triplets
from scot.embeddings.memory_mapped import open_cache
from scot.encoders.resizing import Resizing
from scot.machine import machine


@dataclass(frozen=True, slots=True)
class PlanBenchmark:
    """Measure what a picture, a triplet and an embedding take.

    Example: python benchmarks/plan.py
    """

    captions: int = 10_000
    """Captioned images to edit and encode."""
    edits_per_caption: int = 4
    """Edits of each."""
    pictures: int = 300
    """JPEGs of 640 pixels to decode."""
    output: Path | None = None
    """Also write the numbers as JSON."""


def main(config: PlanBenchmark) -> int:
    """Measure and print one line a number."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        numbers = _decoding(config, Path(folder)) | _data(config, Path(folder))
    print(machine())
    for name, value in numbers.items():
        print(f"{name} = {value:.4g}")
    if config.output is not None:
        config.output.write_text(json.dumps({"machine": machine(), **numbers}, indent=2) + "\n", encoding="utf-8")
    return 0


def _decoding(config: PlanBenchmark, folder: Path) -> dict[str, float]:
    """Processor milliseconds to decode a picture and resize it to 224 pixels."""
    draw_jpegs(folder / "jpegs", config.pictures, 640)
    files = [path.read_bytes() for path in sorted((folder / "jpegs").iterdir())]
    resize = Resizing((224, 224))
    begun = time.process_time()
    for data in files:
        resize(decode_image(data))
    return {
        "decode_core_ms": 1_000 * (time.process_time() - begun) / len(files),
        "jpeg_kb": sum(map(len, files)) / len(files) / 1e3,
    }


def _data(config: PlanBenchmark, folder: Path) -> dict[str, float]:
    """What triplets and their embeddings take on the disk, and how many texts they have."""
    texts = list(dict(captions(config.captions, 0)))
    source = folder / "source"
    source.mkdir()
    rng = np.random.default_rng(0)
    for number in range(len(texts)):
        noise = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8)).resize((32, 32))
        noise.save(source / f"{number:06d}.png")
    with (source / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "caption"])
        rows.writerows((f"{number:06d}.png", text) for number, text in enumerate(texts))
    settings = GenerationConfig(EngineConfig(engine="slots"), config.edits_per_caption)
    made = generate_triplets([str(source)], str(folder / "triplets"), config=settings, num_workers=0)
    encoded = encode_triplets([str(source)], [str(folder / "triplets")], str(folder / "cache"), num_workers=0)
    counts = encoded.info.counts
    vectors = (counts["images"] + counts["texts"]) * encoded.info.dim * 2
    cache = open_cache(str(folder / "cache"))
    return {
        "edits_accepted_share": made.manifest.count / (len(texts) * config.edits_per_caption),
        "texts_per_triplet": (counts["texts"] - len(texts)) / counts["triplets"],
        "words_per_text": float(np.mean([len(text.split()) for text in cache.texts[:5_000]])),
        "tokens_per_text": _tokens(list(cache.texts[:5_000])),
        "triplet_bytes": _bytes(folder / "triplets") / made.manifest.count,
        "cache_bytes_beside_vectors": (_bytes(folder / "cache") - vectors) / counts["triplets"],
    }


def _tokens(texts: list[str]) -> float:
    """Tokens of a text for a CLIP, its begin and end included."""
    import open_clip

    tokens_NL = open_clip.get_tokenizer("ViT-B-32")(texts).numpy()
    return float((tokens_NL.argmax(axis=1) + 1).mean())


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(flags.run("plan.py", main, PlanBenchmark))
