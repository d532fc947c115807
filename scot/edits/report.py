"""``scot edits report``: the content of a folder of triplets, for a person who decides whether to train on it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tyro

from scot.data.shards import Manifest
from scot.data.triplets import iterate_triplets, read_manifest
from scot.edits.filters import plain
from scot.edits.similarity import Similarities
from scot.errors import InvalidInput
from scot.results import print_outcome

_SAID = 5  # the most frequent edits that are shown
# Where the verdict is not good: shares of the captions, or of the triplets.
_LEAST_EDITED, _MOST_GIVEN_AWAY, _MOST_REPEATED, _MOST_SAID, _LEAST_SAID = 0.5, 0.01, 0.25, 0.05, 10
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True)
class ReportConfig:
    """Acceptance by reason and aspect, lengths, similarities, duplicates, and a sample to read.

    Example: scot edits report scot-demo/triplets --output report.png
    """

    triplets: tyro.conf.Positional[Path]
    """A folder of triplets."""
    output: Path = Path("edits-report.png")
    """The histograms of lengths and similarities, as PNG."""
    encoder: str = "tiny"
    """The encoder of the similarities; empty: none."""
    measured: int = 2_000
    """Random triplets on which similarities and lengths are measured."""
    sample: int = 12
    """Triplets to print."""
    seed: int = 0
    """The seed of the random triplets."""
    json: bool = False
    """Print one line of JSON."""


@dataclass(frozen=True, slots=True)
class Report:
    """The numbers of a report. ``similarities`` is None without an encoder."""

    manifest: Manifest
    aspects: Counter[str]
    edits: Counter[str]
    """How often each edit is said, case aside."""
    repeated: int
    """Triplets with the edit and the caption of another."""
    given_away: int
    """Triplets whose edit is the caption or the edited caption."""
    with_target: int
    """Triplets with a second, real target."""
    words: dict[str, list[int]]
    similarities: Similarities | None
    sample: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """The numbers as plain values; the keys of the quantiles are their shares."""
        manifest, measured = self.manifest, {f"{name}_words": values for name, values in self.words.items()}
        if self.similarities is not None:
            measured |= {name: getattr(self.similarities, name) for name in ("caption_edited", "edit_edited")}
        return {
            "triplets": manifest.count,
            **{name: manifest.extra.get(name) for name in ("generator", "prompt_version", "tally")},
            "refused": manifest.rejected,
            "aspects": self.aspects,
            "repeated": self.repeated,
            "given_away": self.given_away,
            "with_target": self.with_target,
            "most_said": dict(self.edits.most_common(_SAID)),
            "verdict": verdict(self),
            "quantiles": {
                name: dict(zip(_QUANTILES, np.quantile(values, _QUANTILES).tolist(), strict=True))
                for name, values in measured.items()
            },
            "sample": self.sample,
        }


def report(config: ReportConfig) -> int:
    """Measure, print, and draw.

    Raises:
        NotFound, InvalidInput: the folder holds no finished triplets, or there is no such encoder.
    """
    if config.measured < 1 or config.sample < 0:
        raise InvalidInput("measured must be at least 1 and sample not negative")
    made = measure(config)
    draw(made, config.output)
    if not config.json:
        print(f"{text(made)}\n\nhistograms in {config.output}")
    values = {**made.to_json(), "histograms": str(config.output)}
    print_outcome(config.json, values, f"verdict: {verdict(made)}")
    return 0


def measure(config: ReportConfig) -> Report:
    """Read a folder of triplets once, shard by shard."""
    manifest = read_manifest(config.triplets)
    aspects: Counter[str] = Counter()
    edits: Counter[str] = Counter()
    given_away = with_target = 0
    pairs: set[int] = set()
    sampled: list[dict[str, Any]] = []
    rng, count = random.Random(config.seed), 0
    for table in iterate_triplets(config.triplets):
        aspects.update(table["aspect"].to_pylist())
        texts = [[plain(text) for text in table[name].to_pylist()] for name in ("caption", "edit", "edited_caption")]
        pairs.update(map(hash, zip(*texts[:2], strict=True)))
        edits.update(texts[1])
        given_away += sum(edit in (caption, edited) for caption, edit, edited in zip(*texts, strict=True))
        with_target += len(table) - table["target_image_id"].null_count
        sampled, count = _reservoir(sampled, table, count, config.measured, rng)
    if not sampled:
        raise InvalidInput(f"{config.triplets} holds no triplet")
    lengths = {name: [len(row[name].split()) for row in sampled] for name in ("caption", "edit", "edited_caption")}
    similarities = _similarities(sampled, config.encoder) if config.encoder else None
    sample = rng.sample(sampled, min(config.sample, len(sampled)))
    repeated = manifest.count - len(pairs)
    return Report(manifest, aspects, edits, repeated, given_away, with_target, lengths, similarities, sample)


def verdict(made: Report) -> str:
    """Whether to train on the triplets, in one sentence."""
    count, tally = made.manifest.count, made.manifest.extra.get("tally") or {}
    edit, said = made.edits.most_common(1)[0]
    if "edited" in tally and (share := tally["edited"] / tally["captions"]) < _LEAST_EDITED:
        return f"poor: only {share:.1%} of the captions have an edit; try another engine"
    if made.given_away > _MOST_GIVEN_AWAY * count:
        return f"poor: {made.given_away / count:.1%} of the edits are the caption or the edited caption itself"
    if made.repeated > _MOST_REPEATED * count:
        return f"poor: {made.repeated / count:.1%} of the triplets say the same edit of the same caption as another"
    if said > max(_LEAST_SAID, _MOST_SAID * count):
        return f"monotonous: {said / count:.1%} of the edits are {edit!r}"
    return "good: nothing stands out; read the sample before you train"


def text(made: Report) -> str:
    """The report as text."""
    manifest = made.manifest
    extra = manifest.extra
    refused = sum(manifest.rejected.values())
    tally = extra.get("tally") or {}
    captions = tally.get("captions") or refused + manifest.count
    lines = [
        f"{manifest.count:,} triplets by {extra.get('generator')}, prompt {extra.get('prompt_version')}",
        f"{refused:,} refused",
        f"{made.repeated:,} say the same edit of the same caption as another",
        f"{made.given_away:,} have an edit that is the caption or the edited caption",
        f"{made.with_target:,} have a second, real target",
    ]
    if tally:
        lines.append(f"{captions:,} captions, {manifest.count / captions:.2f} edits each")
        if "edited" in tally:
            lines.append(f"{tally['edited']:,} have an edit, {tally['short']:,} of them fewer than asked")
        if tally["completion_tokens"]:
            read, wrote = (tally[f"{kind}_tokens"] / captions for kind in ("prompt", "completion"))
            lines.append(f"a caption took {read:,.0f} prompt tokens and {wrote:,.0f} completion tokens")
    lines += ["", "refused for (share of the captions)"]
    for reason, count in Counter(manifest.rejected).most_common():
        lines.append(f"  {reason:<24} {count:>9,}  {count / captions:6.1%}")
        lines += [f"    {caption}" for caption in tally.get("examples", {}).get(reason, ())]
    lines += ["", "said most often"] + [
        f"  {edit:<40} {count:>9,}  {count / manifest.count:6.1%}" for edit, count in made.edits.most_common(_SAID)
    ]
    lines += ["", "accepted of aspect"] + [
        f"  {aspect:<24} {count:>9,}  {count / manifest.count:6.1%}" for aspect, count in made.aspects.most_common()
    ]
    lines += ["", "quantiles" + " " * 19 + "".join(f"{q:>7.0%}" for q in _QUANTILES)]
    lines += [
        f"  {name.replace('_', ' ') + ', words':<26}" + _row(values, "7.0f") for name, values in made.words.items()
    ]
    if made.similarities is not None:
        lines += [
            f"  {name:<26}" + _row(values, "7.2f")
            for name, values in (
                ("cos(caption, edited)", made.similarities.caption_edited),
                ("cos(edit, edited)", made.similarities.edit_edited),
            )
        ]
    lines += ["", "a sample"]
    for row in made.sample:
        lines += [f"  {row['caption']}", f"    {row['edit']}  [{row['aspect']}]", f"    {row['edited_caption']}"]
    return "\n".join(lines)


def draw(made: Report, output: Path) -> None:
    """Histograms of lengths and similarities, PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plots: list[tuple[str, Any]] = [(f"words of the {name.replace('_', ' ')}", v) for name, v in made.words.items()]
    if made.similarities is not None:
        plots += [
            ("cosine of caption and edited caption", made.similarities.caption_edited),
            ("cosine of edit and edited caption", made.similarities.edit_edited),
        ]
    figure, axes = plt.subplots(1, len(plots), figsize=(3.2 * len(plots), 2.8), layout="constrained")
    for axis, (title, values) in zip(axes, plots, strict=True):
        whole = title.startswith("words")
        axis.hist(values, bins=range(max(values) + 2) if whole else 40, color="#4c72b0")
        axis.set_title(title, fontsize=9)
        axis.set_yticks([])
    axes[0].set_ylabel("triplets")
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=120)
    plt.close(figure)


def _reservoir(
    sampled: list[dict[str, Any]], table: pa.Table, count: int, size: int, rng: random.Random
) -> tuple[list[dict[str, Any]], int]:
    """Sample every row of all tables with the same probability (Vitter's algorithm R); ``count`` rows came before."""
    for row in range(table.num_rows):
        if len(sampled) < size:
            sampled.append(table.slice(row, 1).to_pylist()[0])
        elif (place := rng.randrange(count + 1)) < size:
            sampled[place] = table.slice(row, 1).to_pylist()[0]
        count += 1
    return sampled, count


def _similarities(rows: list[dict[str, Any]], encoder: str) -> Similarities:
    from scot.encoders import load_encoder

    loaded = load_encoder(encoder)
    texts = list(dict.fromkeys(row[name] for row in rows for name in ("caption", "edit", "edited_caption")))
    vector = dict(zip(texts, loaded.encode_texts(texts), strict=True))
    caption_ND, edit_ND, edited_ND = (
        np.stack([vector[row[name]] for row in rows]) for name in ("caption", "edit", "edited_caption")
    )
    return Similarities.measure(caption_ND, edit_ND, edited_ND, None)


def _row(values: Any, form: str) -> str:
    return "".join(f"{value:{form}}" for value in np.quantile(values, _QUANTILES))
