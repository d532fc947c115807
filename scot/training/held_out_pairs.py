"""The held-out test on images: pairs of real images whose captions were not trained on, as ``scot evaluate pairs``."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from scot.composers.base import ComposerModule, States
from scot.evaluation.cached_pairs import CachedPairs
from scot.evaluation.comparison import Comparison, compare, measure
from scot.evaluation.pairs import RECALL_AT

PREFIX = "pairs/"
"""Stands before the metrics of the test in a run's metrics."""

_CHOSEN_BY = tuple(f"{PREFIX}recall@{k}" for k in RECALL_AT[:3])


class _InTraining:
    """The module as a :class:`scot.composers.Composer`, in evaluation mode while it composes."""

    name = "composer"

    def __init__(self, module: ComposerModule, device: str | torch.device) -> None:
        self.architecture = type(module).__name__
        self.encoder_id: str | None = None
        self.reads_states = module.reads_states
        self._module, self._device = module, device

    @torch.inference_mode()
    def compose(self, image_BD: torch.Tensor, text_BD: torch.Tensor, *states: States) -> torch.Tensor:
        """Unit float32 rows ``(B, D)`` on the CPU."""
        training = self._module.training
        self._module.eval()
        try:
            inputs_BD = image_BD.to(self._device), text_BD.to(self._device)
            query_BD: torch.Tensor = self._module(*inputs_BD, *(each.to(self._device) for each in states))
            return query_BD.float().cpu()
        finally:
            self._module.train(training)


def evaluate_pairs(test: CachedPairs, module: ComposerModule, device: str | torch.device = "cpu") -> dict[str, float]:
    """``pairs/recall@K`` of a module that is on ``device``."""
    (queries,) = test.compose(_InTraining(module, device))
    return {f"{PREFIX}{name}": each.value for name, each in measure(test, queries).items()}


def compare_pairs(test: CachedPairs, module: ComposerModule) -> Comparison:
    """The table of ``scot evaluate pairs``: the composer, the baselines and both oracles, with intervals."""
    (queries,) = test.compose(_InTraining(module, "cpu"))
    return compare(test, [(_InTraining.name, queries)])


def as_metrics(comparison: Comparison) -> dict[str, float]:
    """``pairs/NAME/recall@1`` of every row but the composer's, for the metrics of an artifact."""
    rows = (row for row in comparison.rows if row.name != _InTraining.name)
    return {f"{PREFIX}{row.name}/recall@1": row.metrics["recall@1"].value for row in rows}


def score(measured: Mapping[str, float]) -> float:
    """The number that a run stops and chooses its weights by.

    With a test it is the mean of ``pairs/recall@1``, ``@5`` and ``@10``, which a few queries change less than the first
    alone; without one the recall@1 of the run's own edits.
    """
    if _CHOSEN_BY[0] not in measured:
        return measured["recall@1"]
    return sum(measured[name] for name in _CHOSEN_BY) / len(_CHOSEN_BY)
