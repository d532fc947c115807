"""One vector an image against 32 as in BLIP-2: what pooling costs in recall, and what 32 cost in memory and time.

    python benchmarks/multivector.py --output benchmarks/results/multivector.json

Recall is of a stand-in that is trained here as BLIP-2 trains its Q-Former: 32 learned queries attend to the frozen
image tower's cells, and the largest cosine with the caption's vector is the score of the contrastive loss. It is
measured on drawn galleries of held-out combinations; the query is the text vector of the true edited caption.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from qdrant_client import QdrantClient, models
from torch import nn

from scot import flags
from scot.data.captioned import read_captioned
from scot.data.images import decode_image
from scot.data.records import Refusals
from scot.encoders import load_encoder
from scot.encoders.clip import ClipEncoder
from scot.encoders.packaged import TINY_DIR
from scot.evaluation.comparison import measure
from scot.evaluation.embedding_store import SHARD, StoredVectors, write_shard
from scot.evaluation.model import EncodedBenchmark, encode_benchmark
from scot.evaluation.topk import similarity
from scot.evaluation.worlds import read_gallery
from scot.worlds import WORLDS
from scot.worlds.drawing import DrawConfig, draw

_WIDTH, _BATCH = 128, 128
_WAYS = ("best of all", "mean", "first")


@dataclass(frozen=True)
class MultiVectorBenchmark:
    """Recall, memory and time of one vector a picture against several.

    Example: python benchmarks/multivector.py
    """

    vectors: int = 32
    """Vectors a picture."""
    train_size: int = 2_000
    """Pictures of each world to train the queries on."""
    gallery_size: int = 800
    """Pictures of each gallery; half as many queries."""
    steps: int = 400
    """Training steps, of 128 pictures of one world."""
    sizes: tuple[int, ...] = (1_000, 4_000)
    """Gallery sizes to time."""
    seed: int = 0
    """Decides weights and order."""
    data: Path | None = None
    """Folder for the drawn images, to use them again."""
    output: Path | None = None
    """Also write the numbers as JSON."""


class Queries(nn.Module):
    """V learned queries that attend to a picture's cells: ``(B, P, C)`` to unit rows ``(B, V, D)``."""

    def __init__(self, vectors: int, channels: int, dim: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, vectors, _WIDTH) / _WIDTH**0.5)
        self.cells, self.places = nn.Linear(channels, _WIDTH), nn.Parameter(torch.zeros(1, 64, _WIDTH))
        self.layer = nn.TransformerDecoderLayer(_WIDTH, 4, 2 * _WIDTH, 0.0, F.gelu, batch_first=True)
        self.out = nn.Linear(_WIDTH, dim)
        self.scale = nn.Parameter(torch.tensor(2.66))

    def forward(self, cells_BPC: torch.Tensor) -> torch.Tensor:
        cells_BPH = self.cells(cells_BPC) + self.places[:, : cells_BPC.shape[1]]
        state_BVH = self.layer(self.queries.expand(len(cells_BPC), -1, -1), cells_BPH)
        return F.normalize(self.out(state_BVH), dim=-1)


def main(config: MultiVectorBenchmark) -> int:
    """Measure and print two Markdown tables."""
    torch.manual_seed(config.seed)
    recalls = recall_of_pooling(config)
    print(f"| world | score | R@1 | R@10 | R@50 | subset R@1 | cosine between a picture's {config.vectors} vectors |")
    print("|---|---|---|---|---|---|---|")
    for row in recalls:
        values = " | ".join(f"{row[key]:.3f}" for key in ("recall@1", "recall@10", "recall@50", "recall_subset@1"))
        print(f"| {row['world']} | {row['score']} | {values} | {row['within']:.2f} |")
    speeds = [speed(size, vectors, 256) for size in config.sizes for vectors in (1, config.vectors)]
    print(
        "\n| pictures | vectors a picture | MiB (float32) | exact product | Qdrant, embedded |\n|---|---|---|---|---|"
    )
    for row in speeds:
        took = f"{row['exact_ms']:.1f} ms | {row['qdrant_ms']:.0f} ms"
        print(f"| {row['pictures']:,} | {row['vectors']} | {row['mib']:.0f} | {took} |")
    if config.output is not None:
        config.output.parent.mkdir(parents=True, exist_ok=True)
        config.output.write_text(json.dumps({"recall": recalls, "speed": speeds}, indent=1) + "\n", encoding="utf-8")
    return 0


def recall_of_pooling(config: MultiVectorBenchmark) -> list[dict[str, Any]]:
    """Train the queries, then rank held-out galleries by the best of all vectors, their mean, and the first."""
    encoder = load_encoder(f"local-dir:{TINY_DIR}", device="cpu")
    assert isinstance(encoder, ClipEncoder)
    visual = open_clip.create_model(f"local-dir:{TINY_DIR}").visual.eval()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch, redirect_stdout(sys.stderr):
        home, train, galleries = config.data or Path(scratch), [], []
        for world in WORLDS:
            folder, gallery = home / "train" / world, home / "eval" / world
            draw(DrawConfig(world, folder, "train", config.train_size, seed=config.seed))
            draw(DrawConfig(world, gallery, "eval", config.gallery_size, config.gallery_size // 2, config.seed))
            captions = [record.captions[0] for record in read_captioned(folder, Refusals())]
            train.append((cells(encoder, visual, folder), torch.from_numpy(encoder.encode_texts(captions))))
            encoded = encode_benchmark(read_gallery(gallery), encoder, gallery, home / "cache")
            galleries.append((encoded, cells(encoder, visual, gallery)))
        head = trained(config, train)
        for encoded, cells_NPC in galleries:
            with torch.inference_mode():
                several_NVD = torch.cat([head(chunk.float()) for chunk in cells_NPC.split(256)])
            rows += scored(encoded, several_NVD, Path(scratch))
    return rows


def trained(config: MultiVectorBenchmark, data: list[tuple[torch.Tensor, torch.Tensor]]) -> Queries:
    """Contrastive training against frozen caption vectors by the largest of the cosines (arXiv 2301.12597, ITC)."""
    head = Queries(config.vectors, data[0][0].shape[-1], data[0][1].shape[-1])
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=config.steps, pct_start=0.1)
    target = torch.arange(_BATCH)
    for step in range(1, config.steps + 1):
        cells_NPC, text_ND = data[step % len(data)]
        rows = torch.randperm(len(text_ND))[:_BATCH]
        scores_BVB = head(cells_NPC[rows].float()) @ text_ND[rows].T
        logits_BB = head.scale.exp().clamp(max=100) * scores_BVB.amax(1)
        loss = (F.cross_entropy(logits_BB, target) + F.cross_entropy(logits_BB.T, target)) / 2
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step}/{config.steps}  loss {loss.item():.3f}", flush=True)
    return head.eval()


def scored(encoded: EncodedBenchmark, several_NVD: torch.Tensor, folder: Path) -> list[dict[str, Any]]:
    """Recall of the oracle's queries by each way of scoring; ``folder`` is for the vectors of each."""
    count = several_NVD.shape[1]
    mean_ND = several_NVD.mean(1)
    # The mean's squared length is the average of all cosines, each vector's with itself among them.
    within = float(((mean_ND**2).sum(-1).mean() * count - 1) / (count - 1))
    ways = (several_NVD, F.normalize(mean_ND, dim=-1)[:, None], several_NVD[:, :1])
    rows = []
    for name, way in zip(_WAYS, ways, strict=True):
        way_encoded = replace(encoded, vectors={"": stored(way, encoded.vectors[""].names, folder)})
        found = measure(way_encoded, encoded.oracle())
        world = encoded.benchmark.name
        rows.append({"world": world, "score": name, "within": within, **{k: v.value for k, v in found.items()}})
    return rows


def stored(vectors_NVD: torch.Tensor, names: Sequence[str], folder: Path) -> StoredVectors:
    """Vectors of named images as an encoding run leaves them."""
    files = [folder / f"{uuid.uuid4().hex}.safetensors" for _ in range(0, len(names), SHARD)]
    for number, (file, shard) in enumerate(zip(files, vectors_NVD.split(SHARD), strict=True)):
        write_shard(file, shard, names[number * SHARD : (number + 1) * SHARD], {})
    return StoredVectors(tuple(files), tuple(names), tuple(vectors_NVD.shape[1:]), {})


@torch.inference_mode()
def cells(encoder: ClipEncoder, visual: Any, folder: Path) -> torch.Tensor:
    """The third stage of the tiny image tower, ``(N, 36, C)`` float16, in the order of the folder's records."""
    outputs: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, out: torch.Tensor) -> None:
        outputs.append(out.flatten(2).transpose(1, 2).half())

    hook = visual.layer3.register_forward_hook(keep)
    records = list(read_captioned(folder, Refusals()))
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (visual.image_mean, visual.image_std))
    for start in range(0, len(records), 128):
        pixels = [encoder.preprocess(decode_image(record.read())) for record in records[start : start + 128]]
        visual((torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255.0 - mean) / std)
    hook.remove()
    return torch.cat(outputs)


def speed(pictures: int, vectors: int, dim: int) -> dict[str, Any]:
    """Memory, and the time of one query (the fastest of 15), over random unit vectors."""
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(pictures, vectors, dim)).astype(np.float32)
    gallery /= np.linalg.norm(gallery, axis=-1, keepdims=True)
    query_1D = gallery[:1, 0]
    flat = gallery if vectors > 1 else gallery[:, 0]
    query, searched = torch.from_numpy(query_1D), torch.from_numpy(flat)
    several = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM) if vectors > 1 else None
    client = QdrantClient(":memory:")
    params = models.VectorParams(size=dim, distance=models.Distance.COSINE, multivector_config=several)
    client.create_collection("gallery", vectors_config=params)
    for start in range(0, pictures, 500):
        points = [models.PointStruct(id=i, vector=flat[i].tolist()) for i in range(start, min(start + 500, pictures))]
        client.upsert("gallery", points)
    point = query_1D.tolist() if vectors > 1 else query_1D[0].tolist()
    return {
        "pictures": pictures,
        "vectors": vectors,
        "mib": gallery.nbytes / 2**20,
        "exact_ms": _fastest_ms(lambda: similarity(query, searched)[0].topk(10)),
        "qdrant_ms": _fastest_ms(lambda: client.query_points("gallery", query=point, limit=10)),
    }


def _fastest_ms(call: Callable[[], object], repeats: int = 15) -> float:
    call()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return 1_000 * min(times)


if __name__ == "__main__":
    sys.exit(flags.run("multivector.py", main, MultiVectorBenchmark))
