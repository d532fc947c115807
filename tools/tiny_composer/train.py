"""Train the packaged composer ``tiny-1`` on the drawn worlds, by the commands a person would run.

    python -m tools.tiny_composer.train --out scot/composers/tiny-1

Draws 5,000 captioned images of each world, writes sixteen edits of each caption by rules, encodes them with the
packaged encoder, and pretrains a token Combiner of half widths with the analogy (docs/adr/0016). About 40 minutes on
two cores. The weights are stored in float16.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from scot import flags
from scot.composers import Registry, load_composer, save_composer
from scot.composers.artifact import read_config, read_metrics
from scot.worlds import WORLDS

NAME = "tiny-1"


@dataclass(frozen=True)
class TinyComposer:
    """Train the packaged composer."""

    out: Path = Path("scot/composers/tiny-1")
    """The artifact folder to write."""
    work: Path = Path("tiny-composer")
    """Where images, edits, embeddings and the run are kept; a second run reuses what is there."""
    size: int = 5_000
    """Captioned images of each world."""
    edits_per_caption: int = 16
    """Edits of each caption."""
    steps: int = 1_200
    """Pretraining steps."""
    seed: int = 0
    """Decides images, edits, initial weights and the order of the data."""


def main(config: TinyComposer) -> int:
    """Run the steps and write the artifact."""
    work, seed = config.work, ("--seed", str(config.seed))
    trains = [str(work / "train" / world) for world in WORLDS]
    for world, folder in zip(WORLDS, trains, strict=True):
        _run("-m", "scot.cli", "draw", "--world", world, "--split", "train", "--size", str(config.size),
             "--output", folder, *seed)  # fmt: skip
    triplets, embeddings, composers = (str(work / name) for name in ("triplets", "embeddings", "composers"))
    _run("ray_jobs/generate_edits.py", "--engine", "rules", "--source", *trains, "--output", triplets,
         "--edits-per-caption", str(config.edits_per_caption), *seed)  # fmt: skip
    _run("ray_jobs/encode.py", "--num-workers", "0", "--states", "--source", *trains, "--triplets", triplets,
         "--output", embeddings)  # fmt: skip
    _run("ray_jobs/pretrain.py", "--num-workers", "0", "--embeddings", embeddings, "--composers", composers,
         "--runs", str(work / "runs"), "--name", NAME, "--steps", str(config.steps), "--architecture", "token_combiner",
         "--projection", "256", "--hidden", "512", "--analogy-weight", "10", *seed)  # fmt: skip
    version = Registry(composers).released()
    assert version is not None
    save_in_half(Path(composers) / version, config.out)
    return 0


def save_in_half(trained: Path, out: Path) -> None:
    """Write an artifact again with float16 weights."""
    config = read_config(trained)
    composer = load_composer(trained, encoder_id=config["encoder_id"], dim=config["dim"])
    save_composer(
        out,
        composer.module.half(),
        encoder_id=config["encoder_id"],
        dim=config["dim"],
        training_data=config["training_data"],
        metrics=read_metrics(trained),
        training=config["training"],
    )


def _run(*command: str) -> None:
    subprocess.run([sys.executable, *command], check=True)


if __name__ == "__main__":
    sys.exit(flags.run("tiny_composer", main, TinyComposer))
