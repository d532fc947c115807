#!/usr/bin/env python
"""Generate edits for captioned images: captions in, triplet shards with a manifest out.

    python ray_jobs/generate_edits.py --source catalogue/ --output triplets/
    python ray_jobs/generate_edits.py --source s3://bucket/shards-{000..099}.tar --output s3://bucket/triplets \
        --engine vllm --model Qwen/Qwen2.5-7B-Instruct

Joins the Ray of RAY_ADDRESS, or starts a local one; --num-workers 0 runs in this process. After a kill, a rerun
continues where it stopped.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ray_jobs.session import ray_session
from scot import flags
from scot.data.run_report import RunReport, size_of
from scot.edits.chunk_generator import GenerationConfig
from scot.edits.engines import EngineConfig
from scot.edits.filters import TextFilters
from scot.edits.generation import Generated, generate_triplets
from scot.edits.similarity import SimilarityFilters
from scot.errors import InvalidFlag
from scot.progress import Progress
from scot.signals import sigterm_exits


@dataclass(frozen=True, slots=True)
class GenerateEditsConfig:
    """Turn the captions of captioned images into triplets (edit, edited caption)."""

    source: list[str] = field(default_factory=list)
    """Folders of captioned images (captions.csv, metadata.jsonl, a .txt beside each …), WebDataset tars, COCO JSONs."""
    output: str = ""
    """The folder of triplets to write."""
    engine: EngineConfig = field(default_factory=partial(EngineConfig, engine="auto"))
    """The engine that generates the edits."""
    edits_per_caption: int = 4
    """Number of edits of each caption, 1 to 16."""
    seed: int = 0
    """The same seed gives the same triplets."""
    num_workers: int = -1
    """Processes that generate; -1: one for each spare core (no model) or GPU (vllm), else one; 0: no Ray."""
    patience_s: float = 300.0
    """Seconds to wait for an unavailable endpoint or service."""
    reverse: bool = False
    """Also write the way back of every edit, from the edited caption to the image; for encode.py --captions-only."""
    overwrite: bool = False
    """Replace the triplets of another run."""
    language: str = "en"
    """Models: the language that captions must be in (ISO 639-1); empty: any."""
    encoder: str = ""
    """Also filter by this encoder's embeddings: tiny, NAME/PRETRAINED, hf-hub:ORG/REPO or local-dir:PATH."""
    similarity: SimilarityFilters = field(default_factory=SimilarityFilters)
    """With --encoder: the limits on cosines."""

    def generation(self) -> GenerationConfig:
        """The settings of the processes that generate."""
        return GenerationConfig(
            self.engine,
            self.edits_per_caption,
            self.seed,
            TextFilters(language=self.language),
            self.encoder,
            self.similarity,
            self.patience_s,
            self.reverse,
        )


def main(config: GenerateEditsConfig) -> int:
    """Generate, and print the result."""
    for name in ("source", "output"):
        if not getattr(config, name):
            raise InvalidFlag(f"--{name} is missing")
    with ray_session() if config.num_workers else sigterm_exits("generate_edits.py"):
        done = generate_triplets(
            config.source,
            config.output,
            config=config.generation(),
            num_workers=config.num_workers,
            overwrite=config.overwrite,
            progress=Progress.on(sys.stderr),
        )
    if done.tally.captions > done.reused:
        _report(config, done)
    count, captions = done.manifest.count, done.tally.captions
    print(f"{count:,} triplets from {captions:,} captions in {config.output} ({done.seconds:.1f} s)")
    if done.reused:
        print(f"{done.reused:,} captions were done already")
    if done.manifest.rejected:
        print(
            "refused: " + ", ".join(f"{count:,} {reason}" for reason, count in sorted(done.manifest.rejected.items()))
        )
    if 2 * done.tally.edited < captions:
        share = done.tally.edited / captions
        print(f"only {share:.1%} of the captions have an edit: read scot edits report, or try another --engine")
    return 0


def _report(config: GenerateEditsConfig, done: Generated) -> None:
    """Write what this run did beside its triplets, for ``scot plan --check``."""
    tally, extra = done.tally, done.manifest.extra
    share = 1 - done.reused / tally.captions  # of an interrupted run, its other part is not in the time
    counts = {
        "captions": tally.captions - done.reused,
        "triplets": share * done.manifest.count,
        "prompt_tokens": share * tally.prompt_tokens,
        "completion_tokens": share * tally.completion_tokens,
        "bytes": share * size_of(config.output),
    }
    engine = str(extra["generator"]).partition("-")[0] if config.engine.engine == "auto" else config.engine.engine
    settings = {"engine": engine, "edits_per_caption": config.edits_per_caption, "workers": config.num_workers}
    RunReport("edits", done.seconds, counts, settings).write(config.output)


if __name__ == "__main__":
    sys.exit(flags.run("generate_edits.py", main, GenerateEditsConfig))
