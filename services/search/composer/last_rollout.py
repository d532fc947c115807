"""The rollout that was last in force, kept by Ray's head: a replica may start while a refused one is in the config."""

from __future__ import annotations

import json
from typing import Any

from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_initialized, _internal_kv_put

_KEY, _NAMESPACE = "rollout", "scot-search"


def save_last_rollout(user_config: dict[str, Any]) -> None:
    """Keep a rollout that was taken, for as long as the cluster lives; without one there is nobody to keep it for."""
    if _internal_kv_initialized():
        _internal_kv_put(_KEY, json.dumps(user_config), namespace=_NAMESPACE)


def load_last_rollout() -> dict[str, Any] | None:
    """The rollout that a replica of this cluster took last; None before the first."""
    kept = _internal_kv_get(_KEY, namespace=_NAMESPACE) if _internal_kv_initialized() else None
    return None if kept is None else dict(json.loads(kept))
