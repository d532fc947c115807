"""Where ``services`` and ``ray_jobs`` are: beside ``scot`` in a checkout, in ``scot/_bundled`` of an installed package.

An installed package must not occupy two more top-level names (docs/adr/0017-the-package.md).
"""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_BUNDLED = _PACKAGE / "_bundled"


def code_root() -> Path:
    """The folder that holds ``services`` and ``ray_jobs``: a process finds them with this on its ``PYTHONPATH``."""
    return _BUNDLED if _BUNDLED.is_dir() else _PACKAGE.parent


def python_path() -> str:
    """``PYTHONPATH`` for a process that runs a service or a job: :func:`code_root`, then what this process has."""
    present = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([str(code_root()), *filter(None, present)]))
