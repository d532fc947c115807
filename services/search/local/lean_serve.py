"""Ray Serve without pandas: it imports it where it is installed, to recognise data frames in requests.

That takes a second of each process, and no request has any. The one place that reads private parts of Ray and of
Python's import: the name of the importing module, whether it is being imported, and the variable of Ray's hook. A test
names them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from typing import Any

HOOK: Mapping[str, str] = {"__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR": f"{__name__}.install"}
"""With this variable, each of Ray's workers calls :func:`install` before anything else."""
_IMPORTER, _UNUSED = "ray.serve._private.utils", "pandas"


class _Finder:
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        importer = sys.modules.get(_IMPORTER)
        if name == _UNUSED and getattr(getattr(importer, "__spec__", None), "_initializing", False):
            raise ModuleNotFoundError(f"{_IMPORTER} is imported without {_UNUSED}", name=_UNUSED)
        return None


def install() -> None:
    """From now on Ray Serve is imported without pandas; everything else finds it."""
    if not any(isinstance(each, _Finder) for each in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
