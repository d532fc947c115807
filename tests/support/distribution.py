"""How ``make test`` shares the suite out among the workers of pytest-xdist: file by file, and some files together."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

WITHOUT_RAY = tuple(
    f"tests/integration/test_{name}.py"
    for name in ("check_gpu", "edit_service", "encode_survives", "installed_package", "urls")
)
"""Files of tests/integration whose tests in ``make test`` start no Ray."""
TOGETHER = ("tests/integration/", "tests/unit/bootstrap/", "tests/unit/web/", "tests/examples/")
"""Folders whose files one worker runs: one Ray at a time, and what the tests of a folder share is made once."""


def share(nodeid: str) -> str:
    """The file or folder that one worker runs with this test."""
    file = nodeid.partition("::")[0]
    return file if file in WITHOUT_RAY else next((each for each in TOGETHER if file.startswith(each)), file)


class FilesTogether(LoadFileScheduling):
    """A scheduler of pytest-xdist that gives each :func:`share` to one worker."""

    def _split_scope(self, nodeid: str) -> str:
        return share(nodeid)
