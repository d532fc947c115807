"""Icons of several vendors as a world: packages of the npm registry, read as ``npm pack`` leaves them.

What is drawn, and whether outlined or filled, is what the package's own names say; the colors are told in the caption.
"""

from __future__ import annotations

import io
import json
import random
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import resvg_py
from PIL import Image

from scot.errors import NotFound
from scot.worlds import Attributes, World
from scot.worlds.base import a

SIDE = 96
"""Side of an image in pixels."""
DRAWN_BY = 10
"""Things are those that at least so many of the packages draw under one name."""
INKS = ("black", "red", "orange", "green", "blue", "purple", "brown", "deeppink")
GROUNDS = ("white", "beige", "lightblue", "gray")
_RELATED = 8
_NAME = re.compile(r"[a-z]{2,}(-[a-z]{2,}){0,2}")
_LEFT_OUT = re.compile(r"emoji|emoticon|brand|logo")


@dataclass(frozen=True, slots=True)
class Package:
    """An icon package: what a suffix of its names says. The names with other suffixes are not read."""

    name: str
    version: str
    license: str
    styles: Mapping[str, str]

    @property
    def spec(self) -> str:
        """As ``npm pack`` takes it."""
        return f"{self.name}@{self.version}"

    @property
    def file(self) -> str:
        """As ``npm pack`` names what it fetches."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


_FILL, _FILLED, _SOLID = ({"": "outlined", suffix: "filled"} for suffix in ("fill", "filled", "solid"))
_LINE, _OUTLINE = ({suffix: "outlined", "": "filled"} for suffix in ("line", "outline"))
_OUTLINED, _ALL_FILLED = {"": "outlined"}, {"": "filled"}
TRAIN = tuple(
    Package(f"@iconify-json/{name}", version, license, styles)
    for name, version, license, styles in (
        ("akar-icons", "1.2.7", "MIT", _FILL),
        ("ant-design", "1.2.9", "MIT", {"outlined": "outlined", "filled": "filled"}),
        ("basil", "1.2.4", "CC-BY-4.0", {"outline": "outlined", "solid": "filled"}),
        ("bi", "1.2.7", "MIT", _FILL),
        ("bx", "1.2.3", "MIT", _OUTLINED),
        ("bxs", "1.2.3", "MIT", _ALL_FILLED),
        ("carbon", "1.2.29", "Apache-2.0", _FILLED),
        ("clarity", "1.2.4", "MIT", {"line": "outlined", "solid": "filled"}),
        ("eva", "1.2.3", "MIT", {"outline": "outlined", "fill": "filled"}),
        ("f7", "1.2.2", "MIT", _FILL),
        ("fa6-regular", "1.2.4", "CC-BY-4.0", _OUTLINED),
        ("fa6-solid", "1.2.4", "CC-BY-4.0", _ALL_FILLED),
        ("fluent", "1.2.60", "MIT", {"24-regular": "outlined", "24-filled": "filled"}),
        ("heroicons", "1.2.3", "MIT", _SOLID),
        ("hugeicons", "1.2.35", "MIT", _OUTLINED),
        ("icon-park-outline", "1.2.4", "Apache-2.0", _OUTLINED),
        ("icon-park-solid", "1.2.4", "Apache-2.0", _ALL_FILLED),
        ("iconamoon", "1.2.2", "CC-BY-4.0", _FILL),
        ("iconoir", "1.2.11", "MIT", _SOLID),
        ("ion", "1.2.7", "MIT", _OUTLINE),
        ("lucide", "1.2.137", "ISC", _OUTLINED),
        ("majesticons", "1.2.5", "MIT", _LINE),
        ("material-symbols", "1.2.93", "Apache-2.0", _OUTLINE),
        ("mdi", "1.2.3", "Apache-2.0", _OUTLINE),
        ("mynaui", "1.2.19", "MIT", _SOLID),
        ("ph", "1.2.2", "MIT", _FILL),
        ("ri", "1.2.10", "Apache-2.0", {"line": "outlined", "fill": "filled"}),
        ("solar", "1.2.13", "CC-BY-4.0", {"linear": "outlined", "bold": "filled"}),
        ("tabler", "1.2.41", "MIT", _FILLED),
        ("tdesign", "1.2.19", "MIT", _FILLED),
        ("uil", "1.2.3", "Apache-2.0", _OUTLINED),
    )
)
EVALUATION = (Package("@iconify-json/mingcute", "1.2.8", "Apache-2.0", {"line": "outlined", "fill": "filled"}),)

Icons = Mapping[tuple[str, str, str], str]
"""``(vendor, thing, style)`` to the SVG."""


def read_icons(folder: Path, packages: Sequence[Package]) -> dict[tuple[str, str, str], str]:
    """The icons of packages whose names are one to three words.

    Raises:
        NotFound: a package is not in the folder.
    """
    icons = {}
    for package in packages:
        if not (folder / package.file).is_file():
            raise NotFound(f"{folder} has no {package.file}: run `npm pack {package.spec}` there")
        with tarfile.open(folder / package.file) as archive:
            members = set(archive.getnames())
            content = _json(archive, "package/icons.json")
            listed = _json(archive, "package/metadata.json") if "package/metadata.json" in members else {}
        suffixes = sorted({*package.styles, *listed.get("suffixes", {})} - {""}, key=len, reverse=True)
        for name, icon in content["icons"].items():
            suffix = next((each for each in suffixes if name.endswith(f"-{each}")), "")
            base = name.removesuffix(f"-{suffix}")
            if suffix in package.styles and _NAME.fullmatch(base) and not _LEFT_OUT.search(base):
                vendor = package.name.rpartition("/")[2]
                icons[vendor, base.replace("-", " "), package.styles[suffix]] = _svg({**content, **icon})
    return icons


def things(icons: Icons, *, drawn_by: int = DRAWN_BY) -> frozenset[str]:
    """What at least ``drawn_by`` vendors draw under one name."""
    vendors: dict[str, set[str]] = {}
    for vendor, thing, _ in icons:
        vendors.setdefault(thing, set()).add(vendor)
    return frozenset(thing for thing, of in vendors.items() if len(of) >= drawn_by)


class IconWorld(World):
    """Icons in one color on one ground: *a filled blue bell off icon on white*."""

    name = "icons"

    def __init__(self, icons: Icons) -> None:
        self._icons = icons
        self._keys = sorted(icons)
        vendors, named, styles = (tuple(sorted(set(part))) for part in zip(*self._keys, strict=True))
        self.values = {"vendor": vendors, "thing": named, "style": styles, "ink": INKS, "ground": GROUNDS}
        self._related = {vendor: _related(sorted({t for v, t, _ in self._keys if v == vendor})) for vendor in vendors}

    def sample(self, rng: random.Random) -> dict[str, str]:
        """Any icon in any color on any ground."""
        vendor, thing, style = rng.choice(self._keys)
        inks, grounds = self.values["ink"], self.values["ground"]
        return {
            "vendor": vendor,
            "thing": thing,
            "style": style,
            "ink": rng.choice(inks),
            "ground": rng.choice(grounds),
        }

    def valid(self, attributes: Attributes) -> bool:
        """Whether the vendor draws the thing in that style."""
        return (attributes["vendor"], attributes["thing"], attributes["style"]) in self._icons

    def changes(self, attributes: Attributes) -> list[tuple[str, str]]:
        """Another style, ink or ground, or a thing of the same vendor: those that share a word, and some others."""
        options = {name: self.values[name] for name in ("style", "ink", "ground")}
        options["thing"] = self._related[attributes["vendor"]][attributes["thing"]]
        return [
            (name, value)
            for name, values in options.items()
            for value in values
            if value != attributes[name] and self.valid({**attributes, name: value})
        ]

    def draw(self, attributes: Attributes, rng: random.Random) -> Image.Image:
        """RGB, ``SIDE`` pixels square; the icon's size and place vary a little."""
        svg = self._icons[attributes["vendor"], attributes["thing"], attributes["style"]]
        size = rng.randint(SIDE * 6 // 10, SIDE * 8 // 10)
        icon = render(svg.replace("currentColor", attributes["ink"]), size)
        image = Image.new("RGB", (SIDE, SIDE), attributes["ground"])
        corner = [(SIDE - size) // 2 + rng.randint(-SIDE // 16, SIDE // 16) for _ in range(2)]
        image.paste(icon, (corner[0], corner[1]), icon)
        return image

    def caption(self, attributes: Attributes, rng: random.Random) -> str:
        """E.g. *a filled bell off icon in blue on white*."""
        thing, style, ink, ground = (attributes[name] for name in ("thing", "style", "ink", "ground"))
        return rng.choice(
            (
                f"{a(style)} {ink} {thing} icon on {ground}",
                f"{a(style)} {thing} icon in {ink} on {ground}",
                f"{thing}, {style}, {ink} on {ground}",
                f"{a(ink)} {style} icon of {thing} on {a(ground)} background",
            )
        )

    def hint(self, attribute: str, attributes: Attributes, rng: random.Random) -> str:
        """The value, as the package says it."""
        return attributes[attribute]

    def edit(self, before: Attributes, after: Attributes, rng: random.Random) -> str:
        """E.g. *make it red and put it on beige*."""
        changed = [name for name in ("thing", "style", "ink", "ground") if before[name] != after[name]]
        rng.shuffle(changed)
        return " and ".join(_change(name, before[name], after[name], rng) for name in changed)


def render(svg: str, side: int) -> Image.Image:
    """An SVG as RGBA, ``side`` pixels square."""
    data = resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side, skip_system_fonts=True)
    return Image.open(io.BytesIO(data)).convert("RGBA").resize((side, side))


def _change(name: str, old: str, new: str, rng: random.Random) -> str:
    if name == "thing":
        added = [word for word in new.split() if word not in old.split()]
        gone = [word for word in old.split() if word not in new.split()]
        choices = [f"{new} instead of {old}", f"replace {old} with {new}", f"show {new}"]
        if not gone:
            choices.append(f"add {' '.join(added)}")
        if not added:
            choices.append(f"without {' '.join(gone)}")
        return rng.choice(choices)
    if name == "ground":
        return rng.choice((f"put it on {new}", f"{new} background instead of {old}", f"on {new}"))
    return rng.choice((f"make it {new}", f"{new} instead of {old}", f"it should be {new}"))


def _related(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """For each name, those that share a word with it and the next few of a shuffled list."""
    by_word: dict[str, list[str]] = {}
    for name in names:
        for word in name.split():
            by_word.setdefault(word, []).append(name)
    ring = list(names)
    random.Random(0).shuffle(ring)
    place = {name: n for n, name in enumerate(ring)}
    following = {name: [ring[(place[name] + step) % len(ring)] for step in range(1, _RELATED + 1)] for name in names}
    return {
        name: tuple(dict.fromkeys([*(other for word in name.split() for other in by_word[word]), *following[name]]))
        for name in names
    }


def _svg(icon: Mapping[str, object]) -> str:
    box = " ".join(
        str(icon.get(key, default))
        for key, default in zip(("left", "top", "width", "height"), (0, 0, 16, 16), strict=True)
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}">{icon["body"]}</svg>'


def _json(archive: tarfile.TarFile, name: str) -> dict[str, dict[str, dict[str, object]]]:
    member = archive.extractfile(name)
    assert member is not None
    content: dict[str, dict[str, dict[str, object]]] = json.load(member)
    return content
