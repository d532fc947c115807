"""A training run's state on disk: weights as safetensors, counters as JSON, the optimizer's moments as tensors.

A checkpoint is a folder ``step-NNNNNNN`` whose ``state.json`` has the sha256 of its content, to detect damage. The
newest two are kept: if the newest is damaged, a run resumes from the other.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from scot.data.atomic_io import atomic_folder
from scot.errors import InvalidInput, Unavailable

State = dict[str, torch.Tensor]

_CURRENT, _BEST, _OPTIMIZER = "current.safetensors", "best.safetensors", "optimiser.pt"
COUNTERS = "state.json"
"""The file with the hashes of the others."""
_KEEP = 2


def checkpoint_name(step: int) -> str:
    """The name of a checkpoint's folder; names sort by step."""
    return f"step-{step:07d}"


def save_checkpoint(folder: Path, current: State, best: State, optimizer: Any, counters: dict[str, Any]) -> None:
    """Write a checkpoint: ``folder`` appears complete, by a rename, or not at all; an existing one is replaced.

    Raises:
        Unavailable: the disk is full, or the folder cannot be written; earlier checkpoints are unchanged.
    """
    what = f"the checkpoint {folder}"
    try:
        with atomic_folder(folder, replace=True, what=what) as temporary:
            safetensors.torch.save_file(_plain(current), temporary / _CURRENT)
            safetensors.torch.save_file(_plain(best), temporary / _BEST)
            torch.save(optimizer, temporary / _OPTIMIZER)
            sums = {name: _sha256(temporary / name) for name in (_CURRENT, _BEST, _OPTIMIZER)}
            sums[COUNTERS] = _sha256_of(counters)
            (temporary / COUNTERS).write_text(json.dumps({"sha256": sums, **counters}), encoding="utf-8")
    except (RuntimeError, safetensors.SafetensorError) as error:  # how torch and safetensors report a full disk
        raise Unavailable(f"{what} cannot be written: {str(error).splitlines()[0]}") from error


def checkpoints(root: Path) -> list[Path]:
    """The checkpoints of a folder, the newest first."""
    return sorted((path for path in root.glob("step-*") if path.is_dir()), reverse=True)


def keep_newest(root: Path) -> None:
    """Delete all checkpoints of a folder except the newest two, and the remains of a killed process."""
    for path in [*checkpoints(root)[_KEEP:], *root.glob(".step-*.tmp")]:
        shutil.rmtree(path, ignore_errors=True)


def load_checkpoint(folder: Path) -> tuple[State, State, Any, dict[str, Any]]:
    """``(current, best, optimizer, counters)`` as saved. Raises InvalidInput when the checkpoint is damaged."""
    try:
        counters = json.loads((folder / COUNTERS).read_text(encoding="utf-8"))
        sums = counters.pop("sha256")
        found = {COUNTERS: _sha256_of(counters)} | {n: _sha256(folder / n) for n in (_CURRENT, _BEST, _OPTIMIZER)}
        for name in found:
            if found[name] != sums[name]:
                raise ValueError(f"{name} has changed since it was written")
        current = safetensors.torch.load_file(folder / _CURRENT)
        best = safetensors.torch.load_file(folder / _BEST)
        optimizer = torch.load(folder / _OPTIMIZER, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InvalidInput(f"the checkpoint {folder.name} is damaged ({type(error).__name__})") from error
    return current, best, optimizer, counters


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_of(counters: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(counters, sort_keys=True).encode()).hexdigest()


def _plain(state: State) -> State:
    return {key: value.detach().cpu().contiguous() for key, value in state.items()}
