"""Vectors in files: NumPy's ``.npy``, or JSON as ``scot encode`` prints it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scot.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def read_vector(file: Path) -> npt.NDArray[np.float64]:
    """The one vector ``(D,)`` of a ``.npy`` file, a JSON list, or the JSON of ``scot encode``.

    Raises:
        InvalidInput: the file cannot be read, or holds no or several vectors.
    """
    import numpy as np  # not in the base package

    try:
        if file.suffix == ".npy":
            rows: Any = np.load(file, allow_pickle=False)
        else:
            rows = json.loads(file.read_text(encoding="utf-8-sig"))
            rows = rows["vectors"] if isinstance(rows, dict) else rows
        array = np.asarray(rows, dtype=np.float64)
    except OSError as error:
        raise InvalidInput(f"the vector file {file} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidInput(f"the vector file {file} is neither .npy nor a JSON list of numbers") from None
    if array.ndim == 2 and len(array) == 1:
        array = array[0]
    if array.ndim != 1 or not len(array):
        raise InvalidInput(f"the vector file {file} must hold one vector, not an array of shape {array.shape}")
    if not np.isfinite(array).all():
        raise InvalidInput(f"the vector file {file} holds a number that is not finite")
    return array
