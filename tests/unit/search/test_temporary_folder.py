"""Ray's sockets lie in the temporary folder, and the path of a socket is at most 107 bytes long."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scot.errors import InvalidInput
from scot.local_ray import temporary_folder

LONG = "/tmp/" + "a" * 95

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Ray reads TMPDIR on Linux only")


@pytest.mark.parametrize("environment", [{}, {"TMPDIR": "/tmp"}, {"RAY_TMPDIR": "/tmp", "TMPDIR": LONG}])
def test_a_short_folder_stays(environment: dict[str, str]) -> None:
    assert temporary_folder(environment) == {}


@pytest.mark.parametrize("name", ["TMPDIR", "RAY_TMPDIR"])
def test_a_long_one_is_replaced_by_one_of_the_users_own(name: str, tmp_path: Path) -> None:
    short = tmp_path / "short"
    assert temporary_folder({name: LONG}, short) == {"RAY_TMPDIR": str(short)}
    assert short.stat().st_mode & 0o777 == 0o700
    assert temporary_folder({name: LONG}, short) == {"RAY_TMPDIR": str(short)}


@pytest.mark.parametrize("kind", ["file", "link", "nowhere"])
def test_one_that_cannot_be_used_is_a_sentence_with_the_variable(kind: str, tmp_path: Path) -> None:
    short = tmp_path / "short"
    if kind == "file":
        short.touch()
    if kind == "link":
        (tmp_path / "target").mkdir()
        short.symlink_to(tmp_path / "target")
    if kind == "nowhere":
        short = tmp_path / "missing" / "short"
    with pytest.raises(InvalidInput, match=f"^TMPDIR is 100 bytes long, too long for Ray's sockets .* {short} is not"):
        temporary_folder({"TMPDIR": LONG}, short)


def test_the_longest_folder_that_stays_has_room_for_rays_own_names(tmp_path: Path) -> None:
    """Ray's own function and names: it reads these variables, and begins a session's folder like this."""
    script = "from ray._common.utils import get_default_ray_temp_dir; print(get_default_ray_temp_dir())"
    folder = "/tmp/" + "b" * 34
    assert temporary_folder({"TMPDIR": folder}) == {}
    assert temporary_folder({"TMPDIR": f"{folder}b"}, tmp_path / "short")
    environment = {**os.environ, "TMPDIR": folder}
    environment.pop("RAY_TMPDIR", None)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{folder}/ray"
