"""The runs of the quality benchmark, as data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from scot.training.config import TrainConfig
from scot.training.objectives import LossConfig

BASE: dict[str, Any] = {"projection": 512, "hidden": 1_024, "steps": 400, "patience": 0}
"""What every run starts from: a small Combiner and a short schedule, so that all of them fit into hours."""
EDITS = 8
"""Edits of each caption."""


@dataclass(frozen=True, slots=True)
class Run:
    """One line of a table.

    ``labels``: true target pictures to train on instead; ``pictures``: how many to caption; ``edits``: of each caption
    (0: :data:`EDITS`); ``width``: the width of the tiny encoder (0: the one chosen); ``blind``: references are known by
    their vectors alone when it is measured.
    """

    group: str
    name: str
    train: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    labels: int = 0
    pictures: int = 0
    edits: int = 0
    width: int = 0
    blind: bool = False

    def config(self, seed: int) -> TrainConfig:
        """The settings with a seed."""
        return TrainConfig(**{**BASE, **self.train, "seed": seed}, loss=LossConfig(**self.loss))

    @property
    def key(self) -> str:
        """The result's file name; equal settings have equal keys, whatever their group and name."""
        sizes = {name: getattr(self, name) for name in ("labels", "pictures", "edits", "width", "blind")}
        chosen = {**self.train, **self.loss} | {key: value for key, value in sizes.items() if value}
        return "-".join(f"{key}={value}" for key, value in sorted(chosen.items())) or "base"


def with_and_without_patches(
    name: str, train: dict[str, Any], loss: dict[str, Any] | None = None, edits: int = 0
) -> list[Run]:
    """A run of a composer that reads states, and what it measures where references are known by their vectors alone."""
    run = Run("composer", name, train, loss or {}, edits=edits)
    return [run, dataclasses.replace(run, name="… reference by its vector", blind=True)]


WIDE = {"projection": 0, "hidden": 0}
TOKENS = {"architecture": "token_combiner"}
BOTH = {"contrastive_weight": 0.5, "retrieved_weight": 0.5}
ANALOGY = {"analogy_weight": 10.0}
LONG = {"steps": 1_600}
LABELS = (500, 2_000, 10_000, 30_000)
ENCODERS = {4: {"dim": 128, "steps": 350}, 8: {"dim": 128, "steps": 350}}
"""The tiny encoders beside the packaged one (width 16, dim 256, 1,400 steps), by the width of their image tower."""
RUNS = (
    Run("composer", "Combiner, half widths"),
    Run("composer", "Combiner, full widths", WIDE),
    Run("composer", "FiLM residual network", {**WIDE, "architecture": "film"}),
    Run("composer", "transformer over three tokens", {**WIDE, "architecture": "transformer"}),
    Run("composer", "Combiner, full widths, analogy", WIDE, ANALOGY),
    *with_and_without_patches("token Combiner", TOKENS),
    *with_and_without_patches("token Combiner, analogy", TOKENS, ANALOGY),
    *with_and_without_patches("token Combiner, 1,600 steps, 16 edits", {**TOKENS, **LONG}, edits=16),
    *with_and_without_patches("token Combiner, analogy, 1,600 steps, 16 edits", {**TOKENS, **LONG}, ANALOGY, edits=16),
    Run("objective", "InfoNCE to T_u, own-caption negatives"),
    Run("objective", "without caption negatives", loss={"caption_negatives": False}),
    Run("objective", "without centring", {"centre": False}),
    Run("objective", "+ edit negatives", loss={"edit_negatives": True}),
    Run("objective", "+ own-image negative", loss={"image_negatives": True}),
    Run("objective", "+ 3 sibling negatives", loss={"sibling_negatives": 3}),
    Run("objective", "+ HN-NCE, β 0.5", loss={"hardness": 0.5}),
    Run("objective", "+ queue of 4 steps", loss={"queue": 4}),
    Run("objective", "+ direction 0.5", loss={"direction_weight": 0.5}),
    Run("objective", "+ preservation 0.5", loss={"preservation_weight": 0.5}),
    *(Run("objective", f"+ analogy {weight}", loss={"analogy_weight": float(weight)}) for weight in (1, 4, 10, 40)),
    Run("objective", "+ sigmoid 0.1", loss={"sigmoid_weight": 0.1}),
    Run("objective", "+ noise 0.03 on edits", loss={"edit_noise": 0.03}),
    Run("objective", "+ noise 0.03 on targets", loss={"target_noise": 0.03}),
    Run("supervision", "text target (SCOT)"),
    Run("supervision", "retrieved picture", loss={"contrastive_weight": 0.0, "retrieved_weight": 1.0}),
    Run("supervision", "both, half each", loss=BOTH),
    *(Run("supervision", f"{count:,} labelled triplets", labels=count) for count in LABELS),
    Run("supervision", "token Combiner, text target", TOKENS),
    Run("supervision", "token Combiner, text target, analogy", TOKENS, ANALOGY),
    *(
        Run("supervision", f"token Combiner, {count:,} labelled triplets{also}", TOKENS, loss, labels=count)
        for count in LABELS[1::2]
        for also, loss in (("", {}), (", analogy", ANALOGY))
    ),
    *(Run("data", f"{count:,} captioned pictures", pictures=count) for count in (500, 1_000, 2_000, 5_000)),
    Run("data", "all captioned pictures"),
    *(
        Run("encoder", f"width {width}, {size['dim']} dimensions, {size['steps']} steps", width=width)
        for width, size in ENCODERS.items()
    ),
    Run("encoder", "width 16, 256 dimensions, 1,400 steps (packaged)"),
)
