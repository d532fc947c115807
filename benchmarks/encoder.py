"""How well an encoder retrieves on held-out combinations: text to image, image to text, and the oracle.

    python benchmarks/encoder.py --encoder tiny --output benchmarks/results/encoder.json

Text to image: one caption an image. Oracle: the true edited caption of a query, with the reference left out.
"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from scot import flags
from scot.data.captioned import read_captioned
from scot.data.records import Refusals
from scot.encoders import load_encoder
from scot.evaluation.comparison import measure
from scot.evaluation.model import encode_benchmark
from scot.evaluation.topk import top_k
from scot.evaluation.worlds import read_gallery
from scot.worlds import WORLDS
from scot.worlds.drawing import DrawConfig, draw

RECALL_AT = (1, 5, 10)


@dataclass(frozen=True)
class EncoderBenchmark:
    """Held-out retrieval of an encoder on the drawn worlds.

    Example: python benchmarks/encoder.py --encoder tiny
    """

    encoder: str = "tiny"
    """tiny, NAME/PRETRAINED, hf-hub:ORG/REPO or local-dir:PATH."""
    size: int = 4_000
    """Pictures of each gallery."""
    queries: int = 2_000
    """Oracle queries of each world."""
    seed: int = 0
    """Which gallery."""
    output: Path | None = None
    """Also write the numbers as JSON."""


def main(config: EncoderBenchmark) -> int:
    """Measure and print a Markdown table."""
    encoder = load_encoder(config.encoder)
    found: dict[str, dict[str, dict[str, float]]] = {}
    print(f"{encoder.id}, galleries of {config.size:,} held-out pictures\n")
    print("| world | query | R@1 | R@5 | R@10 |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for world in WORLDS:
            folder = Path(scratch) / world
            with redirect_stdout(sys.stderr):
                draw(DrawConfig(world, folder, "eval", config.size, config.queries, config.seed))
            encoded = encode_benchmark(read_gallery(folder), encoder, folder, Path(scratch) / "cache")
            captions = {record.image_id: record.captions[0] for record in read_captioned(folder, Refusals())}
            text_ND = torch.from_numpy(encoder.encode_texts([captions[name] for name in encoded.vectors[""].names]))
            image_ND = encoded.references("")
            found[world] = {"text → image": recalls(text_ND, image_ND), "image → text": recalls(image_ND, text_ND)}
            found[world]["oracle"] = {
                name: estimate.value for name, estimate in measure(encoded, encoded.oracle()).items()
            }
            for name, metrics in found[world].items():
                cells = " | ".join(f"{np.round(metrics[f'recall@{k}'], 3):.3f}" for k in RECALL_AT)
                print(f"| {world} | {name} | {cells} |")
    if config.output is not None:
        config.output.parent.mkdir(parents=True, exist_ok=True)
        config.output.write_text(
            json.dumps({"encoder": encoder.id, "worlds": found}, indent=2) + "\n", encoding="utf-8"
        )
    return 0


def recalls(query_ND: torch.Tensor, gallery_ND: torch.Tensor) -> dict[str, float]:
    """Recall of the rows that stand at the query's own place."""
    rows_NK, _ = top_k(query_ND, [gallery_ND], RECALL_AT[-1])
    hits_NK = rows_NK == torch.arange(len(query_ND))[:, None]
    return {f"recall@{k}": float(hits_NK[:, :k].any(1).double().mean()) for k in RECALL_AT}


if __name__ == "__main__":
    sys.exit(flags.run("encoder.py", main, EncoderBenchmark))
