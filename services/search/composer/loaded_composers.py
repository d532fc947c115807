"""The composers of a replica: loaded by name, and rolled out all together or not at all."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from scot.composers import BASELINES, Composer, Registry, baseline, load_composer
from scot.errors import EncoderMismatch, NotFound, ScotError, Unavailable
from services.search.composer.rollout import Rollout

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class ComposerInfo:
    """What is known of one composer, for ListComposers."""

    name: str
    released: bool
    architecture: str
    encoder: str
    metrics: dict[str, float]
    share: float = 0.0
    shadow: bool = False


class LoadedComposers:
    """The composers that are loaded; a version is loaded when it is first asked for, and then kept."""

    def __init__(self, registry: Registry | None, encoder_id: str, dim: int) -> None:
        self._registry, self._encoder_id, self._dim = registry, encoder_id, dim
        self._loaded: dict[str, Composer] = {}
        self.rollout = Rollout("sum")
        """Who answers when a request names no composer; its default has a name."""

    def roll_out(self, rollout: Rollout) -> None:
        """Load every composer that ``rollout`` names, then let it decide; what raises leaves the one before in force.

        A default of ``""`` is the registry's released version, else ``sum``.

        Raises:
            EncoderMismatch: a composer was trained on another encoder's vectors.
            NotFound: there is no such composer.
            InvalidInput: its artifact is damaged.
        """
        default = rollout.default or (self._registry.released() if self._registry else None) or "sum"
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
            # What is wrong with the files is for the operator, who reads the log; a caller must not see paths.
            logger.error("composer %r cannot be loaded: %s", name, error)
            raise Unavailable(f"composer {name!r} cannot be loaded") from error

    def cards(self) -> list[ComposerInfo]:
        """Every composer that can be asked for, versions first."""
        cards = []
        for version in self._registry.versions() if self._registry else []:
            assert self._registry is not None
            try:
                config, metrics = self._registry.config(version), self._registry.metrics(version)
            except ScotError as error:
                logger.error("composer %r cannot be read: %s", version, error)
                continue
            cards.append(self._card(version, str(config["architecture"]), str(config["encoder_id"]), metrics))
        rollout = self.rollout
        weighted = (name for name in (*rollout.shares, rollout.shadow) if ":" in name)
        names = dict.fromkeys((*BASELINES, *weighted))
        return cards + [self._card(name, name.partition(":")[0], "", {}) for name in names]

    def _card(self, name: str, architecture: str, encoder: str, metrics: dict[str, float]) -> ComposerInfo:
        rollout = self.rollout
        share, shadow = rollout.shares.get(name, 0.0), name == rollout.shadow
        return ComposerInfo(name, name == rollout.default, architecture, encoder, metrics, share, shadow)

    def _load(self, name: str, *, keep: bool = False) -> Composer:
        if name in self._loaded:
            return self._loaded[name]
        composer = self._open(name)  # without a lock, so that no query waits for what a rollout loads
        if keep or ":" not in name:  # weights are the callers' to choose: kept, they would pile up
            return self._loaded.setdefault(name, composer)
        return composer

    def _open(self, name: str) -> Composer:
        if name.partition(":")[0] in BASELINES:
            return baseline(name)
        if self._registry is None:
            raise NotFound(f"there is no composer {name!r}; this service has only {', '.join(BASELINES)}")
        path = self._registry.path(name)
        made_for = str(self._registry.config(name).get("encoder_id"))
        if made_for != self._encoder_id:
            raise EncoderMismatch(f"composer {name!r} was trained on encoder {made_for!r}, not {self._encoder_id!r}")
        composer = load_composer(path, encoder_id=self._encoder_id, dim=self._dim)
        composer.name = name
        return composer
