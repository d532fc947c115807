"""Promotion: measure a composer against the released one, record the decision, and move the registry's pointer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from scot.composers import Composer, Registry, artifact, default_composer, open_composer
from scot.composers.registry import Rollback
from scot.data.places import open_place
from scot.encoders import Encoder, load_encoder
from scot.errors import EncoderMismatch, InvalidFlag, InvalidInput, ScotError
from scot.evaluation.gate import COMPARED, GATE_METRICS, Check, Decision, compared, decide, utc_now
from scot.evaluation.model import encode_benchmark
from scot.evaluation.worlds import gallery_hash, read_gallery
from scot.progress import SILENT, Progress


def compare(
    registry: Registry,
    first: str,
    second: str,
    *,
    galleries: Sequence[str | Path],
    encoder: str,
    cache: Path,
    progress: Progress = SILENT,
) -> list[Check]:
    """Measure two composers on every gallery; the second is the check's ``other``. Native is one, if the encoder can.

    Raises:
        InvalidInput, NotFound, EncoderMismatch: a gallery, composer or encoder cannot be used.
    """
    _check_galleries(galleries)
    loaded = load_encoder(encoder)
    composers = [_load(version, registry, loaded) for version in (first, second)]
    return _checks(loaded, *composers, metrics=COMPARED, galleries=galleries, cache=cache, progress=progress)


def promote(
    registry: Registry,
    version: str,
    *,
    galleries: Sequence[str | Path],
    encoder: str,
    cache: Path,
    force: bool = False,
    progress: Progress = SILENT,
) -> Decision:
    """Measure ``version``, record the decision with it, and release it if it passes.

    Args:
        registry: the composers.
        version: the version to release.
        galleries: folders, or URLs of them, drawn by ``scot draw --split eval``.
        encoder: the encoder that it was trained on.
        cache: the folder of the galleries' embeddings.
        force: release it in spite of any objection; the numbers are recorded all the same.
        progress: shows how many images are encoded.

    Returns:
        The decision. The pointer moved if it is ``promoted``; a refusal is returned, not raised.

    Raises:
        Conflict: another version was released while this one was measured.
        InvalidInput, NotFound, EncoderMismatch: a gallery, composer or encoder cannot be used.
    """
    _check_galleries(galleries)
    encoder_id = str(registry.config(version)["encoder_id"])
    released, objection = _released(registry)
    if version == released:
        return Decision(utc_now(), "already released", version, released, encoder_id, "", ())
    pointer_damaged = bool(objection)
    objection = objection or _cannot_compare(registry, version, released)
    if objection and not force:
        return decide(version, released, encoder_id, (), objection=objection)
    loaded = load_encoder(encoder)
    candidate = _load(version, registry, loaded)
    packaged = default_composer(loaded) if released is None and not objection else None
    rival = released or packaged
    other = _load(rival, registry, loaded) if rival and not objection else None
    checks = _checks(
        loaded, candidate, other, metrics=GATE_METRICS, galleries=galleries, cache=cache, progress=progress
    )
    decision = decide(version, released, loaded.id, checks, objection=objection, force=force, packaged=packaged)
    # Recorded first: a version that the pointer names has its numbers, whatever happens in between.
    registry.record(version, decision.to_json())
    if not decision.promoted:
        return decision
    if pointer_damaged:
        registry.release(version)
    else:
        registry.replace(released, version)
    return decision


def rollback(registry: Registry, *, or_none: bool = False) -> Rollback:
    """:meth:`Registry.rollback`, recorded. Raises NotFound."""
    done = registry.rollback(or_none=or_none)
    with contextlib.suppress(ScotError):  # the pointer is what counts, and what was taken back may be damaged
        said = f"to {done.version or 'none'}"
        registry.record(done.taken_back, {"at": utc_now(), "outcome": "rolled back", "said": said})
    return done


def _check_galleries(folders: Sequence[str | Path]) -> None:
    if not folders:
        raise InvalidFlag("--gallery is missing: draw one with `scot draw --world wardrobe --split eval --output DIR`")


def _checks(
    encoder: Encoder,
    candidate: Composer,
    other: Composer | None,
    *,
    metrics: Sequence[str],
    galleries: Sequence[str | Path],
    cache: Path,
    progress: Progress,
) -> list[Check]:
    """Measure one or two composers on every gallery."""
    checks: list[Check] = []
    for folder in galleries:
        encoded = encode_benchmark(read_gallery(folder), encoder, open_place(folder), cache, progress=progress)
        checks += compared(encoded, candidate, other, gallery=gallery_hash(folder), metrics=metrics)
    return checks


def _released(registry: Registry) -> tuple[str | None, str]:
    """The released version, and why it is unknown where the pointer is damaged."""
    try:
        return registry.released(), ""
    except InvalidInput as error:
        return None, str(error)


def _load(name: str, registry: Registry, encoder: Encoder) -> Composer:
    try:
        return open_composer(name, registry, encoder)
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
