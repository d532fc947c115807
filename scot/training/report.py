"""The report of a run, ``report.md``: its settings, data, time, results and curves.

The curves need matplotlib, which is in the extra ``train``.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from scot.data.run_report import RunReport
from scot.evaluation.comparison import Comparison
from scot.machine import machine
from scot.training.config import TrainConfig, training_settings
from scot.training.loop import Trainer
from scot.training.run_folder import RunFolder

_RECALLS = {"recall@1": "R@1", "recall@10": "R@10", "beats_caption": "beats caption"}
_PAIR_RECALLS = {"recall@1": "R@1", "recall@5": "R@5", "recall@10": "R@10"}
_LINE = '{"step"'  # the start of a line

Line = dict[str, Any]


def write_report(run: RunFolder, trainer: Trainer) -> Path:
    """Write ``report.md`` and its plots, ``report-*.png``, into the folder of a run whose training has ended.

    Machine and workers are those at the end of the run; earlier resumptions are among its notes.

    Raises:
        OSError: the files cannot be written.
    """
    lines = read_progress(run.progress_file())
    parts = [
        f"# {run.name}",
        _outcome(trainer, lines),
        "## Curves\n\n" + _curves(run.folder, lines, trainer.best_step),
        "## Time\n\n" + _time(trainer, lines),
        "## Data\n\n" + _data(run, trainer),
        "## Settings\n\nBold is what differs from the default.\n\n" + _settings(run.config),
    ]
    if run.notes_file().exists():
        notes = run.notes_file().read_text(encoding="utf-8").splitlines()
        parts.append("## Notes\n\n" + "\n".join(f"- {note}" for note in notes))
    run.report_file().write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    if lines:
        _run_report(run, trainer, lines).write(run.folder)
    return run.report_file()


def read_progress(path: Path) -> list[Line]:
    """The lines of a ``progress.jsonl`` by rising step; empty if it cannot be read.

    A run that lost workers resumes from a checkpoint and writes steps again: a line replaces every earlier line of the
    same or a later step. The incomplete line of a killed process is skipped.
    """
    lines: list[Line] = []
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    for row in text.splitlines():
        try:
            line = json.loads(row[max(0, row.rfind(_LINE)) :])  # the next line follows an incomplete one directly
        except ValueError:
            continue
        while lines and lines[-1]["step"] >= line["step"]:
            lines.pop()
        lines.append(line)
    return lines


def _outcome(trainer: Trainer, lines: Sequence[Line]) -> str:
    measured = [line for line in lines if line["evaluated"]]
    rows = [("best", trainer.best_step, trainer.best)]
    if measured:
        rows.append(("last", measured[-1]["step"], measured[-1]["held_out"]))
    more = "" if trainer.stale == 1 else f"{trainer.stale} "
    early = f": the last {more}evaluation{'s' * bool(more)} brought no better recall" if trainer.stopped else ""
    cells = [(kind, f"{step:,}", *(f"{recall[key]:.3f}" for key in _RECALLS)) for kind, step, recall in rows if recall]
    cells += [(name, "", *(f"{recall[key]:.3f}" for key in _RECALLS)) for name, recall in trainer.references.items()]
    return (
        f"The composer is that of step {trainer.best_step:,}. Training ended after step {trainer.step:,} of "
        f"{trainer.config.steps:,}{early}.\n\n"
        + _on_pairs(trainer.comparison)
        + _table(("edits", "step", *_RECALLS.values()), cells)
        + "\n\n"
        "A query searches the edited captions of the held-out triplets. Weights of baselines are the best for these "
        "triplets. The oracles search with the true captions: `oracle` with T_u, which is in this gallery, "
        "`oracle_moved` with I + T_u − T_o."
    )


def _on_pairs(comparison: Comparison | None) -> str:
    """The table of the test on images, which decides; empty without one."""
    if comparison is None:
        return ""
    names = [name for name in _PAIR_RECALLS if name in comparison.rows[0].metrics]
    rows = [
        (
            row.name,
            *(f"{each.value:.3f} ± {(each.high - each.low) / 2:.3f}" for each in map(row.metrics.__getitem__, names)),
        )
        for row in comparison.rows
    ]
    return (
        _table(("pairs of images", *map(_PAIR_RECALLS.__getitem__, names)), rows)
        + f"\n\n{comparison.queries:,} queries over {comparison.gallery:,} images, as in `scot evaluate pairs`: the "
        "captions of a reference and of a right answer differ in a few words. Neither was trained on. Training stops "
        "by the mean of R@1, R@5 and R@10, and a composer whose R@1 is below that of a baseline is not released. Of "
        "the oracles, `oracle` searches with T_u and `oracle_moved` with I + T_u − T_o; neither is a ceiling.\n\n"
    )


def _time(trainer: Trainer, lines: Sequence[Line]) -> str:
    device = "CPU" if trainer.device.type == "cpu" else torch.cuda.get_device_name(trainer.device)
    rows = [
        ("machine", machine()),
        ("workers", f"{trainer.world}, on {device}, PyTorch {torch.__version__}"),
        ("steps", f"{trainer.step:,} of {trainer.batch_size:,} triplets"),
    ]
    if not lines:
        return _table(("", ""), rows) + "\n\nThe run has no progress log."
    seconds = [_seconds(before, line) for before, line in pairwise([{"step": 0}, *lines])]
    whole, triplets = sum(seconds), lines[-1]["step"] * trainer.batch_size
    waited = sum(share * line.get("data_wait", 0.0) for share, line in zip(seconds, lines, strict=True))
    saved = [line["checkpoint_s"] for line in lines if line.get("checkpoint_s")]
    rows.append(("time in steps", f"{whole:,.1f} s, without evaluations and checkpoints"))
    if "at" in lines[0]:
        passed = lines[-1]["at"] - lines[0]["at"] + seconds[0]
        rows.append(("time passed", f"{passed:,.1f} s up to the last step, stops included"))
    rows.append(("speed", f"{triplets / whole:,.0f} triplets/s"))
    rows.append(("waiting for data", f"{waited / whole:.1%} of the time in steps"))
    if saved:
        rows.append(("a checkpoint", f"{statistics.median(saved):.2f} s (median), {max(saved):.2f} s at most"))
    return _table(("", ""), rows)


def _run_report(run: RunFolder, trainer: Trainer, lines: Sequence[Line]) -> RunReport:
    """The same for ``scot plan --check``; its time is that in steps, of all resumptions together."""
    counts = {
        "steps": lines[-1]["step"],
        "batch_size": trainer.batch_size,
        "triplets": len(trainer.data),
        "texts": len(trainer.data.text_VD),
    }
    settings = {
        "encoder": run.data.encoder_id,
        "architecture": run.config.architecture,
        "workers": trainer.world,
        "gpu": trainer.device.type != "cpu",
    }
    seconds = sum(_seconds(before, line) for before, line in pairwise([{"step": 0}, *lines]))
    return RunReport("pretraining", seconds, counts, settings)


def _seconds(before: Line, line: Line) -> float:
    return float((line["step"] - before["step"]) * line["batch_size"] / line["triplets_per_s"])


def _data(run: RunFolder, trainer: Trainer) -> str:
    data, training, measured = trainer.data, len(trainer.training_N), len(trainer.measured_M)
    rows = [
        ("embedding cache", f"`{run.data.hash}`, made from `{run.data.source}`"),
        ("encoder", f"`{run.data.encoder_id}`, {data.dim} dimensions"),
        ("triplets", f"{len(data):,}"),
        ("images, texts", f"{len(data.image_ids):,}, {len(data.text_VD):,}"),
        ("trained on, held out", f"{training:,}, {measured:,} triplets"),
        ("split", trainer.split.summary),
        ("epochs", f"{trainer.step * trainer.batch_size / training:.2f}"),
    ]
    return _table(("", ""), rows)


def _settings(config: TrainConfig) -> str:
    defaults = training_settings(TrainConfig())
    rows = [
        (key, str(value), "") if value == defaults[key] else (f"**{key}**", f"**{value}**", str(defaults[key]))
        for key, value in training_settings(config).items()
    ]
    return _table(("setting", "value", "default"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _curves(folder: Path, lines: Sequence[Line], best_step: int) -> str:
    if not lines:
        return "The run has no progress log."
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return "There are no plots: matplotlib is not installed."
    shown = []
    for name, title, panels, draw in (
        ("loss", "Loss and its terms before their weights", 1, _draw_loss),
        ("recall", "Held-out recall, with the best step", 1, _draw_recall),
        ("optimiser", "Inverse temperature, gradient norm before clipping, learning rate", 3, _draw_optimiser),
        ("speed", "Triplets per second", 1, _draw_speed),
    ):
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False)[0]
        draw(axes, lines, best_step)
        for each in axes:
            each.set_xlabel("step")
            each.grid(alpha=0.3)
        figure.savefig(folder / f"report-{name}.png", dpi=110)
        shown.append(f"![{title}](report-{name}.png)")
    return "\n\n".join(shown)


def _draw_loss(axes: Any, lines: Sequence[Line], best_step: int) -> None:
    _plot(axes[0], lines, [line["loss"] for line in lines], label="loss", color="black")
    for term in dict.fromkeys(term for line in lines for term in line.get("terms", {})):
        values = [line.get("terms", {}).get(term, math.nan) for line in lines]
        _plot(axes[0], lines, values, label=term, linestyle="--")
    axes[0].legend()


def _draw_recall(axes: Any, lines: Sequence[Line], best_step: int) -> None:
    measured = [line for line in lines if line["evaluated"]]
    for key, name in _RECALLS.items():
        _plot(axes[0], measured, [line["held_out"][key] for line in measured], label=name)
    axes[0].axvline(best_step, color="#b5473c", linewidth=1, label="best step")
    axes[0].legend()


def _draw_optimiser(axes: Any, lines: Sequence[Line], best_step: int) -> None:
    named = {"scale": "inverse temperature", "gradient_norm": "gradient norm", "lr": "learning rate"}
    for each, (key, name) in zip(axes, named.items(), strict=True):
        _plot(each, lines, [line.get(key, math.nan) for line in lines])
        each.set_title(name, fontsize=10)


def _draw_speed(axes: Any, lines: Sequence[Line], best_step: int) -> None:
    _plot(axes[0], lines, [line["triplets_per_s"] for line in lines])
    axes[0].set_ylabel("triplets/s")
    axes[0].set_ylim(bottom=0)


def _plot(axes: Any, lines: Sequence[Line], values: Sequence[float], **style: Any) -> None:
    axes.plot([line["step"] for line in lines], values, marker=".", **style)
