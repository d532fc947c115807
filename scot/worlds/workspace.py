"""The folders in which the demo keeps the drawn worlds and everything made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scot.worlds import WORLDS

DEMO = Path("scot-demo")
"""Where the demo keeps its data, unless it is told another folder."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folders of the demo."""

    root: Path

    def train(self, world: str) -> Path:
        """Captioned images for training."""
        return self.root / "train" / world

    def gallery(self, world: str) -> Path:
        """Images to search, with queries."""
        return self.root / "gallery" / world

    @property
    def trains(self) -> list[Path]:
        """The training images of every world."""
        return [self.train(world) for world in WORLDS]

    @property
    def galleries(self) -> list[Path]:
        """The gallery of every world."""
        return [self.gallery(world) for world in WORLDS]

    @property
    def triplets(self) -> Path:
        """The edits of the training images' captions."""
        return self.root / "triplets"

    @property
    def embeddings(self) -> Path:
        """The embedding cache of the training images and their edits."""
        return self.root / "embeddings"

    @property
    def runs(self) -> Path:
        """The folders of pretraining runs."""
        return self.root / "runs"

    @property
    def composers(self) -> Path:
        """The registry, which the service reads too."""
        return self.root / "composers"

    @property
    def evaluation(self) -> Path:
        """The measurements."""
        return self.root / "evaluation"
