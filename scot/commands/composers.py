"""``scot composers``: list, compare, promote and roll back the versions of a registry."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from rich.box import SIMPLE_HEAD
from rich.table import Table

from scot.commands.columns import print_columns
from scot.composers import Composer, Registry, artifact, load_composer
from scot.encoders import Encoder, load_encoder
from scot.errors import EncoderMismatch, InvalidInput, NotFound, NotPromoted, ScotError
from scot.evaluation.gate import COMPARED, GATE_METRICS, Check, compared, decide, utc_now
from scot.evaluation.metrics import Estimate
from scot.evaluation.report import report_console
from scot.evaluation.world_vectors import encode_gallery


@dataclass(frozen=True)
class ListConfig:
    """List the composers of a registry.

    Example: scot composers list --composers scot-demo/composers
    """

    composers: str = "composers"
    """The registry: a folder or a URL."""


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
    """Where the embeddings of galleries are kept."""


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
    """Where the embeddings of galleries are kept."""
    force: bool = False
    """Release it in any case; the numbers are recorded all the same."""


@dataclass(frozen=True)
class RollbackConfig:
    """Release what was released before the released version; again, what was before that.

    Example: scot composers rollback --composers scot-demo/composers
    """

    composers: str = "composers"
    """The registry: a folder or a URL."""


def list_composers(config: ListConfig) -> int:
    """Print one line a version. Raises NotFound when there is none, InvalidInput when the pointer is damaged."""
    registry = _registry(config.composers)
    released = registry.released()
    rows: list[tuple[str, ...]] = [_TITLES]
    broken: list[str] = []
    for version in registry.versions():
        try:
            rows.append(_cells(registry, version, released))
        except ScotError as error:
            broken.append(str(error))
    print_columns(rows)
    for line in broken:
        print(line)
    return 0


def compare(config: CompareConfig) -> int:
    """Print recalls with their intervals and who is ahead.

    Raises:
        InvalidInput, NotFound, EncoderMismatch: a gallery, composer or encoder cannot be used.
    """
    _check_galleries(config.gallery)
    registry = _registry(config.composers)
    paths = [registry.path(version) for version in (config.first, config.second)]
    encoder, console = load_encoder(config.encoder), report_console()
    first, second = (_load(path, encoder) for path in paths)
    checks = _checks(config, encoder, first, second, COMPARED)
    console.print(_table(checks, config.first, config.second))
    return 0


def promote(config: PromoteConfig) -> int:
    """Measure, record the decision with the version, and release it if it passes.

    Raises:
        NotPromoted: it is worse than the released one, or of another encoder.
        Conflict: another version was released while this one was measured.
        InvalidInput, NotFound, EncoderMismatch: a gallery, composer or encoder cannot be used.
    """
    _check_galleries(config.gallery)
    registry = _registry(config.composers)
    version = config.version
    path = registry.path(version)
    released, objection = _released(registry)
    if version == released:
        print(f"{version} is the released composer already")
        return 0
    pointer_damaged = bool(objection)
    objection = objection or _cannot_compare(registry, version, released)
    if objection and not config.force:
        raise NotPromoted(f"{objection}; --force promotes it all the same")
    encoder, console = load_encoder(config.encoder), report_console()
    candidate = _load(path, encoder)
    other = _load(registry.path(released), encoder) if released is not None and not objection else None
    checks = _checks(config, encoder, candidate, other, GATE_METRICS)
    decision = decide(version, released, encoder.id, checks, objection=objection, force=config.force)
    console.print(_table(checks, version, released if other else None))
    # Recorded first: a version that the pointer names has its numbers, whatever happens in between.
    registry.record(version, decision.to_json())
    if decision.outcome == "refused":
        raise NotPromoted(f"{decision.said}; --force promotes it all the same")
    if pointer_damaged:
        registry.release(version)
    else:
        registry.replace(released, version)
    before = f"; before: {released}" if released else ""
    print(f"promoted {version} ({decision.outcome}{before}): {decision.said}")
    return 0


def rollback(config: RollbackConfig) -> int:
    """Release what was released before, and say what was done. Raises NotFound when there is nothing."""
    registry = _registry(config.composers)
    done = registry.rollback()
    with contextlib.suppress(ScotError):  # the pointer is what counts, and what was taken back may be damaged
        registry.record(done.taken_back, {"at": utc_now(), "outcome": "rolled back", "said": f"to {done.version}"})
    passed_over = f" ({', '.join(done.skipped)} can no longer be loaded)" if done.skipped else ""
    encoder = registry.config(done.version)["encoder_id"]
    print(f"rolled back from {done.taken_back} to {done.version}{passed_over}; it needs the encoder {encoder}")
    return 0


def _check_galleries(folders: Sequence[Path]) -> None:
    if not folders:
        raise InvalidInput("--gallery is missing: draw one with `scot draw --world wardrobe --split eval --output DIR`")


def _checks(
    config: CompareConfig | PromoteConfig,
    encoder: Encoder,
    first: Composer,
    second: Composer | None,
    metrics: Sequence[str],
) -> list[Check]:
    """Measure one or two composers on every gallery."""
    states = any(composer is not None and composer.reads_states for composer in (first, second))
    checks: list[Check] = []
    for folder in config.gallery:
        vectors = encode_gallery(folder, encoder, config.cache, states=states, on_progress=report_console().print)
        checks += compared(vectors, first, second, metrics)
    return checks


def _registry(place: str) -> Registry:
    registry = Registry(place)
    if not registry.versions():
        raise NotFound(f"{place} holds no composer yet; pretrain one, or name the registry with --composers")
    return registry


def _released(registry: Registry) -> tuple[str | None, str]:
    """The released version, and why it cannot be told."""
    try:
        return registry.released(), ""
    except InvalidInput as error:
        return None, str(error)


def _load(path: str, encoder: Encoder) -> Composer:
    try:
        return load_composer(path, encoder_id=encoder.id, dim=encoder.dim)
    except EncoderMismatch as error:
        raise EncoderMismatch(f"{error}; name its encoder with --encoder") from None


def _cannot_compare(registry: Registry, version: str, released: str | None) -> str:
    """Why the two cannot be measured on the same vectors, in a sentence; empty when they can."""
    ours = registry.config(version)["encoder_id"]
    if released is None:
        return ""
    try:
        artifact.verify(registry.path(released))
        theirs = registry.config(released)["encoder_id"]
    except ScotError as error:
        return f"the released {released} cannot be measured: {error}"
    if ours == theirs:
        return ""
    return (
        f"{version} was trained on the encoder {ours} and the released {released} on {theirs}, so that a release needs "
        "another index and their numbers do not compare"
    )


_TITLES = ("version", "", "encoder", "architecture", "weights", "held-out R@1", "published (UTC)", "last decision")


def _cells(registry: Registry, version: str, released: str | None) -> tuple[str, ...]:
    config, metrics = registry.config(version), registry.metrics(version)
    recall, published, decisions = metrics.get("recall@1"), registry.published_at(version), registry.decisions(version)
    return (
        version,
        "released" if version == released else "",
        str(config["encoder_id"]),
        str(config["architecture"]),
        f"{artifact.parameters(registry.path(version)):,}",
        "" if recall is None else f"{recall:.3f}",
        f"{published:%Y-%m-%d %H:%M}" if published else "",
        str(decisions[-1]["outcome"]) if decisions else "",
    )


def _table(checks: Sequence[Check], first: str, second: str | None) -> Table:
    table = Table("world", "metric", box=SIMPLE_HEAD)
    for name in filter(None, (first, second)):
        table.add_column(f"{name} [95 %]", justify="right")
    if second:
        table.add_column("ahead")
    names = {"candidate": first, "other": second or "", "neither": "neither"}
    for check in checks:
        cells = [_shown(estimate) for estimate in (check.candidate, check.other) if estimate is not None]
        table.add_row(check.world, check.metric, *cells, *([names[check.winner]] if second else []))
    return table


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} \\[{estimate.low:.3f}, {estimate.high:.3f}]"
