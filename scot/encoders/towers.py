"""What the families of encoders share: batches, unit rows, and a hash of the weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import torch

from scot.encoders.base import Vectors

_BATCH = 128


def in_batches(rows: Any) -> Iterator[Any]:
    """Slices of a sequence or an array, of a size that a tower takes at once."""
    return (rows[i : i + _BATCH] for i in range(0, len(rows), _BATCH))


def unit_rows(features: torch.Tensor) -> Vectors:
    """The last dimension normalised to length one, as float32."""
    rows: Vectors = torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
    return rows


def weights_hash(model: Any) -> str:
    """A hash of every weight and its name, as float32."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
