"""Hidden states of an encoder's towers as composers read them: a batch of rows, each with as many states as it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch


class States(NamedTuple):
    """The last hidden states of B pictures or texts. A row may have none: a reference that is known by its vector."""

    values_BLW: torch.Tensor
    """Of any float type."""
    mask_BL: torch.Tensor
    """bool: which places of a row are its own; the others' values mean nothing, but are finite."""

    def to(self, device: torch.device | str) -> States:
        """The same on a device."""
        return States(self.values_BLW.to(device), self.mask_BL.to(device))


def padded(rows: Sequence[npt.NDArray[np.float16] | None]) -> States:
    """Rows of ``(L, W)`` states side by side, None for a row that has none. Where no row has any, L and W are 0."""
    there = [row for row in rows if row is not None]
    width = there[0].shape[1] if there else 0
    values_BLW = np.zeros((len(rows), max(map(len, there), default=0), width), np.float16)
    mask_BL = np.zeros(values_BLW.shape[:2], np.bool_)
    for place, row in enumerate(rows):
        if row is not None:
            values_BLW[place, : len(row)], mask_BL[place, : len(row)] = row, True
    return States(torch.from_numpy(values_BLW), torch.from_numpy(mask_BL))
