"""The Prometheus metrics of a training run, on Ray's metrics endpoint: ``ray_scot_train_*{run="…"}``."""

from __future__ import annotations

from ray.util.metrics import Gauge

from scot.training.progress import Progress


class RunMetrics:
    """One gauge for each number of a run. Ray must be running."""

    def __init__(self, run: str) -> None:
        self._tags = {"run": run}
        self._gauges: dict[str, Gauge] = {}

    def update(self, event: Progress) -> None:
        """Set every gauge to the event's value."""
        values = {
            "step": (event.step, "Steps done."),
            "steps": (event.steps, "Steps of the whole run, unless it stops early."),
            "loss": (event.loss, "Mean loss since the event before."),
            "gradient_norm": (event.gradient_norm, "Mean norm of the gradient before clipping."),
            "triplets_per_second": (event.triplets_per_s, "Training speed, over all workers."),
            "data_wait_ratio": (event.data_wait, "Share of the time that went into waiting for batches."),
            "checkpoint_seconds": (event.checkpoint_s, "Time that the newest checkpoint took."),
            "recall_at_1": (event.held_out.get("recall@1"), "Held-out recall@1, measured at the newest evaluation."),
            "recall_at_10": (event.held_out.get("recall@10"), "Held-out recall@10, measured at the newest evaluation."),
        }
        for name, (value, about) in values.items():
            if value is None:
                continue
            if name not in self._gauges:
                self._gauges[name] = Gauge(f"scot_train_{name}", description=about, tag_keys=("run",))
            self._gauges[name].set(value, tags=self._tags)
