"""``scot composers``: list, compare, promote and roll back the versions of a registry."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import tyro
from rich.box import SIMPLE_HEAD
from rich.table import Table

from scot.cluster import job_result
from scot.commands.columns import print_columns
from scot.composers import Registry, artifact, packaged_composers
from scot.errors import NotFound, NotPromoted, ScotError
from scot.evaluation import promotion
from scot.evaluation.gate import Check
from scot.evaluation.scoring import Estimate
from scot.progress import Progress, report_console
from scot.results import print_json, print_outcome


@dataclass(frozen=True)
class ListConfig:
    """List the composers of a registry, and the packaged ones.

    Example: scot composers list --composers scot-demo/composers
    """

    composers: str = "composers"
    """The registry: a folder or a URL."""
    json: bool = False
    """Print one line of JSON."""


@dataclass(frozen=True)
class CompareConfig:
    """Measure two composers on drawn galleries, side by side.

    Example: scot composers compare v1 v2 --composers scot-demo/composers --gallery scot-demo/gallery/wardrobe
    """

    first: tyro.conf.Positional[str]
    """A version."""
    second: tyro.conf.Positional[str]
    """The version to compare it with."""
    composers: str = "composers"
    """The registry: a folder or a URL."""
    gallery: list[Path] = field(default_factory=list)
    """Galleries drawn by `scot draw --split eval`."""
    encoder: str = "tiny"
    """The encoder that both were trained on."""
    cache: Path = Path("evaluation/cache")
    """Folder for the cached embeddings of the galleries."""
    json: bool = False
    """Print one line of JSON."""


@dataclass(frozen=True)
class PromoteConfig:
    """Release a composer, if on every gallery it is not measurably worse than the released one.

    Example: scot composers promote v2 --composers scot-demo/composers --gallery scot-demo/gallery/wardrobe
    """

    version: tyro.conf.Positional[str]
    """The version to release."""
    composers: str = "composers"
    """The registry: a folder or a URL."""
    gallery: list[Path] = field(default_factory=list)
    """Galleries drawn by `scot draw --split eval`."""
    encoder: str = "tiny"
    """The encoder that it was trained on."""
    cache: Path = Path("evaluation/cache")
    """Folder for the cached embeddings of the galleries."""
    force: bool = False
    """Release it even if the gate refuses; the numbers are recorded either way."""
    json: bool = False
    """Print the decision as one line of JSON, not as a sentence."""


@dataclass(frozen=True)
class RollbackConfig:
    """Release the previously released version; a second time, the one before it.

    Example: scot composers rollback --composers scot-demo/composers
    """

    composers: str = "composers"
    """The registry: a folder or a URL."""
    or_none: bool = False
    """Release nothing if there is no earlier version; the packaged composer answers then, if there is one."""
    json: bool = False
    """Print one line of JSON."""


def list_composers(config: ListConfig) -> int:
    """Print one line a version, and one a packaged composer.

    Raises:
        NotFound: there is no version.
        InvalidInput: the pointer is damaged.
    """
    registry = _registry(config.composers)
    released = registry.released()
    rows: list[tuple[str, ...]] = [_TITLES]
    broken: list[str] = []
    for version in registry.versions():
        try:
            published, decisions = registry.published_at(version), registry.decisions(version)
            state = "released" if version == released else ""
            rows.append(
                (
                    *_cells(version, registry.path(version), state),
                    f"{published:%Y-%m-%d %H:%M}" if published else "",
                    str(decisions[-1]["outcome"]) if decisions else "",
                )
            )
        except ScotError as error:
            broken.append(str(error))
    packaged = packaged_composers()
    rows += [(*_cells(name, str(folder), "packaged"), "", "") for name, folder in packaged.items()]
    if config.json:
        print_json({"composers": [_object(row) for row in rows[1:]], "broken": broken})
        return 0
    print_columns(rows)
    for line in broken:
        print(line)
    if released is None and packaged:
        print(f"no version is released: {_answering(packaged)}")
    return 0


def compare(config: CompareConfig) -> int:
    """Print recalls with their intervals and which version is ahead.

    Raises:
        InvalidInput, NotFound, EncoderMismatch: a gallery, composer or encoder cannot be used.
    """
    checks = promotion.compare(
        _registry(config.composers),
        config.first,
        config.second,
        galleries=config.gallery,
        encoder=config.encoder,
        cache=config.cache,
        progress=Progress.on(sys.stderr),
    )
    if config.json:
        shown = [check.to_json() for check in checks]
        print_json({"candidate": config.first, "other": config.second, "checks": shown})
    else:
        report_console().print(_table(checks, config.first, config.second))
    return 0


def promote(config: PromoteConfig) -> int:
    """Measure, record the decision with the version, and release it if it passes.

    Raises:
        NotPromoted: it is worse than the released one, or of another encoder.
        Conflict: another version was released while this one was measured.
        InvalidInput, NotFound, EncoderMismatch: a gallery, composer or encoder cannot be used.
    """
    decision = promotion.promote(
        _registry(config.composers),
        config.version,
        galleries=config.gallery,
        encoder=config.encoder,
        cache=config.cache,
        force=config.force,
        progress=Progress.on(sys.stderr),
    )
    if decision.checks:
        console = report_console(stderr=config.json)
        console.print(_table(decision.checks, config.version, decision.compared_with))
    if config.json:
        job_result.write(decision.to_json())
        return NotPromoted.exit_code if decision.outcome == "refused" else 0
    if decision.outcome == "refused":
        raise NotPromoted(f"{decision.summary}; --force promotes it all the same")
    if decision.outcome == "already released":
        print(decision.summary)
        return 0
    before = f"; before: {decision.released}" if decision.released else ""
    print(f"promoted {decision.candidate} ({decision.outcome}{before}): {decision.summary}")
    return 0


def rollback(config: RollbackConfig) -> int:
    """Release the previously released version and print both. Raises NotFound, as :meth:`Registry.rollback` does."""
    registry = _registry(config.composers)
    done = promotion.rollback(registry, or_none=config.or_none)
    skipped = f" ({', '.join(done.skipped)} can no longer be loaded)" if done.skipped else ""
    if done.version is None:
        encoder, now = None, f"{done.taken_back} is taken back{skipped}; no version is released now"
    else:
        encoder = registry.config(done.version)["encoder_id"]
        now = f"rolled back from {done.taken_back} to {done.version}{skipped}; it needs the encoder {encoder}"
    print_outcome(config.json, {**asdict(done), "encoder": encoder}, now)
    return 0


def _registry(place: str) -> Registry:
    registry = Registry(place)
    if not registry.versions():
        packaged = packaged_composers()
        instead = f" ({_answering(packaged)})" if packaged else ""
        raise NotFound(f"{place} holds no composer yet{instead}; pretrain one, or name the registry with --composers")
    return registry


def _answering(packaged: Mapping[str, Path]) -> str:
    """Which packaged composer answers with which encoder."""
    return ", ".join(
        f"{name} answers for the encoder {artifact.read_config(each)['encoder_id']}" for name, each in packaged.items()
    )


_TITLES = ("version", "", "encoder", "architecture", "weights", "held-out R@1", "published (UTC)", "last decision")


def _cells(name: str, path: str, state: str) -> tuple[str, ...]:
    """The first cells of a composer: those that its artifact knows."""
    config, recall = artifact.read_config(path), artifact.read_metrics(path).get("recall@1")
    return (
        name,
        state,
        str(config["encoder_id"]),
        str(config["architecture"]),
        f"{artifact.parameters(path):,}",
        "" if recall is None else f"{recall:.3f}",
    )


def _object(row: Sequence[str]) -> dict[str, object]:
    """A row as JSON."""
    version, state, encoder, architecture, weights, recall, published, decision = row
    return {
        "version": version,
        "state": state or None,  # released or packaged
        "encoder": encoder,
        "architecture": architecture,
        "weights": int(weights.replace(",", "")),
        "recall@1": float(recall) if recall else None,
        "published": published or None,
        "last_decision": decision or None,
    }


def _table(checks: Sequence[Check], first: str, second: str | None) -> Table:
    """The checks as a table; the second version has a column if it was measured."""
    both = second is not None and any(check.other is not None for check in checks)
    table = Table("world", "metric", box=SIMPLE_HEAD)
    for name in (first, second) if both else (first,):
        table.add_column(f"{name} [95 %]", justify="right")
    if both:
        table.add_column("ahead")
    names = {"candidate": first, "other": second or "", "neither": "neither"}
    for check in checks:
        cells = [_shown(estimate) for estimate in (check.candidate, check.other) if estimate is not None]
        table.add_row(check.world, check.metric, *cells, *([names[check.winner]] if both else []))
    return table


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} \\[{estimate.low:.3f}, {estimate.high:.3f}]"
