"""How ``make test`` shares the suite out among the workers of pytest-xdist: file by file, and some files together."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

TOGETHER = ("tests/integration/", "tests/unit/bootstrap/", "tests/unit/web/", "tests/examples/")
"""Folders whose files one worker runs: only one Ray runs at a time, and what a folder's tests share is made once."""


class FilesTogether(LoadFileScheduling):
    """A scheduler that gives each file, or folder of :data:`TOGETHER`, to one worker, in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        """The name of what the test is a part of."""
        return next((folder for folder in TOGETHER if nodeid.startswith(folder)), super()._split_scope(nodeid))
