"""Flags of several makers as a world: two flags in one picture, by packages of the npm registry.

Which flag is of which country, ISO 3166 says; the country's English name is that of the package ``i18n-iso-countries``.
"""

from __future__ import annotations

import json
import random
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.foreign_icons import SIDE, Icons, Package, read_icons, render
from scot.worlds import Attributes, World

TRAIN = (
    Package("@iconify-json/flag", "1.2.12", "MIT", {"4x3": "4x3", "1x1": "1x1"}),
    Package("@iconify-json/flagpack", "1.2.8", "MIT", {"": ""}),
    Package("@iconify-json/cif", "1.2.7", "CC0-1.0", {"": ""}),
)
EVALUATION = (Package("@iconify-json/circle-flags", "1.2.11", "MIT", {"": ""}),)
NAMES = Package("i18n-iso-countries", "7.14.0", "MIT", {})
PLACES = ("left of", "above", "in front of")
GROUNDS = ("white", "gray", "black", "lightblue", "pink", "beige", "purple", "brown")
FRAMES = ("none", "gold", "teal", "red")
_ALIKE = 8.0
"""Two flags whose pixels differ by less on average, of 255, look the same."""


def country_names(folder: Path) -> dict[str, str]:
    """Two-letter codes to names, where they have one word."""
    with tarfile.open(folder / NAMES.file) as archive:
        member = archive.extractfile("package/langs/en.json")
        assert member is not None
        listed: dict[str, str | list[str]] = json.load(member)["countries"]
    shortest = {
        code.lower(): min([names] if isinstance(names, str) else names, key=len) for code, names in listed.items()
    }
    return {code: name for code, name in shortest.items() if name.isalpha()}


def read_flags(folder: Path, packages: Sequence[Package]) -> Icons:
    """``(maker, country, "")`` to the SVG; a maker's shapes count as makers."""
    names = country_names(folder)
    flags = read_icons(folder, packages)
    return {
        (f"{maker} {shape}".strip(), names[code], ""): svg
        for (maker, code, shape), svg in flags.items()
        if code in names
    }


def distinct(flags: Icons) -> frozenset[str]:
    """The countries whose flags differ from those of all earlier ones of the same maker: Chad, and not Romania."""
    kept: dict[str, list[npt.NDArray[np.float32]]] = {}
    alike: set[str] = set()
    for maker, country, _ in sorted(flags):
        flat = Image.new("RGB", (24, 24), "gray")
        drawn = render(flags[maker, country, ""], 24)
        flat.paste(drawn, mask=drawn)
        pixels = np.asarray(flat, np.float32)
        if any(np.abs(pixels - other).mean() < _ALIKE for other in kept.setdefault(maker, [])):
            alike.add(country)
        kept[maker].append(pixels)
    return frozenset(country for _, country, _ in flags) - alike


class FlagWorld(World):
    """Two flags on one ground: *the flag of Peru above the flag of Japan, framed in gold, on pink*."""

    name = "flags"

    def __init__(self, flags: Icons) -> None:
        self._flags = flags
        drawn: dict[str, list[str]] = {}
        for maker, country, _ in sorted(flags):
            drawn.setdefault(maker, []).append(country)
        self._of = {maker: countries for maker, countries in drawn.items() if len(countries) > 1}
        countries = tuple(sorted({country for of in self._of.values() for country in of}))
        self.values = {
            "maker": tuple(self._of), "first": countries, "second": countries, "place": PLACES, "frame": FRAMES,
            "ground": GROUNDS,
        }  # fmt: skip

    def sample(self, rng: random.Random) -> dict[str, str]:
        """Any two flags of a maker."""
        maker = rng.choice(self.values["maker"])
        first, second = rng.sample(self._of[maker], 2)
        rest = {name: rng.choice(self.values[name]) for name in ("place", "frame", "ground")}
        return {"maker": maker, "first": first, "second": second, **rest}

    def valid(self, attributes: Attributes) -> bool:
        """Two different flags that the maker has drawn."""
        maker, first, second = (attributes[name] for name in ("maker", "first", "second"))
        return first != second and all((maker, country, "") in self._flags for country in (first, second))

    def changes(self, attributes: Attributes) -> list[tuple[str, str]]:
        """As for every world, of the same maker."""
        return [change for change in super().changes(attributes) if change[0] != "maker"]

    def draw(self, attributes: Attributes, rng: random.Random) -> Image.Image:
        """RGB, ``SIDE`` pixels square; the flags' sizes and places vary a little."""
        image = Image.new("RGB", (SIDE, SIDE), attributes["ground"])
        half, jitter = SIDE // 2, SIDE // 24
        size = rng.randint(SIDE * 36 // 100, SIDE * 44 // 100)
        placed = {
            "left of": ((half // 2, half), (half + half // 2, half)),
            "above": ((half, half // 2), (half, half + half // 2)),
            "in front of": ((half + half // 5, half + half // 5), (half - half // 5, half - half // 5)),
        }[attributes["place"]]
        for name, middle in reversed(list(zip(("first", "second"), placed, strict=True))):
            flag = self._flag(attributes["maker"], attributes[name], attributes["frame"], size)
            x, y = (place + rng.randint(-jitter, jitter) - size // 2 for place in middle)
            image.paste(flag, (x, y), flag)
        return image

    def _flag(self, maker: str, country: str, frame: str, size: int) -> Image.Image:
        flag = render(self._flags[maker, country, ""], size)
        if frame == "none":
            return flag
        edge = max(2, size // 10)
        inner = flag.resize((size - 2 * edge, size - 2 * edge))
        box = (edge, edge)
        shape = flag.getchannel("A")
        framed = Image.new("RGBA", flag.size, frame)
        framed.putalpha(shape)
        framed.paste(inner, box, inner)
        return framed

    def caption(self, attributes: Attributes, rng: random.Random) -> str:
        """E.g. *the flag of Peru left of the flag of Japan, framed in gold, on a pink background*."""
        first, second, place, frame, ground = (
            attributes[name] for name in ("first", "second", "place", "frame", "ground")
        )
        framed = "" if frame == "none" else f", framed in {frame},"
        return rng.choice(
            (
                f"the flag of {first} {place} the flag of {second}{framed} on {ground}",
                f"the {first} flag {place} the {second} flag{framed} on a {ground} background",
                f"{ground} background with the flag of {first} {place} that of {second}{framed.rstrip(',')}",
            )
        )

    def hint(self, attribute: str, attributes: Attributes, rng: random.Random) -> str:
        """The value, which says itself what it is of."""
        return attributes[attribute]

    def edit(self, before: Attributes, after: Attributes, rng: random.Random) -> str:
        """E.g. *Japan instead of Chad and put them on pink*."""
        changed = [name for name in self.values if before[name] != after[name]]
        rng.shuffle(changed)
        return " and ".join(_change(name, before, after, rng) for name in changed)


def _change(name: str, before: Attributes, after: Attributes, rng: random.Random) -> str:
    old, new = before[name], after[name]
    if name in ("first", "second"):
        return rng.choice((f"{new} instead of {old}", f"replace {old} with {new}", f"the flag of {new}, not of {old}"))
    if name == "place":
        first, second = after["first"], after["second"]
        return rng.choice((f"put {first} {new} {second}", f"{first} should be {new} {second}"))
    if name == "frame":
        if new == "none":
            return rng.choice(("without the frames", f"no {old} frames"))
        return rng.choice((f"with {new} frames", f"frame them in {new}"))
    return rng.choice((f"put them on {new}", f"{new} background instead of {old}", f"on {new}"))
