"""The flags that all benchmarks share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from scot.errors import InvalidFlag
from scot.rerank.config import RerankConfig


@dataclass(frozen=True)
class BenchmarkConfig:
    """Score ranking files, or run a model on the images."""

    annotations: Path | None = None
    """The folder of the authors' annotation files, flat or in their own layout."""
    split: str = "val"
    """The split; of CIRR val or test1, of CIRCO val or test."""
    rankings: tyro.conf.UseAppendAction[list[list[Path]]] = field(default_factory=list)
    """Ranking files to score; may be given twice."""
    images: Path | None = None
    """Instead of --rankings: the folder of the benchmark's images, to run a model on."""
    encoder: str = "tiny"
    """tiny, NAME/PRETRAINED, hf-hub:ORG/REPO or local-dir:PATH."""
    composer: str = ""
    """A baseline (sum, sum:0.7, slerp, text_only, image_only), native (an embedder's own), an artifact folder, or a
    version of --composers."""
    composers: str | None = None
    """A registry of composers, a folder or a URL; without --composer its released one is run."""
    skip_missing: bool = False
    """Leave out images that are missing or cannot be decoded, with the queries that need them, and report it."""
    output: str = "evaluation"
    """Folder or URL for the embeddings, ranking files, result and contact sheet of a model's run."""
    json: Path | None = None
    """Write the result there too, at full precision."""
    per_query: bool = False
    """Add what each query contributed to the JSON."""
    rerank: RerankConfig = field(default_factory=RerankConfig)
    """A second look at the first images of each ranking; with --rankings, their files are in --images."""

    def folder(self) -> Path:
        """The folder of the annotations. Raises InvalidInput when the flag is missing."""
        if self.annotations is None:
            raise InvalidFlag("--annotations is missing: the folder of the authors' annotation files")
        return self.annotations
