"""A trained composer on disk: weights as safetensors, settings as JSON, and a model card. Never pickle.

::

    composer.safetensors   the weights
    config.json            architecture and settings, encoder id, dim, normalisation, training data, sha256 of weights
    metrics.json           the metrics of its training run
    README.md              the model card

A registry adds ``decisions.json``: the decisions about its release (scot/composers/release_history.py).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

import scot
from scot.composers.architectures import ARCHITECTURES, build
from scot.composers.base import Composer, ComposerModule, LearnedComposer
from scot.data.atomic_io import atomic_folder
from scot.data.storage import Folder
from scot.errors import Conflict, EncoderMismatch, InvalidInput, NotFound

WEIGHTS, CONFIG, METRICS, CARD = "composer.safetensors", "config.json", "metrics.json", "README.md"
FILES = (WEIGHTS, CONFIG, METRICS, CARD)


def save_composer(
    path: str | Path,
    module: ComposerModule,
    *,
    encoder_id: str,
    dim: int,
    training_data: str = "",
    metrics: Mapping[str, float] | None = None,
    training: Mapping[str, Any] | None = None,
) -> Path:
    """Write an artifact folder; it appears complete, by a rename, or not at all.

    Args:
        path: the folder to make.
        module: the trained network; its class must be in :data:`scot.composers.architectures.ARCHITECTURES`.
        encoder_id: the encoder whose vectors it was trained on.
        dim: the width of those vectors.
        training_data: a hash of the embedding cache it was trained on.
        metrics: the metrics of the training run, for ``metrics.json`` and the card.
        training: the training settings (batch, steps, seed …), for ``config.json`` and the card.

    Raises:
        Conflict: ``path`` already exists; artifacts are never changed in place.
        InvalidInput: the module's architecture is not registered.
    """
    target = Path(path)
    if target.exists():
        raise Conflict(f"{target} already exists, and a composer artifact is never changed in place")
    architecture = next((name for name, (_, cls) in ARCHITECTURES.items() if type(module) is cls), None)
    if architecture is None:
        raise InvalidInput(f"{type(module).__name__} is not a registered composer architecture")
    weights = safetensors.torch.save({k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()})
    config = {
        "format": 1,
        "architecture": architecture,
        "config": dataclasses.asdict(module.config),
        "encoder_id": encoder_id,
        "dim": dim,
        "normalisation": "l2",
        "training_data": training_data,
        "training": dict(training or {}),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "scot": scot.__version__,
    }
    measured = {key: float(value) for key, value in (metrics or {}).items()}
    files = {
        WEIGHTS: weights,
        CONFIG: json.dumps(config, indent=2).encode(),
        METRICS: json.dumps(measured, indent=2).encode(),
        CARD: _card(config, measured, module).encode(),
    }
    with atomic_folder(target) as temporary:
        for name, data in files.items():
            (temporary / name).write_bytes(data)
    return target


def load_composer(path: str | Path, *, encoder_id: str, dim: int) -> LearnedComposer:
    """Load an artifact, a local folder or a URL, for use with one encoder; the composer is named as its folder.

    Raises:
        NotFound: there is no such folder.
        EncoderMismatch: it was trained on another encoder's vectors, or of another dimension.
        InvalidInput: it is damaged, or this version of SCOT does not know its architecture.
    """
    folder, name = Folder(path), _name(path)
    config = read_config(path)
    if config["encoder_id"] != encoder_id:
        raise EncoderMismatch(f"composer {name} was trained on the encoder {config['encoder_id']}, not {encoder_id}")
    if config["dim"] != dim:
        raise EncoderMismatch(f"composer {name} was trained on {config['dim']} dimensions, not {dim}")
    weights = _checked_weights(folder, config)
    module = build(str(config["architecture"]), config["config"])
    try:
        module.load_state_dict(safetensors.torch.load(weights))
    except Exception as error:
        raise InvalidInput(f"composer {name} is damaged: its weights do not fit its config.json") from error
    return LearnedComposer(name, str(config["architecture"]), encoder_id, module)


def read_config(path: str | Path) -> dict[str, Any]:
    """``config.json`` of an artifact, checked for the fields that loading needs. Raises NotFound, InvalidInput."""
    config = read_json(path, CONFIG)
    kinds = {"architecture": str, "config": dict, "encoder_id": str, "dim": int, "weights_sha256": str}
    wrong = [key for key, kind in kinds.items() if not isinstance(config.get(key), kind)]
    if wrong:
        raise InvalidInput(f"composer {_name(path)} is damaged: its {CONFIG} lacks {', '.join(wrong)}")
    return config


def read_metrics(path: str | Path) -> dict[str, float]:
    """``metrics.json`` of an artifact. Raises NotFound, InvalidInput."""
    try:
        return {key: float(value) for key, value in read_json(path, METRICS).items()}
    except (TypeError, ValueError):
        raise InvalidInput(f"composer {_name(path)} is damaged: {METRICS} holds a value that is not a number") from None


def verify(path: str | Path) -> None:
    """Check that a folder is a complete artifact, for any encoder. Raises NotFound, InvalidInput."""
    _checked_weights(Folder(path), read_config(path))
    read_metrics(path)


def parameters(path: str | Path) -> int:
    """The number of weights of an artifact's network. Raises NotFound, InvalidInput."""
    config = read_config(path)
    with torch.device("meta"):
        return _size(build(str(config["architecture"]), config["config"]))


def read_json(path: str | Path, name: str) -> dict[str, Any]:
    """One JSON object of an artifact. Raises NotFound, InvalidInput."""
    folder = Folder(path)
    if not folder.exists():
        raise NotFound(f"there is no composer {_name(path)}")
    try:
        value = json.loads(folder.read(name))
    except (OSError, ValueError):
        raise InvalidInput(f"composer {_name(path)} is damaged: {name} is missing or not JSON") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"composer {_name(path)} is damaged: {name} is not an object")
    return value


def front_matter(config: Mapping[str, Any]) -> str:
    """The YAML at the head of a card, as the Hugging Face hub reads it, and an empty line."""
    name = str(config["encoder_id"]).partition("@")[0]
    base = f"base_model: {name.removeprefix('hf-hub:')}\n" if name.startswith("hf-hub:") else ""
    tags = "".join(f"- {tag}\n" for tag in ("composed-image-retrieval", "image-search", "scot"))
    return f"---\nlibrary_name: scot-search\npipeline_tag: image-feature-extraction\n{base}tags:\n{tags}---\n\n"


def _checked_weights(folder: Folder, config: Mapping[str, Any]) -> bytes:
    name = _name(folder.name)
    try:
        weights = folder.read(WEIGHTS)
    except OSError:
        raise InvalidInput(f"composer {name} is damaged: {WEIGHTS} is missing or unreadable") from None
    if hashlib.sha256(weights).hexdigest() != config["weights_sha256"]:
        raise InvalidInput(f"composer {name} is damaged: the sha256 of {WEIGHTS} is not the recorded one")
    return weights


def _name(path: str | Path) -> str:
    return str(path).rstrip("/").rpartition("/")[2]


def _size(module: ComposerModule) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _card(config: Mapping[str, Any], metrics: Mapping[str, float], module: ComposerModule) -> str:
    dtype = str(next(module.parameters()).dtype).removeprefix("torch.")
    measured = "\n".join(f"| {key} | {value:.4f} |" for key, value in metrics.items()) or "| (nothing) | |"
    settings = {**config["config"], **config["training"]}
    return f"""{front_matter(config)}# SCOT composer ({config["architecture"]})

Turns a reference image and an edit ("the same, but blue") into one query vector for image search. Trained without
labelled triplets, on edited captions as stand-ins for target images (SCOT, arXiv 2501.08347).

- **Use with** the encoder `{config["encoder_id"]}` only ({config["dim"]} dimensions); loading with another fails.
- **Input** unit vectors of the image and of the edit's text; **output** one unit vector, to compare by cosine with
  image vectors.
- **Size** {_size(module):,} parameters, {dtype}, safetensors.
- **Training data** embedding cache `{config["training_data"] or "not recorded"}`; SCOT {config["scot"]}.

| measured on held-out triplets | |
|---|---|
{measured}

| setting | |
|---|---|
{chr(10).join(f"| {key} | {value} |" for key, value in settings.items())}

**Limits.** It knows only the kinds of edits in its training data. The metrics above are on held-out captions, not on
images: run `scot evaluate` before you release it.
"""


__all__ = ["Composer", "load_composer", "parameters", "read_config", "read_metrics", "save_composer", "verify"]
