"""Files and folders that appear complete or not at all, and the lock."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from scot.data.atomic_io import atomic_file, atomic_folder, locked, write_bytes, write_json, write_tensors
from scot.errors import Conflict, Unavailable


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_replace_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file"
    write_bytes(target, b"one")
    write_json(target, {"a": 1})
    assert target.read_text() == '{\n "a": 1\n}'
    write_tensors(target, {"x": torch.arange(6).reshape(2, 3).T}, {"names": "abc"})
    assert load_file(target)["x"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert entries(target.parent) == ["file"]


def test_a_block_that_fails_changes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("before")
    with pytest.raises(UnicodeEncodeError), atomic_file(target) as temporary:
        temporary.write_text("half" + "\ud800")
    with pytest.raises(Unavailable), atomic_folder(tmp_path / "folder") as temporary:
        (temporary / "absent" / "inner").read_text()
    assert entries(tmp_path) == ["file"]
    assert target.read_text() == "before"


def test_data_is_flushed_before_the_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[str, bool]] = []
    target = tmp_path / "file"
    monkeypatch.setattr(
        "scot.data.atomic_io.os.fsync",
        lambda descriptor: flushed.append((Path(f"/dev/fd/{descriptor}").readlink().suffix, target.exists())),
    )
    write_bytes(target, b"data")
    assert flushed == [(".tmp", False), ("", True)]


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("scot.data.atomic_io.os.fsync", full)
    with pytest.raises(Unavailable, match=r"/file cannot be written: No space left on device"):
        write_bytes(tmp_path / "file", b"data")
    with pytest.raises(Unavailable, match=r"^the run cannot be written: No space left on device"):
        write_bytes(tmp_path / "file", b"data", what="the run")
    assert entries(tmp_path) == []


def test_a_folder_is_replaced_only_on_request(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for text in ("one", "two"):
        with atomic_folder(target, replace=True) as temporary:
            (temporary / text).write_text(text)
    assert entries(target) == ["two"]
    with pytest.raises(Conflict, match="folder already exists"), atomic_folder(target) as temporary:
        (temporary / "three").write_text("three")
    assert entries(target) == ["two"]
    assert entries(tmp_path) == ["folder"]


def test_two_processes_do_not_hold_one_lock(tmp_path: Path) -> None:
    file = tmp_path / "new" / ".lock"
    hold = (
        "import sys; from pathlib import Path; from scot.data.atomic_io import locked\n"
        f"with locked(Path({str(file)!r})): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(Conflict, match=r"^somebody has it$"), locked(file, wait=False, busy="somebody has it"):
            pass
        other.communicate()
    with locked(file, wait=False):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot be written"), locked(tmp_path / "file" / ".lock"):
        pass
