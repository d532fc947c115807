"""The benchmarks of ``scot evaluate``: a new one is a file with its config and its ``load``, and an entry here.

Nothing heavy is imported before an entry is used, so that the command line starts quickly.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scot.evaluation.base import Benchmark
    from scot.evaluation.config import BenchmarkConfig


@dataclass(frozen=True, slots=True)
class BenchmarkEntry:
    """A benchmark by the places of its code: ``load`` in the config's module takes the config."""

    config: str
    """``module:Type``, a subclass of :class:`scot.evaluation.config.BenchmarkConfig`."""
    summary: str
    """What ``scot --help`` says of it."""
    hidden_split: str = ""
    """The split whose answers only the authors' server knows; it takes ranking files."""
    drawn: bool = False
    """Whether its images and texts are drawn here, not published."""

    def config_type(self) -> type[BenchmarkConfig]:
        """The type of its flags."""
        module, name = self.config.split(":")
        found: type[BenchmarkConfig] = getattr(importlib.import_module(module), name)
        return found

    def load(self, config: BenchmarkConfig) -> Benchmark:
        """Read and check its annotations. Raises NotFound, InvalidInput."""
        module: Any = importlib.import_module(self.config.partition(":")[0])
        benchmark: Benchmark = module.load(config)
        return benchmark


BENCHMARKS: Mapping[str, BenchmarkEntry] = {
    "cirr": BenchmarkEntry(
        "scot.evaluation.cirr:CirrConfig",
        "CIRR by its authors' protocol",
        hidden_split="test1",
    ),
    "fashioniq": BenchmarkEntry("scot.evaluation.fashioniq:FashionIqConfig", "FashionIQ by its authors' protocol"),
    "circo": BenchmarkEntry("scot.evaluation.circo:CircoConfig", "CIRCO by its authors' protocol", hidden_split="test"),
    "genecis": BenchmarkEntry("scot.evaluation.genecis:GenecisConfig", "GeneCIS by its authors' protocol"),
    "pinpoint": BenchmarkEntry("scot.evaluation.pinpoint:PinPointConfig", "PinPoint by its authors' protocol"),
    "icir": BenchmarkEntry("scot.evaluation.icir:IcirConfig", "i-CIR by its authors' protocol"),
    "wardrobe": BenchmarkEntry(
        "scot.evaluation.worlds:WardrobeConfig", "the drawn world wardrobe as a benchmark", drawn=True
    ),
    "scenes": BenchmarkEntry(
        "scot.evaluation.worlds:ScenesConfig", "the drawn world scenes as a benchmark", drawn=True
    ),
}


def entry_of(config: BenchmarkConfig) -> BenchmarkEntry:
    """The benchmark whose flags these are."""
    place = f"{type(config).__module__}:{type(config).__name__}"
    return next(entry for entry in BENCHMARKS.values() if entry.config == place)
