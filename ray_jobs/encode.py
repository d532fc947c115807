#!/usr/bin/env python
"""Encode the images and texts of triplets once, with a frozen encoder, into an embedding cache.

    python ray_jobs/encode.py --source catalogue/ --triplets triplets/ --output embeddings/ --encoder tiny

Joins the Ray cluster of RAY_ADDRESS, or starts a local one. A run that was killed continues where it stopped; a second
run with the same inputs does nothing.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ray_jobs.session import ray_session
from scot import flags
from scot.data.run_report import RunReport, size_of
from scot.embeddings.chunks import CHUNK
from scot.embeddings.encode import Encoded, encode_triplets
from scot.embeddings.hidden_states import StateType
from scot.embeddings.pairs import PAIRS
from scot.errors import InvalidFlag
from scot.evaluation.pairs import find_pairs
from scot.progress import Progress


@dataclass(frozen=True)
class EncodeConfig:
    """Encode the images and texts of a set of triplets into an embedding cache."""

    source: list[str] = field(default_factory=list)
    """Folders of captioned images (captions.csv, metadata.jsonl, a .txt beside each …), WebDataset tars, COCO JSONs."""
    triplets: list[str] = field(default_factory=list)
    """Folders of triplets that ray_jobs/generate_edits.py wrote; those of several engines combine."""
    captions_only: bool = False
    """Encode the texts alone, without --source: pretrain.py --from-captions 1 needs no image (docs/pretraining.md)."""
    output: str = ""
    """The folder of the cache."""
    encoder: str = "tiny"
    """tiny, NAME/PRETRAINED, hf-hub:ORG/REPO or local-dir:PATH."""
    num_workers: int = 1
    """Actors that encode; they share the cores of a machine. 0: encode in this process, without Ray."""
    use_gpu: bool = False
    """Give each actor a GPU."""
    pairs: bool = True
    """Also find pairs of the images whose captions differ in a few words: pretrain.py measures the held-out ones."""
    states: bool = False
    """Also store the hidden states of images and edits, the input of a token_combiner (docs/pretraining.md)."""
    state_type: StateType = "float16"
    """How hidden states are stored: float16, or int8 in half of the bytes."""
    chunk_size: int = CHUNK
    """Images or texts of a chunk: one file of the cache, and what a kill may cost twice."""


def main(config: EncodeConfig) -> int:
    """Encode, and print the result."""
    for name in ("source", "triplets", "output"):
        if not getattr(config, name) and not (name == "source" and config.captions_only):
            raise InvalidFlag(f"--{name} is missing")
    with ray_session() if config.num_workers > 0 else nullcontext():
        done = encode_triplets(
            config.source,
            config.triplets,
            config.output,
            captions_only=config.captions_only,
            encoder=config.encoder,
            num_workers=config.num_workers,
            use_gpu=config.use_gpu,
            states=config.states,
            state_type=config.state_type,
            chunk_size=config.chunk_size,
            find_pairs=find_pairs if config.pairs else None,
            progress=Progress.on(sys.stderr),
        )
    counts = done.info.counts
    images = f"{counts['images']:,} {'captions in the place of images' if config.captions_only else 'images'}"
    held = f"{counts['triplets']:,} triplets, {images}, {counts['texts']:,} texts"
    if config.pairs and not config.captions_only:
        held += f", {counts.get(PAIRS, 0):,} pairs to measure"
    if done.reused_images == counts["images"] and done.reused_texts == counts["texts"]:
        print(f"{config.output} is up to date: {held} of {done.info.encoder_id}; nothing to encode")
    else:
        _report(config, done)
        reused = f"; {done.reused_images:,} images and {done.reused_texts:,} texts were encoded before"
        again = reused if done.reused_images or done.reused_texts else ""
        print(f"encoded {held} with {done.info.encoder_id} in {done.seconds:.1f} s{again}")
    if done.truncated_texts:
        print(f"{done.truncated_texts:,} texts were longer than the input of the encoder and were cut")
    if done.info.rejected:
        print("left out: " + ", ".join(f"{count:,} {reason}" for reason, count in done.info.rejected.items()))
    return 0


def _report(config: EncodeConfig, done: Encoded) -> None:
    """Write what this run did beside its cache, for ``scot plan --check``."""
    made, of = done.info.counts, ("images", "texts")
    fresh = {"images": made["images"] - done.reused_images, "texts": made["texts"] - done.reused_texts}
    share = sum(fresh.values()) / sum(made[name] for name in of)
    counts = {**fresh, "triplets": share * made["triplets"], "bytes": share * size_of(config.output)}
    if config.captions_only:
        counts["images"] = 0
    states = config.state_type if config.states else "none"
    settings = {"encoder": done.info.encoder_id, "states": states, "workers": config.num_workers, "gpu": config.use_gpu}
    RunReport("encoding", done.seconds, counts, settings).write(config.output)


if __name__ == "__main__":
    sys.exit(flags.run("encode.py", main, EncodeConfig))
