#!/usr/bin/env python
"""Write edits for captioned images: captions in, triplet shards with a manifest out.

    python ray_jobs/generate_edits.py --source catalogue/ --output triplets/

Joins the Ray of RAY_ADDRESS, or starts a local one. The same captions and seed give the same triplets.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ray_jobs.session import ray_session
from scot import flags
from scot.edits.generation import generate_triplets
from scot.errors import InvalidInput


@dataclass(frozen=True)
class GenerateEditsConfig:
    """Turn the captions of captioned images into triplets (edit, edited caption)."""

    source: list[str] = field(default_factory=list)
    """Captioned images: folders with captions.parquet or captions.csv, WebDataset tars, or a COCO captions JSON."""
    output: str = ""
    """The folder of triplets to write."""
    engine: str = "rules"
    """What writes the edits: rules."""
    edits_per_caption: int = 4
    """How many edits to ask for, 1 to 16."""
    seed: int = 0
    """The same seed gives the same triplets."""


def main(config: GenerateEditsConfig) -> int:
    """Generate, and say what came of it."""
    for name in ("source", "output"):
        if not getattr(config, name):
            raise InvalidInput(f"--{name} is missing")
    with ray_session():
        done = generate_triplets(
            config.source,
            config.output,
            engine=config.engine,
            edits_per_caption=config.edits_per_caption,
            seed=config.seed,
            on_progress=lambda line: print(line, flush=True),
        )
    print(f"{done.manifest.count:,} triplets from {done.captions:,} captions in {config.output} ({done.seconds:.1f} s)")
    if done.manifest.rejected:
        print(
            "refused: " + ", ".join(f"{count:,} {reason}" for reason, count in sorted(done.manifest.rejected.items()))
        )
    return 0


if __name__ == "__main__":
    sys.exit(flags.run("generate_edits.py", main, GenerateEditsConfig))
