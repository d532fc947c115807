"""Encoding's speed: whole runs beside the towers alone, and from S3 beside from the disk, in turn."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from scot.data.fingerprint import fingerprint
from scot.embeddings import encode
from scot.embeddings.encode import encode_triplets
from scot.embeddings.needed import Needed
from scot.encoders import Encoder, load_encoder
from scot.encoders.clip import ClipEncoder
from tests.support.killed_encoding import write_their_triplets
from tests.support.s3_server import served_elsewhere

_SIDE = 256
_SHARD = 256  # pictures of a tar


@dataclass(slots=True)
class Taken:
    """What a block took: seconds, processor seconds of this process, and both of the towers in it."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    towers_s: float = 0.0
    towers_cpu_s: float = 0.0

    @property
    def busy(self) -> float:
        """The share of the time in which the towers worked."""
        return self.towers_s / self.wall_s


def plain(taken: Mapping[str, Sequence[Taken]]) -> dict[str, list[dict[str, float]]]:
    """As JSON has it."""
    return {name: [asdict(each) for each in rounds] for name, rounds in taken.items()}


class Timed:
    """Measures blocks, with the towers of one encoder, whose calls take turns."""

    def __init__(self, encoder: Encoder) -> None:
        self._now = Taken()
        for name in ("encode_pixels", "encode_tokens"):
            setattr(encoder, name, self._timed(getattr(encoder, name)))

    def _timed(self, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def timed(inputs: Any) -> Any:
            wall, cpu = time.perf_counter(), time.thread_time()
            result = call(inputs)
            self._now.towers_s += time.perf_counter() - wall
            self._now.towers_cpu_s += time.thread_time() - cpu
            return result

        return timed

    @contextmanager
    def block(self) -> Iterator[Taken]:
        """Measure a block; the result is complete when it ends."""
        taken = self._now = Taken()
        wall, cpu = time.perf_counter(), time.process_time()
        yield taken
        taken.wall_s, taken.cpu_s = time.perf_counter() - wall, time.process_time() - cpu


def speed(model: str, images: int, rounds: int, scratch: Path) -> dict[str, list[Taken]]:
    """Whole runs and the towers alone in turn, with one thread of PyTorch; loading is no part of either."""
    encoder, timed = _encoder(model)
    source = _photographs(scratch / "photographs", images)
    triplets = write_their_triplets(scratch / "triplets", images)
    noise = np.random.default_rng(0).integers(0, 256, (_SIDE, _SIDE, 3), np.uint8)
    pixels = [encoder.preprocess(Image.fromarray(noise))] * images
    taken: dict[str, list[Taken]] = {"towers": [], "run": []}
    tokens = [each.tokens for each in encoder.tokenize(_texts(triplets))]
    for turn in range(rounds):
        with timed.block() as alone:
            for start in range(0, len(pixels), 64):
                encoder.encode_pixels(pixels[start : start + 64])
            encoder.encode_tokens(tokens)
        with timed.block() as run:
            done = encode_triplets([source], [triplets], str(scratch / f"run-{turn}"), encoder="given", num_workers=0)
        assert (done.info.counts["images"], done.info.counts["texts"]) == (images, len(tokens))
        taken["towers"].append(alone)
        taken["run"].append(run)
    print(f"{model}, {images:,} JPEG files of {_SIDE}², one thread of PyTorch\n\n{_HEAD}")
    _print("towers alone ÷ a run", taken["towers"], taken["run"])
    return taken


def s3(model: str, images: int, latency_ms: float, rounds: int, scratch: Path) -> dict[str, dict[str, list[Taken]]]:
    """Whole runs from the disk and from S3 in turn, of files that a table names and of tars."""
    _, timed = _encoder(model)
    photographs = _photographs(scratch / "photographs", images)
    folders = {"files of a table": photographs, "tars": _tars(scratch / "shards", Path(photographs), images)}
    triplets = write_their_triplets(scratch / "triplets", images)
    result = {kind: {"disk": list[Taken](), "s3": list[Taken]()} for kind in folders}
    print(f"{model}, {images:,} JPEG files of {_SIDE}², {latency_ms:.0f} ms a request\n\n{_HEAD}")
    with served_elsewhere(latency_ms / 1_000) as files:
        files.mkdir("bench")
        for kind, folder in folders.items():
            name, taken = Path(folder).name, result[kind]
            files.put(f"{folder}/", f"bench/{name}/", recursive=True)
            fingerprint(f"s3://bench/{name}")  # imports what S3 needs
            for turn in range(rounds):
                for place, source in {"disk": folder, "s3": f"s3://bench/{name}"}.items():
                    output = str(scratch / f"{name}-{place}-{turn}")
                    with timed.block() as run:
                        done = encode_triplets([source], [triplets], output, encoder="given", num_workers=0)
                    taken[place].append(run)
                    assert done.info.counts["images"] == images
            _print(f"{kind}: disk ÷ S3", taken["disk"], taken["s3"])
    return result


_HEAD = """\
| | s, by round | s | CPU s | the second: towers busy | its other CPU s |
|---|---|---|---|---|---|"""


def _print(what: str, first: Sequence[Taken], second: Sequence[Taken]) -> None:
    """A row: ratios by round, of the best times, and of processor times; how busy the towers of the second were."""
    by_round = ", ".join(f"{a.wall_s / b.wall_s:.2f}" for a, b in zip(first, second, strict=True))
    wall = _ratio([each.wall_s for each in first], [each.wall_s for each in second])
    cpu = _ratio([each.cpu_s for each in first], [each.cpu_s for each in second])
    other = min(each.cpu_s - each.towers_cpu_s for each in second)
    print(
        f"| {what} | {by_round} | {wall} | {cpu} | {max(each.busy for each in second):.2f} | {other:.1f} |", flush=True
    )


def _ratio(first: Sequence[float], second: Sequence[float]) -> str:
    return f"{min(first):.1f} ÷ {min(second):.1f} = {min(first) / min(second):.2f}"


def _encoder(model: str) -> tuple[Encoder, Timed]:
    """The encoder of the runs, in the place of the one that they would load, and what times its towers."""
    torch.set_num_threads(1)
    encoder = load_encoder("tiny", device="cpu") if model == "tiny" else _random(model)
    setattr(encode, "load_encoder", lambda name, **options: encoder)  # noqa: B010
    timed = Timed(encoder)
    encoder.encode_pixels([encoder.preprocess(Image.new("RGB", (_SIDE, _SIDE)))] * 64)
    return encoder, timed


def _random(name: str) -> Encoder:
    import open_clip

    torch.manual_seed(0)
    size = open_clip.get_model_config(name)["vision_cfg"]["image_size"]
    return ClipEncoder(name, open_clip.create_model(name), {"size": size}, open_clip.get_tokenizer(name))


def _texts(triplets: str) -> list[str]:
    """The texts of triplets, each once."""
    return list(
        dict.fromkeys(
            text
            for some in Needed.survey([triplets], captions_only=False, states=False, find_pairs=None).all_texts()
            for text in some
        )
    )


def _photographs(folder: Path, count: int) -> str:
    """JPEG files of noise over smooth colours, with the ids and captions of the triplets."""
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


def _tars(folder: Path, photographs: Path, count: int) -> str:
    """The pictures in WebDataset tars, with the ids of the table."""
    folder.mkdir()
    for start in range(0, count, _SHARD):
        with tarfile.open(folder / f"shard-{start // _SHARD:05d}.tar", "w") as tar:
            for number in range(start, min(count, start + _SHARD)):
                tar.add(photographs / f"{number}.jpg", f"image-{number:08d}.jpg")
                caption = tarfile.TarInfo(f"image-{number:08d}.txt")
                caption.size = len(b"a photograph")
                tar.addfile(caption, io.BytesIO(b"a photograph"))
    return str(folder)
