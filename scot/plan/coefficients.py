"""The numbers of ``scot plan``, read from ``coefficients.toml``: each with its unit and its source."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from scot.errors import InvalidInput

_TABLES = ("edits", "encoding", "pretraining", "indexing", "serving")


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A number, its unit, and where it comes from: ``measured: COMMAND``, ``computed: …`` or ``cited: URL (day)``."""

    value: float
    unit: str
    source: str


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU by its datasheet: dense 16-bit FLOP/s, bytes/s of its memory, and the memory's size in GB."""

    flops: float
    bytes_s: float
    gb: float


@dataclass(frozen=True, slots=True)
class EncoderSize:
    """What an encoder computes and stores.

    GFLOPs of an image and of a text of ``context`` tokens; the dimension of their vectors; the hidden states of an
    image, ``places`` of ``image_width``, and the width of those of a text.
    """

    dim: int
    image_gflops: float
    text_gflops: float
    context: int
    places: int
    image_width: int
    text_width: int


@dataclass(frozen=True)
class Coefficients:
    """All of them; ``used`` collects the names of those that were read, so that a plan can print its sources."""

    values: Mapping[str, Coefficient]
    gpus: Mapping[str, Gpu]
    encoders: Mapping[str, EncoderSize]
    gpu_source: str
    encoder_source: str

    def gpu(self, name: str) -> Gpu:
        """A GPU by its name, in any case. Raises InvalidInput when it is unknown."""
        for known, gpu in self.gpus.items():
            if known.lower() == name.lower():
                return gpu
        raise InvalidInput(f"the GPU {name!r} is unknown; known: {', '.join(self.gpus)}")

    def encoder(self, name: str) -> EncoderSize:
        """An encoder as other commands name it, such as ViT-L-14/openai. Raises InvalidInput when it is unknown."""
        named = name.partition("?")[0].rpartition("/")[2] if name.startswith("st:") else name.partition("/")[0]
        model = named.removesuffix("-quickgelu")
        if model not in self.encoders:
            raise InvalidInput(f"the encoder {name!r} is unknown to the plan; known: {', '.join(self.encoders)}")
        return self.encoders[model]


@cache
def coefficients() -> Coefficients:
    """Those of the package."""
    raw: dict[str, Any] = tomllib.loads(files("scot.plan").joinpath("coefficients.toml").read_text(encoding="utf-8"))
    gpus, encoders = dict(raw["gpus"]), dict(raw["encoders"])
    sources = gpus.pop("source"), encoders.pop("source")
    return Coefficients(
        {f"{table}.{name}": Coefficient(**entry) for table in _TABLES for name, entry in raw[table].items()},
        {name: Gpu(**entry) for name, entry in gpus.items()},
        {name: EncoderSize(**entry) for name, entry in encoders.items()},
        *sources,
    )
