"""What a tower costs by batch and by the way it runs: ``python benchmarks/towers.py --output towers.json``.

Milliseconds a picture through the image tower of an open_clip architecture with random weights, in float32, bfloat16,
under ``torch.compile`` and as ONNX, at several batches, in turn; the median of the rounds. Each way's answers are
compared with float32's. ONNX needs ``pip install onnx onnxscript onnxruntime``.
"""

from __future__ import annotations

import copy
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import open_clip
import torch

from scot import flags
from scot.machine import machine

Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class TowersBenchmark:
    """Measure an image tower at several batches, dtypes and runtimes."""

    model: str = "ViT-B-32"
    """An open_clip architecture; its weights are random."""
    batches: tuple[int, ...] = (1, 8, 32)
    """Pictures of a batch."""
    threads: int = 2
    """CPU threads."""
    rounds: int = 7
    """Rounds, in which all take turns."""
    output: Path | None = None
    """Where to write the numbers as JSON."""


@torch.inference_mode()
def main(config: TowersBenchmark) -> int:
    """Measure and print."""
    torch.manual_seed(0)
    torch.set_num_threads(config.threads)
    numbers: dict[str, Any] = {"machine": machine(), "model": config.model, "threads": config.threads, "ms": {}}
    print(f"{numbers['machine']}; {config.model}, {config.threads} threads", flush=True)
    model = open_clip.create_model(config.model).eval()
    side = model.visual.image_size if isinstance(model.visual.image_size, int) else model.visual.image_size[0]
    pictures = {batch: torch.rand(batch, 3, side, side) for batch in config.batches}
    with tempfile.TemporaryDirectory() as folder:
        ways = runtimes(model, pictures[config.batches[-1]], Path(folder), config.threads)
        for name, forward in ways.items():
            errors = [cosine_distance(forward(images), ways["float32"](images)) for images in pictures.values()]
            numbers["ms"][name] = {"cosine_distance": max(errors)}  # and it is warm, or compiled
        times: dict[tuple[str, int], list[float]] = {(name, batch): [] for name in ways for batch in pictures}
        for _ in range(config.rounds):
            for (name, batch), taken in times.items():
                begun = time.perf_counter()
                ways[name](pictures[batch])
                taken.append((time.perf_counter() - begun) * 1_000 / batch)
    print(f"| ms a picture | {' | '.join(f'batch {batch}' for batch in pictures)} | cosine distance |")
    print("|---|" + "---|" * (len(pictures) + 1))
    for name, row in numbers["ms"].items():
        row |= {str(batch): float(np.median(times[name, batch])) for batch in pictures}
        print(
            f"| {name} | {' | '.join(f'{row[str(batch)]:.1f}' for batch in pictures)} | {row['cosine_distance']:.1e} |"
        )
    if config.output:
        config.output.write_text(json.dumps(numbers, indent=2), encoding="utf-8")
    return 0


def runtimes(model: Any, example: torch.Tensor, folder: Path, threads: int) -> dict[str, Forward]:
    """The image tower, in each way that this machine can run it; ``float32`` first."""
    tower = model.visual
    half = copy.deepcopy(tower).to(torch.bfloat16)
    ways: dict[str, Forward] = {"float32": tower, "bfloat16": lambda images: half(images.to(torch.bfloat16))}
    if shutil.which("g++"):
        ways["torch.compile"] = torch.compile(tower, dynamic=True)
    if all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))):
        ways["ONNX"] = as_onnx(tower, example, folder / "tower.onnx", threads)
    return ways


def as_onnx(tower: Any, example: torch.Tensor, path: Path, threads: int) -> Forward:
    """The tower in onnxruntime, for batches of any size."""
    import onnxruntime

    shapes = ({0: torch.export.Dim("batch", min=1, max=1024)},)
    torch.onnx.export(tower, (example,), path, dynamo=True, dynamic_shapes=shapes, input_names=["images"])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def cosine_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """The largest over the rows."""
    return float((1 - torch.nn.functional.cosine_similarity(a.float(), b.float())).max())


if __name__ == "__main__":
    sys.exit(flags.run("towers benchmark", main, TowersBenchmark))
