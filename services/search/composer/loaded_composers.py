"""The composers of a replica: loaded by name; a rollout is applied completely or not at all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from scot.baselines import BASELINES, NATIVE
from scot.client import ComposerInfo
from scot.composers import (
    Composer,
    NativeComposer,
    Registry,
    baseline,
    composer_path,
    default_composer,
    load_composer,
    native_composer,
    packaged_composers,
    packaged_for,
)
from scot.composers.artifact import read_config, read_metrics
from scot.encoders.base import Encoder, PairEncoder
from scot.errors import EncoderMismatch, InvalidInput, NotFound, ScotError, Unavailable
from services.search.composer.messages import ComposeJob
from services.search.rollout import Rollout

logger = logging.getLogger("ray.serve")


class LoadedComposers:
    """The loaded composers; a version is loaded at its first request and stays loaded."""

    def __init__(self, registry: Registry | None, encoder: Encoder) -> None:
        self._registry, self._encoder = registry, encoder
        self._loaded: dict[str, Composer] = {}
        self.rollout = Rollout("sum")
        """Which composer answers when a request names none; its default is never empty."""

    def roll_out(self, rollout: Rollout) -> None:
        """Load every composer of ``rollout``, then put it in force; after an error the previous rollout stays.

        A default of ``""`` is the registry's released version, else the packaged or native composer of the encoder,
        else ``sum``.

        Raises:
            EncoderMismatch: a composer was trained on another encoder's vectors.
            NotFound: there is no such composer.
            InvalidInput: its artifact is damaged.
        """
        released = self._registry.released() if self._registry else None
        default = rollout.default or released or default_composer(self._encoder) or "sum"
        named = replace(rollout, default=default)
        for name in dict.fromkeys((default, *named.split, named.shadow)):
            if name:
                self._load(name, keep=True)
        self.rollout = named

    def get(self, name: str) -> Composer:
        """The composer of a request. Raises NotFound, EncoderMismatch, or Unavailable when its artifact is damaged."""
        try:
            return self._load(name or self.rollout.default)
        except (NotFound, EncoderMismatch):
            raise
        except ScotError as error:
            # The details are for the operator, who reads the log; a caller must not see paths.
            logger.error("composer %r cannot be loaded: %s", name, error)
            raise Unavailable(f"composer {name!r} cannot be loaded") from error

    def reads_picture(self, job: ComposeJob) -> bool:
        """Whether the composer of a job, or its shadow, reads the picture of its item or what a tower makes of it."""
        rollout = self.rollout
        names = [job.composer] if job.composer else [rollout.answering(job.caller), rollout.shadow]
        try:
            composers = [self._load(name) for name in names if name] if job.needs_composer else []
        except ScotError:
            return False  # composing says what is wrong
        return any(each.reads_states or isinstance(each, NativeComposer) for each in composers)

    def infos(self) -> list[ComposerInfo]:
        """Every composer that a request can name: versions, the encoder's packaged and native ones, baselines."""
        infos = []
        packaged = packaged_for(self._encoder.id)
        versions = self._registry.versions() if self._registry else []
        for name in [*versions, packaged] if packaged else versions:
            try:
                path = composer_path(name, self._registry)
                config, metrics = read_config(path), read_metrics(path)
            except ScotError as error:
                logger.error("composer %r cannot be read: %s", name, error)
                continue
            infos.append(self._info(name, str(config["architecture"]), str(config["encoder_id"]), metrics))
        if isinstance(self._encoder, PairEncoder):
            infos.append(self._info(NATIVE, NATIVE, self._encoder.id, {}))
        weighted = (name for name in (*self.rollout.shares, self.rollout.shadow) if ":" in name)
        names = dict.fromkeys((*BASELINES, *weighted))
        return infos + [self._info(name, name.partition(":")[0], "", {}) for name in names]

    def _info(self, name: str, architecture: str, encoder: str, metrics: Mapping[str, float]) -> ComposerInfo:
        rollout = self.rollout
        share, shadow = rollout.shares.get(name, 0.0), name == rollout.shadow
        return ComposerInfo(name, name == rollout.default, architecture, encoder, metrics, share, shadow)

    def _load(self, name: str, *, keep: bool = False) -> Composer:
        if name in self._loaded:
            return self._loaded[name]
        composer = self._open(name)  # without a lock, so that no query waits for the loads of a rollout
        if keep or ":" not in name:  # callers choose weights: without a limit they would fill the memory
            return self._loaded.setdefault(name, composer)
        return composer

    def _open(self, name: str) -> Composer:
        if name.partition(":")[0] in BASELINES:
            return baseline(name)
        if name == NATIVE:
            try:
                return native_composer(self._encoder)
            except InvalidInput as error:
                raise NotFound(str(error)) from None
        if self._registry is None and name not in packaged_composers():
            own = default_composer(self._encoder)
            known = (own, *BASELINES) if own else BASELINES
            raise NotFound(f"there is no composer {name!r}; this service has only {', '.join(known)}")
        path = composer_path(name, self._registry)
        encoder_id = str(read_config(path)["encoder_id"])
        if encoder_id != self._encoder.id:
            raise EncoderMismatch(f"composer {name!r} was trained on encoder {encoder_id!r}, not {self._encoder.id!r}")
        composer = load_composer(path, encoder_id=self._encoder.id, dim=self._encoder.dim)
        composer.name = name
        return composer
