"""The foreign sets on disk: captioned pictures to learn from, a gallery with queries, and an encoder of the former.

Each set is a world (:mod:`scot.worlds`) whose pictures others drew; the vendors of the gallery drew nothing that is
learned from. As in the galleries of the drawn worlds, pictures come in groups of six that differ in one or two
attributes, and every combination of attributes is there once: the answer of a query is exact.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import foreign_icons, foreign_people
from scot.data.atomic_io import write_json
from scot.errors import ScotError
from scot.worlds import World
from scot.worlds.drawing import write_drawings
from scot.worlds.gallery import evaluation_gallery
from scot.worlds.queries import QUERIES, write_queries
from tools.tiny_encoder.train import TinyTraining, train

WIDTH, DIM, SIDE = 12, 256, 64
TRAINING = "training.json"
"""In an encoder's folder: how long it was trained, on how many pictures."""


def icons(packages: Path) -> tuple[World, World]:
    """The world to learn from and the one to search; packages that the folder lacks are fetched with ``npm pack``."""
    for package in (*foreign_icons.TRAIN, *foreign_icons.EVALUATION):
        if not (packages / package.file).exists():
            _npm_pack(package.spec, packages)
    learned, searched = (
        foreign_icons.read_icons(packages, group) for group in (foreign_icons.TRAIN, foreign_icons.EVALUATION)
    )
    named = foreign_icons.things({**learned, **searched})
    train_world, gallery_world = (
        foreign_icons.IconWorld({key: svg for key, svg in each.items() if key[1] in named})
        for each in (learned, searched)
    )
    return train_world, gallery_world


def people(packages: Path) -> tuple[World, World]:
    """The world to learn from and the one to search; their package is installed with the extra ``bench``."""
    return foreign_people.PeopleWorld(foreign_people.TRAIN), foreign_people.PeopleWorld(foreign_people.EVALUATION)


SETS: Mapping[str, Callable[[Path], tuple[World, World]]] = {"icons": icons, "people": people}


def write_set(name: str, work: Path, packages: Path, *, size: int, queries: int, seed: int, num_workers: int) -> Path:
    """Write ``train`` and ``gallery`` of a set, unless they are there; returns the folder of the set."""
    folder = work / name
    if (folder / "gallery" / QUERIES).exists():
        return folder
    learned, searched = SETS[name](packages)
    pictures = evaluation_gallery(learned, size=size, queries=0, seed=seed, split="train").items
    write_drawings(folder / "train", learned, pictures, num_workers)
    gallery = evaluation_gallery(searched, size=2 * queries, queries=queries, seed=seed)
    write_drawings(folder / "gallery", searched, gallery.items, num_workers)
    write_queries(folder / "gallery", gallery)
    print(f"{len(pictures):,} pictures to learn from, {len(gallery.items):,} to search in {folder}", flush=True)
    return folder


def write_encoder(name: str, folder: Path, packages: Path, *, steps: int, groups: int, num_workers: int) -> str:
    """Train an encoder on the vendors to learn from, unless it is there; returns its name for ``--encoder``."""
    out = folder / "encoder"
    if not (out / "open_clip_model.safetensors").exists():
        learned, _ = SETS[name](packages)
        config = TinyTraining(
            out, groups, steps, 256, 64, dim=DIM, width=WIDTH, side=SIDE, context=48, vocabulary=2_048,
            writer="world", num_workers=num_workers,
        )  # fmt: skip
        train([learned], config)
        write_json(out / TRAINING, {"steps": steps, "pictures": 4 * groups})
    return f"local-dir:{out}"


def _npm_pack(spec: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(["npm", "pack", "--silent", spec], cwd=folder, check=False, stdout=subprocess.DEVNULL)
    except FileNotFoundError:
        raise ScotError(f"npm is missing: put what `npm pack {spec}` fetches into {folder}") from None
    if done.returncode:
        raise ScotError(f"`npm pack {spec}` failed in {folder}")
