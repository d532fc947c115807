"""Encoding: its memory as the pictures grow, its speed beside the towers alone, and what kills cost.

    python benchmarks/encode.py --images 10000 100000 1000000
    python benchmarks/encode.py --speed 512 --model ViT-B-32
    python benchmarks/encode.py --kills 30
    python benchmarks/encode.py --s3 512 --model ViT-B-32

The first encodes tables of tiny pictures, a process for each number, and prints the peak of its memory: anonymous (what
the process alone holds) and resident (with the pages of mapped files, which the kernel takes back when it needs them).
The second lets the towers alone and a whole run take turns, on the same pictures and texts; the third kills runs at
random times, and compares the result and the work with those of a run that was not killed. The last lets runs take
turns whose pictures lie on the disk and on an S3 server that answers after ``--latency-ms``, as files of a table and
in tars; the server, in a process of its own, uses the same cores.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import random
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from benchmarks.memory_peak import Peak
from scot import flags
from scot.embeddings import encode
from scot.embeddings.encode import encode_triplets
from scot.encoders import Encoder, load_encoder
from scot.encoders.clip import ClipEncoder
from scot.machine import machine
from tests.support.killed_encoding import EncodingProcess, content, write_pictures, write_their_triplets
from tests.support.random_encoder import save_random_encoder
from tests.support.s3_server import served_elsewhere

_SIDE = 256


@dataclass(frozen=True, slots=True)
class EncodeBenchmark:
    """Memory by the number of pictures, speed beside the towers, or kills.

    Example: python benchmarks/encode.py --images 10000 100000
    """

    images: tuple[int, ...] = ()
    """Measure memory with these numbers of pictures."""
    states: bool = False
    """With hidden states."""
    speed: int = 0
    """Measure the speed with this number of pictures."""
    model: str = "tiny"
    """tiny, or an open_clip architecture with random weights, for the speed."""
    rounds: int = 3
    """Rounds, in which the towers alone and whole runs take turns."""
    kills: int = 0
    """Kill this many runs."""
    killed_images: int = 100_000
    """Pictures of the runs that are killed."""
    s3: int = 0
    """Compare reading this number of pictures from S3 and from the disk."""
    latency_ms: float = 50.0
    """The latency of each request to S3."""
    scratch: Path | None = None
    """Where inputs and results are written, and deleted at the end; by default in the temporary folder."""
    output: Path | None = None
    """Also write the numbers as JSON."""


def main(config: EncodeBenchmark) -> int:
    """Measure and print Markdown."""
    print(f"{machine()}; PyTorch {torch.__version__}\n", flush=True)
    if config.scratch is not None:
        config.scratch.mkdir(parents=True, exist_ok=True)
    numbers: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory(dir=config.scratch) as scratch:
        if config.images:
            numbers["memory"] = memory(config, Path(scratch))
        if config.speed:
            numbers["speed"] = speed(config, Path(scratch))
        if config.kills:
            numbers["kills"] = kills(config, Path(scratch))
        if config.s3:
            numbers["s3"] = s3(config, Path(scratch))
    if config.output is not None:
        config.output.parent.mkdir(parents=True, exist_ok=True)
        config.output.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return 0


def memory(config: EncodeBenchmark, scratch: Path) -> list[dict[str, Any]]:
    """The peak of the memory of a whole process, for each number of pictures."""
    encoder = save_random_encoder(scratch / "encoder")
    print("| pictures | anonymous, peak | resident, peak | s | CPU s |\n|---|---|---|---|---|")
    rows = []
    for count in config.images:
        inputs = {
            "sources": [write_pictures(scratch / f"pictures-{count}", count)],
            "triplets": [write_their_triplets(scratch / f"triplets-{count}", count)],
            "output": str(scratch / f"out-{count}"), "encoder": encoder, "num_workers": 0, "states": config.states,
        }  # fmt: skip
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            row = pool.apply(_encode, (inputs,))
        rows.append({"images": count, **row})
        print(
            f"| {count:,} | {row['anonymous'] / 2**20:,.0f} MiB | {row['resident'] / 2**20:,.0f} MiB "
            f"| {row['seconds']:,.0f} | {row['cpu_s']:,.0f} |", flush=True,
        )  # fmt: skip
    for kind in ("anonymous", "resident"):
        peaks = [row[kind] for row in rows]
        print(f"\n{kind}: the largest is {max(peaks) / min(peaks):.3f} times the smallest")
    return rows


def _encode(inputs: dict[str, Any]) -> dict[str, Any]:
    torch.set_num_threads(1)
    with Peak() as peak:
        encode_triplets(**inputs)
    return {**peak.whole(), "cpu_s": time.process_time()}


def speed(config: EncodeBenchmark, scratch: Path) -> dict[str, Any]:
    """Whole runs and the towers alone in turn, with one thread of PyTorch; loading is no part of either."""
    torch.set_num_threads(1)
    encoder = load_encoder("tiny", device="cpu") if config.model == "tiny" else _random(config.model)
    setattr(encode, "load_encoder", lambda name, **options: encoder)  # noqa: B010
    source = _photographs(scratch / "photographs", config.speed)
    triplets = write_their_triplets(scratch / "triplets", config.speed)
    noise = np.random.default_rng(0).integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
    pixels = [encoder.preprocess(Image.fromarray(noise))] * config.speed
    texts = [f"make it {n}" for n in range(997)] + [f"a thing of the colour {n}" for n in range(997)]
    tokens = [each.tokens for each in encoder.tokenize(texts[: 2 * config.speed])]
    taken: dict[str, list[float]] = {"towers": [], "run": []}
    for turn in range(config.rounds):
        begun = time.perf_counter()
        for start in range(0, len(pixels), 64):
            encoder.encode_pixels(pixels[start : start + 64])
        encoder.encode_tokens(tokens)
        taken["towers"].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        done = encode_triplets([source], [triplets], str(scratch / f"run-{turn}"), encoder="given", num_workers=0)
        taken["run"].append(time.perf_counter() - begun)
        assert done.info.counts["images"] == config.speed
    ratios = [a / b for a, b in zip(taken["towers"], taken["run"], strict=True)]
    towers, run = (min(each) for each in taken.values())
    print(
        f"{config.model}, {config.speed:,} JPEG files of {_SIDE}², one thread: towers alone {towers:.1f} s, a run "
        f"{run:.1f} s: {towers / run:.2f} (by round: {', '.join(f'{ratio:.2f}' for ratio in ratios)})"
    )
    return {"model": config.model, "images": config.speed, **taken}


def kills(config: EncodeBenchmark, scratch: Path) -> dict[str, Any]:
    """Runs that are killed at random times, spread over the time that an undisturbed run takes."""
    inputs = {
        "sources": [write_pictures(scratch / "pictures", config.killed_images, broken=100)],
        "triplets": [write_their_triplets(scratch / "triplets", config.killed_images)],
        "encoder": save_random_encoder(scratch / "encoder"), "num_workers": 0, "states": config.states,
        "chunk_size": 32,
    }  # fmt: skip
    once = EncodingProcess({**inputs, "output": str(scratch / "once")}, scratch / "log-once")
    begun = time.perf_counter()
    assert once.run() == 0
    seconds = time.perf_counter() - begun
    runs = EncodingProcess({**inputs, "output": str(scratch / "out")}, scratch / "log")
    generator = random.Random(0)
    killed = 0
    for _ in range(config.kills):
        killed += runs.run(kill_after_s=2 + generator.uniform(0, 2) * seconds / config.kills) != 0
    assert runs.run() == 0
    equal = content(scratch / "out") == content(scratch / "once")
    twice = runs.begun() / once.begun() - 1
    result = "byte-equal" if equal else "DIFFERENT"
    print(f"{killed} kills: the result is {result}, {twice:.2%} of the work was done twice")
    return {"kills": killed, "equal": equal, "twice": twice}


def s3(config: EncodeBenchmark, scratch: Path) -> dict[str, Any]:
    """Whole runs from the disk and from S3 in turn; a first round warms up both."""
    torch.set_num_threads(1)
    encoder = load_encoder("tiny", device="cpu") if config.model == "tiny" else _random(config.model)
    setattr(encode, "load_encoder", lambda name, **options: encoder)  # noqa: B010
    photographs = _photographs(scratch / "photographs", config.s3)
    shards = _tars(scratch / "shards", Path(photographs), config.s3)
    triplets = write_their_triplets(scratch / "triplets", config.s3)
    result: dict[str, Any] = {"model": config.model, "images": config.s3, "latency_ms": config.latency_ms}
    with served_elsewhere(config.latency_ms / 1_000) as files:
        files.mkdir("bench")
        for kind, folder in {"files of a table": photographs, "tars": shards}.items():
            files.put(f"{folder}/", f"bench/{Path(folder).name}/", recursive=True)
            taken: dict[str, list[float]] = {"disk": [], "s3": []}
            for turn in range(config.rounds + 1):
                for place, source in {"disk": folder, "s3": f"s3://bench/{Path(folder).name}"}.items():
                    output = str(scratch / f"{Path(folder).name}-{place}-{turn}")
                    begun = time.perf_counter()
                    done = encode_triplets([source], [triplets], output, encoder="given", num_workers=0)
                    taken[place].append(time.perf_counter() - begun)
                    assert done.info.counts["images"] == config.s3
            ratios = [a / b for a, b in zip(taken["disk"][1:], taken["s3"][1:], strict=True)]
            print(
                f"{config.model}, {config.s3:,} {kind}, {config.latency_ms:.0f} ms: "
                f"disk {min(taken['disk'][1:]):.1f} s, "
                f"S3 {min(taken['s3'][1:]):.1f} s; speed from S3 ÷ from the disk by round: "
                f"{', '.join(f'{ratio:.2f}' for ratio in ratios)}",
                flush=True,
            )
            result[kind] = taken
    return result


def _tars(folder: Path, photographs: Path, count: int) -> str:
    """The pictures in WebDataset tars of 256, with the ids of the table."""
    folder.mkdir()
    for start in range(0, count, 256):
        with tarfile.open(folder / f"shard-{start // 256:05d}.tar", "w") as tar:
            for number in range(start, min(count, start + 256)):
                tar.add(photographs / f"{number}.jpg", f"image-{number:08d}.jpg")
                caption = tarfile.TarInfo(f"image-{number:08d}.txt")
                caption.size = len(b"a photograph")
                tar.addfile(caption, io.BytesIO(b"a photograph"))
    return str(folder)


def _random(name: str) -> Encoder:
    import open_clip

    torch.manual_seed(0)
    size = open_clip.get_model_config(name)["vision_cfg"]["image_size"]
    return ClipEncoder(name, open_clip.create_model(name), {"size": size}, open_clip.get_tokenizer(name))


def _photographs(folder: Path, count: int) -> str:
    """JPEG files of noise over smooth colours, with the ids and captions of :func:`write_pictures`."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    names = []
    for number in range(count):
        smooth = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((_SIDE, _SIDE))
        noisy = np.asarray(smooth, np.int16) + rng.integers(-12, 13, (_SIDE, _SIDE, 3))
        names.append(f"{number}.jpg")
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / names[-1], quality=90)
    ids = [f"image-{number:08d}" for number in range(count)]
    pq.write_table(
        pa.table({"id": ids, "image": names, "caption": ["a photograph"] * count}), folder / "captions.parquet"
    )
    return str(folder)


if __name__ == "__main__":
    sys.exit(flags.run("encode benchmark", main, EncodeBenchmark))
