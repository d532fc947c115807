"""Which composer answers a request that names none, and which one runs in its shadow."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from scot.errors import InvalidInput

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Rollout:
    """``user_config`` of the Composer deployment, e.g. ``{"default": "v1", "split": {"v2": 0.1}, "shadow": "v3"}``.

    Raises:
        InvalidInput: a share is not a number between 0 and 1, or their sum is more than 1.
    """

    default: str = ""
    """The composer that answers; empty: the registry's released version, else the packaged composer."""
    split: Mapping[str, float] = field(default_factory=dict)
    """Composers with the share of the requests that each answers; the default answers the rest."""
    shadow: str = ""
    """A composer whose results are compared with the answers; empty: none."""

    def __post_init__(self) -> None:
        for name, share in self.split.items():
            if not name or not isinstance(name, str):
                raise InvalidInput("user_config.split: every share needs the name of a composer")
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 <= share <= 1.0:
                raise InvalidInput(f"user_config.split: the share of {name!r} must be a number between 0 and 1")
        if math.fsum(self.split.values()) > 1.0 + _ROUNDING:
            raise InvalidInput("user_config.split: the sum of the shares must not be more than 1")

    @classmethod
    def of(cls, user_config: Mapping[str, Any]) -> Rollout:
        """From a Serve config. Raises InvalidInput: a key is unknown, or a value has the wrong type."""
        known = [each.name for each in fields(cls)]
        for key in user_config:
            if key not in known:
                raise InvalidInput(f"user_config: there is no {key!r}; it has {', '.join(known)}")
        default, split, shadow = (user_config.get(name) for name in known)
        for key, name in (("default", default), ("shadow", shadow)):
            if name is not None and not isinstance(name, str):
                raise InvalidInput(f"user_config.{key}: must be the name of a composer")
        if split is not None and not isinstance(split, Mapping):
            raise InvalidInput("user_config.split: must map composers to their shares")
        return cls(default or "", dict(split or {}), shadow or "")

    @property
    def user_config(self) -> dict[str, Any]:
        """For a Serve config."""
        return {"default": self.default, "split": dict(self.split), "shadow": self.shadow}

    @property
    def shares(self) -> dict[str, float]:
        """The share of each composer of the requests that name none."""
        rest = max(0.0, 1.0 - math.fsum(self.split.values()))
        return {**self.split, self.default: self.split.get(self.default, 0.0) + rest}

    def answering(self, caller: str) -> str:
        """The composer for ``caller``, any text that identifies the caller; the same text gets the same composer.

        Weighted rendezvous hashing (Schindelhauer & Schomaker 2005): the composer with the largest
        −w / ln h(composer, caller). Each composer gets its share. When a share grows at the default's expense, it takes
        callers from the default only and loses none of its own.
        """
        if not self.split:
            return self.default
        return max(self.shares.items(), key=lambda each: -each[1] / math.log(_unit(each[0], caller)))[0]


def _unit(composer: str, caller: str) -> float:
    """A pseudorandom number in (0, 1), fixed for this pair."""
    digest = hashlib.sha256(f"{composer}\0{caller}".encode()).digest()
    return (int.from_bytes(digest[:6], "big") + 0.5) / 2**48  # 48 bits: rounding cannot make it 1
