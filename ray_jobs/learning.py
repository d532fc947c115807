"""What surrounds a pretraining run: the data that it learns from, made where it is missing, and the gate after it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ray_jobs.encode import EncodeConfig
from ray_jobs.encode import main as encode
from ray_jobs.generate_edits import GenerateEditsConfig
from ray_jobs.generate_edits import main as generate_edits
from scot.composers import Registry
from scot.composers.architectures import ARCHITECTURES
from scot.data.shards import MANIFEST
from scot.data.storage import Folder
from scot.errors import InvalidFlag, NotPromoted
from scot.progress import Progress
from scot.worlds.workspace import DEMO, Workspace


@dataclass(frozen=True)
class Data:
    """Where the data of a run is: captioned images, their triplets, and the embeddings of both."""

    source: Sequence[str]
    triplets: Sequence[str]
    embeddings: str
    encoder: str

    @property
    def missing(self) -> bool:
        """Whether there is a source, and no embeddings of it yet."""
        return bool(self.source) and not Folder(self.embeddings).exists(MANIFEST)

    def make(self, architecture: str, *, with_ray: bool) -> None:
        """Generate edits and encode, each unless it was done before; both continue where a killed run stopped.

        Args:
            architecture: the composer to train, which may read hidden states.
            with_ray: use Ray's workers, not this process.

        Raises:
            ScotError: the source cannot be read, or the encoder cannot be loaded.
        """
        triplets = list(self.triplets or [f"{self.embeddings.rstrip('/')}-triplets"])
        if not Folder(triplets[0]).exists(MANIFEST):
            print(f"there are no edits in {triplets[0]} yet: generating them", flush=True)
            workers = GenerateEditsConfig().num_workers if with_ray else 0
            generate_edits(GenerateEditsConfig(list(self.source), triplets[0], num_workers=workers))
        print(f"there are no embeddings in {self.embeddings} yet: encoding", flush=True)
        encode(
            EncodeConfig(
                list(self.source),
                triplets,
                output=self.embeddings,
                encoder=self.encoder,
                num_workers=EncodeConfig().num_workers if with_ray else 0,
                states=ARCHITECTURES[architecture][1].reads_states,
            )
        )


def demo_workspace() -> Workspace:
    """The workspace of ``make demo`` in this folder. Raises InvalidFlag: there is none."""
    space = Workspace(DEMO)
    if not all(folder.is_dir() for folder in space.trains) and not Folder(space.embeddings).exists(MANIFEST):
        raise InvalidFlag(
            f"there is nothing to learn from: run `make demo` first, whose folder {DEMO} is used then, or name "
            "embeddings with --embeddings, and with --source the captioned images to make them from"
        )
    return space


def pass_gate(registry: Registry, version: str, galleries: Sequence[str], encoder: str) -> None:
    """Release a published version if the gate lets it pass; a version with a decision is not measured again.

    Raises:
        NotPromoted: it is worse than the released one, which stays.
        ScotError: a gallery or the encoder cannot be used.
    """
    from scot.evaluation import promotion

    if registry.released() == version:
        return
    if decisions := registry.decisions(version):
        print(f"the gate has decided about {version}: {decisions[-1]['outcome']}")
        return
    with tempfile.TemporaryDirectory(prefix="scot-gate-") as cache:
        decision = promotion.promote(
            registry, version, galleries=galleries, encoder=encoder, cache=Path(cache), progress=Progress.on(sys.stderr)
        )
    if decision.outcome == "refused":
        raise NotPromoted(f"{version} is published and not released: {decision.summary}")
    print(f"released {version} ({decision.outcome}): {decision.summary}")
