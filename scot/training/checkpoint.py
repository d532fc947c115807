"""A training run's state on disk: weights as safetensors, counters as JSON, the optimiser's moments as tensors."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from scot.errors import InvalidInput

State = dict[str, torch.Tensor]

_CURRENT, _BEST, _OPTIMISER, _COUNTERS = "current.safetensors", "best.safetensors", "optimiser.pt", "state.json"


def save_checkpoint(folder: Path, current: State, best: State, optimiser: Any, counters: dict[str, Any]) -> None:
    """Write a checkpoint into ``folder``, which must not exist: it appears complete, by a rename, or not at all."""
    temporary = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp"
    temporary.mkdir(parents=True)
    try:
        safetensors.torch.save_file(_plain(current), temporary / _CURRENT)
        safetensors.torch.save_file(_plain(best), temporary / _BEST)
        torch.save(optimiser, temporary / _OPTIMISER)
        (temporary / _COUNTERS).write_text(json.dumps(counters), encoding="utf-8")
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def latest_checkpoint(root: Path) -> Path | None:
    """The newest of the checkpoints in a folder, which are named by their step."""
    return max((path for path in root.glob("step-*") if path.is_dir()), default=None)


def keep_latest(root: Path) -> None:
    """Delete all checkpoints of a folder but the newest."""
    newest = latest_checkpoint(root)
    for path in root.glob("step-*"):
        if path != newest:
            shutil.rmtree(path, ignore_errors=True)


def load_checkpoint(folder: Path) -> tuple[State, State, Any, dict[str, Any]]:
    """``(current, best, optimiser, counters)`` as saved. Raises InvalidInput when the checkpoint is damaged."""
    try:
        current = safetensors.torch.load_file(folder / _CURRENT)
        best = safetensors.torch.load_file(folder / _BEST)
        optimiser = torch.load(folder / _OPTIMISER, map_location="cpu", weights_only=True)
        counters = json.loads((folder / _COUNTERS).read_text(encoding="utf-8"))
    except Exception as error:
        raise InvalidInput(
            f"the checkpoint {folder.name} is damaged ({type(error).__name__}): start a new run"
        ) from error
    return current, best, optimiser, counters


def _plain(state: State) -> State:
    return {key: value.detach().cpu().contiguous() for key, value in state.items()}
