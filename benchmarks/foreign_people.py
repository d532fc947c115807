"""Drawn people of several designers as a world: the avatar styles of the package ``dicebear-styles``.

Hair, eyes, mouth, glasses, beard and clothes are named as the designers name their parts; a color has the name of
its hue. Skin, nose, eyebrows and what else a style varies is left to chance and not said.
"""

from __future__ import annotations

import colorsys
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from dicebear import Avatar, Style
from PIL import Image, ImageColor

from benchmarks.foreign_icons import SIDE, render
from scot.worlds import Attributes, World
from scot.worlds.base import a, listed

PARTS = ("hair", "eyes", "mouth", "glasses", "beard", "clothes")
COLORED = {"hair": "hair color", "clothes": "clothes color"}
NONE = "none"
_HUES = (
    *((12, "red"), (45, "orange"), (70, "yellow"), (165, "green"), (195, "teal")),
    *((255, "blue"), (295, "purple"), (345, "pink"), (360, "red")),
)  # the last degree of each


@dataclass(frozen=True, slots=True)
class Designer:
    """A style of the package: which of its components are the parts, and which of its colors theirs."""

    style: str
    parts: Mapping[str, str]
    colors: Mapping[str, str]


def _designer(style: str, parts: str, hair: str, clothes: str = "") -> Designer:
    colors = {"hair": hair, **({"clothes": clothes} if clothes else {})}
    named = zip(PARTS, parts.split(), strict=True)
    return Designer(style, {part: component for part, component in named if component != "-"}, colors)


TRAIN = (
    _designer("avataaars", "top eyes mouth accessories facialHair clothes", "hair", "clothes"),
    _designer("big-smile", "hair eyes mouth accessories - -", "hair"),
    _designer("dylan", "hair - mood - - -", "hair"),
    _designer("micah", "hair eyes mouth glasses facialHair clothes", "hair", "shirt"),
    _designer("miniavs", "hair eyes mouth - mustache body", "hair", "body"),
    _designer("open-peeps", "head - expression accessories facialHair -", "headContrast"),
    _designer("toon-head", "hair eyes mouth - beard clothes", "hair", "clothes"),
    _designer("voxel-art", "top eyes mouth glasses beard outfit", "hair", "shirt"),
)
EVALUATION = (_designer("personas", "hair eyes mouth - facialHair clothes", "hair", "clothing"),)


class PeopleWorld(World):
    """People by their parts: *a person with brown curly hair, happy eyes and smile mouth, in red checkered clothes*."""

    name = "people"

    def __init__(self, designers: Sequence[Designer]) -> None:
        self._designers = {designer.style: _Parts(designer) for designer in designers}
        values: dict[str, dict[str, None]] = {"designer": dict.fromkeys(self._designers)}
        for parts in self._designers.values():
            for name, known in parts.values.items():
                values.setdefault(name, {}).update(dict.fromkeys(known))
        self.values = {name: tuple(known) for name, known in values.items()}

    def sample(self, rng: random.Random) -> dict[str, str]:
        """A person of any designer; glasses and beards are worn by some."""
        while True:
            designer, parts = rng.choice(list(self._designers.items()))
            chosen = {name: rng.choice(known) for name, known in parts.values.items()}
            for name in ("glasses", "beard"):
                if rng.random() < 0.5:
                    chosen[name] = NONE
            if self.valid(attributes := {"designer": designer, **chosen}):
                return attributes

    def valid(self, attributes: Attributes) -> bool:
        """A part of the designer's; it has a color exactly where the designer draws it in the color named."""
        parts = self._designers[attributes["designer"]]
        known = all(attributes[name] in values for name, values in parts.values.items())
        return known and all(
            (attributes[color] != NONE) == (attributes[part] in parts.colored[part]) for part, color in COLORED.items()
        )

    def changes(self, attributes: Attributes) -> list[tuple[str, str]]:
        """As for every world, of the same designer."""
        return [change for change in super().changes(attributes) if change[0] != "designer"]

    def draw(self, attributes: Attributes, rng: random.Random) -> Image.Image:
        """RGB on white, ``SIDE`` pixels square; what no attribute names varies."""
        drawn = render(self._designers[attributes["designer"]].svg(attributes, rng), SIDE)
        image = Image.new("RGB", drawn.size, "white")
        image.paste(drawn, mask=drawn)
        return image

    def caption(self, attributes: Attributes, rng: random.Random) -> str:
        """E.g. *a person with brown curly hair, happy eyes and smile mouth, in red checkered clothes*."""
        said = [self.hint(part, attributes, rng) for part in PARTS[:-1] if attributes[part] != NONE]
        worn = attributes["clothes"] != NONE
        clothes = self.hint("clothes", attributes, rng) if worn else ""
        return rng.choice(
            (
                f"a person with {listed(said)}{f', in {clothes}' if worn else ''}",
                f"{', '.join([*said, clothes] if worn else said)}",
                f"portrait of a person{f' in {clothes}' if worn else ''} with {listed(said)}",
            )
        )

    def hint(self, attribute: str, attributes: Attributes, rng: random.Random) -> str:
        """The part in its color, e.g. *brown curly hair*; of a color, the color alone."""
        value = attributes[attribute]
        color = attributes[COLORED[attribute]] if attribute in COLORED else NONE
        noun = attribute if attribute in PARTS else ""
        parts = self._designers[attributes["designer"]]
        hat = attribute == "hair" and value not in parts.colored["hair"]
        if hat or parts.designer.parts.get(attribute) == "accessories" or value.endswith(("glasses", noun)):
            noun = ""  # a cat's ears, or sunglasses where other styles have eyes
        return " ".join(word for word in (color, value, noun) if word not in ("", NONE))

    def edit(self, before: Attributes, after: Attributes, rng: random.Random) -> str:
        """E.g. *make the hair red and add goatee*."""
        changed = [name for name in self.values if before[name] != after[name]]
        rng.shuffle(changed)
        return " and ".join(self._change(name, before, after, rng) for name in changed)

    def _change(self, name: str, before: Attributes, after: Attributes, rng: random.Random) -> str:
        plain = {**after, **dict.fromkeys(COLORED.values(), NONE)}
        new, old = after[name], before[name]
        if name in COLORED.values():
            noun = name.removesuffix(" color")
            return rng.choice((f"make the {noun} {new}", f"{new} {noun}", f"{new} {noun} instead of {old}"))
        if new == NONE:
            return rng.choice((f"without {old}", f"remove the {old}", f"no {old}"))
        say = self.hint(name, plain, rng)
        if old == NONE:
            return rng.choice((f"add {say}", f"with {say}"))
        return rng.choice(
            (f"{say} instead of {old}", f"change the {old} to {new}", f"with {say}", a(f"person with {say}"))
        )


class _Parts:
    """The words of one designer: for each attribute its values, and what each is drawn with."""

    def __init__(self, designer: Designer) -> None:
        self.designer = designer
        content = definition(designer.style)
        self.values: dict[str, tuple[str, ...]] = {}
        self.colored: dict[str, frozenset[str]] = {}
        self._variants: dict[str, dict[str, list[str]]] = {}
        for part in PARTS:
            component = content["components"][designer.parts[part]] if part in designer.parts else {"variants": {}}
            variants: dict[str, list[str]] = {}
            for variant in component["variants"]:
                variants.setdefault(words(variant), []).append(variant)
            self._variants[part] = variants
            absent = not variants or part in ("glasses", "beard")
            self.values[part] = (*([NONE] if absent else []), *variants)
            color = designer.colors.get(part)
            uses = f'"type": "color", "name": "{color}"'
            self.colored[part] = frozenset(
                name for name, of in variants.items() if all(uses in json.dumps(component["variants"][v]) for v in of)
            )
            if part in COLORED:
                of_color = content["colors"][color]["values"] if color else []
                self.values[COLORED[part]] = tuple(dict.fromkeys([NONE, *map(color_name, of_color)]))

    def svg(self, attributes: Attributes, rng: random.Random) -> str:
        """The drawing, with every part and color as the attributes say and the rest by chance."""
        options: dict[str, Any] = {"seed": str(rng.random())}
        for part, component in self.designer.parts.items():
            shown = attributes[part] != NONE
            options[f"{component}Probability"] = 100 if shown else 0
            if shown:
                options[f"{component}Variant"] = [rng.choice(self._variants[part][attributes[part]])]
        content = definition(self.designer.style)
        for part, color in self.designer.colors.items():
            of = [each for each in content["colors"][color]["values"] if color_name(each) == attributes[COLORED[part]]]
            if of:
                options[f"{color}Color"] = [rng.choice(of)]
        return str(Avatar(style(self.designer.style), options).to_string())


@cache
def definition(name: str) -> dict[str, Any]:
    """A style of the package, as JSON."""
    content: dict[str, Any] = json.loads(files("dicebear_styles").joinpath(f"{name}.json").read_text("utf-8"))
    return content


@cache
def style(name: str) -> Style:
    """A style of the package, to draw with."""
    return Style(definition(name))


def words(name: str) -> str:
    """``"bobCut2"`` as ``"bob cut"``."""
    return " ".join(re.sub(r"([A-Z]+)", r" \1", re.sub(r"\d+", "", name)).lower().split())


@cache
def color_name(value: str) -> str:
    """What people call a color such as ``"#a55728"``, by its hue, saturation and brightness."""
    hue, saturation, brightness = colorsys.rgb_to_hsv(*(byte / 255 for byte in ImageColor.getrgb(value)[:3]))
    if brightness < 0.3:
        return "black"
    if saturation * brightness < 0.11:
        return "white" if brightness > 0.85 else "gray"
    name = next(name for limit, name in _HUES if 360 * hue <= limit)
    if name == "red" and saturation < 0.55:
        return "pink" if brightness > 0.8 else "brown"
    if name == "orange":
        return "brown" if brightness < 0.75 else "tan" if saturation < 0.55 else name
    return name
