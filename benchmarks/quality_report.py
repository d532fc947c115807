"""The tables and plots of the quality benchmark."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_TITLES = {
    "composer": "Composers",
    "objective": "Objectives",
    "supervision": "Supervision",
    "data": "Amount of data",
    "encoder": "Encoders",
}
_METRICS = {"recall@1": "R@1", "recall@10": "R@10", "recall_subset@1": "Rsub@1"}
_TITLE = "## On the drawn worlds"
_HEAD = """\
Zero-shot recall of composers on galleries of the two drawn worlds, with combinations of attributes that were in
no training data. `python benchmarks/quality.py --work quality --report docs/quality.md` writes this section; finished
runs are not trained again.

The runs share one set of triplets, a batch of 1,024 and 400 steps, unless a line says otherwise. No setting was chosen
on these galleries. All their images are in groups of six that differ in one or two attributes, so they are harder
than those of `make demo`. `oracle` searches with T_u, the embedding of the true edited caption, `oracle_moved` with
I + T_u − T_o: neither is a ceiling, and where captions leave things out, as these do not, the second may be higher. A
labelled triplet has its true target image; the same network and trainer learn from it. The two smaller encoders were
also trained for only a quarter of the packaged one's steps, so their lines show a worse backbone, not only a smaller
one.

*±* is half the range over the seeds, whose number is in the last column; the first table has 95 % intervals over the
queries. *Δ* is R@1, the mean of the worlds, minus that of the table's first line with the same seeds. *s* is the
training time, on a machine that did other work too.

"""


def write_report(runs: Sequence[Any], results: Path, page: Path | None, *, about: str) -> None:
    """Print the tables; with ``page``, put them into its section, with a plot for each group that has one."""
    references = json.loads((results / "references.json").read_text(encoding="utf-8"))
    worlds = list(references)
    text = [reference_table(references), *best_table(runs, results, references)]
    for group, title in _TITLES.items():
        found = [(run, seeds) for run in runs if run.group == group and (seeds := _seeds(run, results))]
        if len(found) > 1:  # one run alone is compared with nothing
            text.append(f"### {title}\n\n" + group_table(found, worlds))
            if page is not None:
                image = page.parent / "images" / f"quality-{group}.png"
                plot(found, worlds, image)
                text.append(f"![{title}: recall at 1]({image.relative_to(page.parent)})")
    print("\n\n".join(text))
    if page is not None:
        replace_section(page, _TITLE, "\n\n".join([_HEAD + about, *text]))


def replace_section(page: Path, title: str, text: str) -> None:
    """Write ``text`` below a heading of a Markdown page, up to the next heading as high; a new one goes to the end."""
    page.parent.mkdir(parents=True, exist_ok=True)
    lines = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    start = lines.index(title) if title in lines else len(lines)
    higher = tuple("#" * level + " " for level in range(1, title.index(" ") + 1))
    end = next((n for n in range(start + 1, len(lines)) if lines[n].startswith(higher)), len(lines))
    parts = ["\n".join(lines[:start]).rstrip(), f"{title}\n\n{text}", "\n".join(lines[end:])]
    page.write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


def reference_table(references: dict[str, Any]) -> str:
    """The oracles and the best baseline of each world, with intervals."""
    lines = ["| world | query vector | " + " | ".join(_METRICS.values()) + " |", "|---|---|" + "---|" * len(_METRICS)]
    for world, rows in references.items():
        for name, metrics in rows.items():
            cells = [f"{m['value']:.3f} ± {(m['high'] - m['low']) / 2:.3f}" for m in (metrics[key] for key in _METRICS)]
            lines.append(f"| {world} | {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def best_table(runs: Sequence[Any], results: Path, references: dict[str, Any]) -> list[str]:
    """R@1 of the best composer over the oracle's, the best baseline's, and its own network's on labelled triplets."""
    worlds = list(references)
    found = [(run, seeds) for run in runs if run.group == "composer" and (seeds := _seeds(run, results))]
    if not found:
        return []
    best, seeds = max(found, key=lambda each: statistics.mean(_by_seed(each[1], worlds).values()))
    reached = {world: statistics.mean(_values(seeds, world, "recall@1")) for world in worlds}
    over = {
        kind: [
            row["recall@1"]["value"]
            for rows in references.values()
            for name, row in rows.items()
            if name.partition(" (")[0] == kind
        ]
        for kind in ("oracle", "oracle_moved", "best baseline")
    }
    for run in runs:
        same = run.labels and run.train.get("architecture") == best.train.get("architecture")
        if same and (labelled := _seeds(run, results)):
            over[run.name] = [statistics.mean(_values(labelled, world, "recall@1")) for world in worlds]
    over = {kind: values for kind, values in over.items() if values}  # results of earlier versions have one oracle
    lines = [
        f"| R@1 of the best composer ({best.name}) over | " + " | ".join(worlds) + " |",
        "|---|" + "---|" * len(worlds),
    ]
    for name, values in over.items():
        ratios = [f"{reached[world] / value:.2f}" for world, value in zip(worlds, values, strict=True)]
        lines.append(f"| {name} | " + " | ".join(ratios) + " |")
    return ["\n".join(lines)]


def group_table(found: Sequence[tuple[Any, list[dict[str, Any]]]], worlds: Sequence[str]) -> str:
    """Each run's recall and subset recall at 1 on every world, each with its share of the oracle's; time and seeds."""
    head = [f"{world} {name}" for world in worlds for name in ("R@1", "÷ oracle", "Rsub@1", "÷ oracle")]
    lines = ["| run | " + " | ".join([*head, "Δ", "s", "seeds"]) + " |", "|---|" + "---|" * (len(head) + 3)]
    first = _by_seed(found[0][1], worlds)
    for run, seeds in found:
        cells = []
        for world in worlds:
            for metric in ("recall@1", "recall_subset@1"):
                cells += [_spread(_values(seeds, world, metric)), _share(seeds, world, metric)]
        gains = [value - first[seed] for seed, value in _by_seed(seeds, worlds).items() if seed in first]
        cells.append(f"{statistics.mean(gains):+.3f}" if gains else "")
        seconds = statistics.median(result["seconds"] for result in seeds)
        lines.append(f"| {run.name} | " + " | ".join([*cells, f"{seconds:.0f}", str(len(seeds))]) + " |")
    return "\n".join(lines)


def plot(found: Sequence[tuple[Any, list[dict[str, Any]]]], worlds: Sequence[str], file: Path) -> None:
    """Recall at 1 of each run as bars, with the seeds as dots and the oracle as a line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(worlds), figsize=(10, 0.45 * len(found) + 1.2), sharey=True)
    places = range(len(found))  # two lines may have one name, such as the same composer without patches
    for axes, world in zip(panels, worlds, strict=True):
        values = [_values(seeds, world, "recall@1") for _, seeds in found]
        axes.barh(places, [statistics.mean(each) for each in values], color="#7aa6c2")
        for place, each in enumerate(values):
            axes.plot(each, [place] * len(each), "k.", markersize=4)
        for place, (_, seeds) in enumerate(found):
            oracle = _oracle(seeds, world, "recall@1")
            axes.plot([oracle] * 2, [place - 0.4, place + 0.4], color="#b5473c", label=None if place else "oracle")
        axes.set(title=world, xlabel="R@1", xlim=(0, 1))
        axes.legend(loc="lower left", fontsize=8)
    panels[0].set_yticks(places, [run.name for run, _ in found])
    panels[0].invert_yaxis()
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _seeds(run: Any, results: Path) -> list[dict[str, Any]]:
    files = sorted(file for file in results.glob(f"{run.key}-*.json") if file.stem.rpartition("-")[0] == run.key)
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def _oracle(seeds: Sequence[dict[str, Any]], world: str, metric: str) -> float:
    """What the edited caption itself reaches, with the encoder of these runs."""
    value: float = seeds[0]["references"][world]["oracle"][metric]["value"]
    return value


def _values(seeds: Sequence[dict[str, Any]], world: str, metric: str) -> list[float]:
    return [result["worlds"][world][metric]["value"] for result in seeds]


def _by_seed(seeds: Sequence[dict[str, Any]], worlds: Sequence[str]) -> dict[int, float]:
    """R@1 of each seed, the mean of the worlds."""
    return {
        one["seed"]: statistics.mean(one["worlds"][world]["recall@1"]["value"] for world in worlds) for one in seeds
    }


def _share(seeds: Sequence[dict[str, Any]], world: str, metric: str) -> str:
    return f"{statistics.mean(_values(seeds, world, metric)) / _oracle(seeds, world, metric):.2f}"


def _spread(values: Sequence[float]) -> str:
    half = (max(values) - min(values)) / 2
    return f"{statistics.mean(values):.3f}" + (f" ± {half:.3f}" if len(values) > 1 else "")
