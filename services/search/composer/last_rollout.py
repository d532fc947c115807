"""The last rollout in force, in the key-value store of Ray's head, for replicas that start under a refused one.

The one place that uses Ray's internal key-value store.
"""

from __future__ import annotations

import json
from typing import Any

from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_initialized, _internal_kv_put

_KEY, _NAMESPACE = "rollout", "scot-search"


def save_last_rollout(user_config: dict[str, Any]) -> None:
    """Store an accepted rollout for the lifetime of the cluster; does nothing without a cluster."""
    if _internal_kv_initialized():
        _internal_kv_put(_KEY, json.dumps(user_config), namespace=_NAMESPACE)


def load_last_rollout() -> dict[str, Any] | None:
    """The rollout that a replica of this cluster accepted last; None before the first."""
    stored = _internal_kv_get(_KEY, namespace=_NAMESPACE) if _internal_kv_initialized() else None
    return None if stored is None else dict(json.loads(stored))
