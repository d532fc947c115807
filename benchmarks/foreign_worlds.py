"""The worlds of the foreign benchmark by name: each as one to learn from and one to search, by other vendors."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from benchmarks import foreign_flags, foreign_icons
from scot.errors import ScotError
from scot.worlds import World


def icons(packages: Path) -> tuple[World, World]:
    """Icons that several vendors draw under one name."""
    fetch((*foreign_icons.TRAIN, *foreign_icons.EVALUATION), packages)
    learned, searched = (
        foreign_icons.read_icons(packages, group) for group in (foreign_icons.TRAIN, foreign_icons.EVALUATION)
    )
    named = foreign_icons.things({**learned, **searched})
    train_world, gallery_world = (
        foreign_icons.IconWorld({key: svg for key, svg in each.items() if key[1] in named})
        for each in (learned, searched)
    )
    return train_world, gallery_world


def flags(packages: Path) -> tuple[World, World]:
    """Flags of the countries that both groups of makers have drawn, and that can be told apart."""
    fetch((*foreign_flags.TRAIN, *foreign_flags.EVALUATION, foreign_flags.NAMES), packages)
    learned, searched = (
        foreign_flags.read_flags(packages, group) for group in (foreign_flags.TRAIN, foreign_flags.EVALUATION)
    )
    known = foreign_flags.distinct(searched) & {country for _, country, _ in learned}
    train_world, gallery_world = (
        foreign_flags.FlagWorld({key: svg for key, svg in each.items() if key[1] in known})
        for each in (learned, searched)
    )
    return train_world, gallery_world


SETS: Mapping[str, Callable[[Path], tuple[World, World]]] = {"icons": icons, "flags": flags}
"""Name to what makes the two worlds; it takes the folder of the npm packages."""


def fetch(packages: Iterable[foreign_icons.Package], folder: Path) -> None:
    """Fetch what the folder lacks with ``npm pack``. Raises ScotError when npm is missing or fails."""
    for package in packages:
        if (folder / package.file).exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", "--silent", package.spec]
        try:
            done = subprocess.run(command, cwd=folder, check=False, stdout=subprocess.DEVNULL)
        except FileNotFoundError:
            raise ScotError(f"npm is missing: put what `npm pack {package.spec}` fetches into {folder}") from None
        if done.returncode:
            raise ScotError(f"`npm pack {package.spec}` failed in {folder}")
