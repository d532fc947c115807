"""The scenes: things with kind, colour, size, count and place, a companion, and a setting (CIRR-like)."""

from __future__ import annotations

import random
from collections.abc import Mapping

from PIL import Image

from scot.worlds.backdrops import draw_scene
from scot.worlds.base import Attributes, Words, World, a

KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # singular, plural
    "cat": (("cat", "kitten"), ("cats", "kittens")),
    "bird": (("bird",), ("birds",)),
    "fish": (("fish",), ("fish", "fishes")),
    "car": (("car", "automobile"), ("cars", "automobiles")),
    "boat": (("boat", "sailboat"), ("boats", "sailboats")),
    "house": (("house", "cottage"), ("houses", "cottages")),
    "tree": (("tree",), ("trees",)),
    "flower": (("flower",), ("flowers",)),
    "balloon": (("balloon",), ("balloons",)),
    "umbrella": (("umbrella", "parasol"), ("umbrellas", "parasols")),
    "mushroom": (("mushroom", "toadstool"), ("mushrooms", "toadstools")),
    "star": (("star",), ("stars",)),
}
COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("red", "scarlet"),
    "orange": ("orange",),
    "yellow": ("yellow",),
    "green": ("green",),
    "blue": ("blue",),
    "purple": ("purple", "violet"),
    "pink": ("pink",),
    "black": ("black",),
    "white": ("white",),
}
SIZES: dict[str, tuple[str, ...]] = {"small": ("small", "little", "tiny"), "large": ("big", "large", "huge")}
COUNTS: dict[str, tuple[str, ...]] = {
    "one": ("one", "a single"),
    "two": ("two", "a pair of"),
    "three": ("three",),
    "four": ("four",),
}
PLACES: dict[str, tuple[str, ...]] = {
    "left": ("on the left", "at the left side"),
    "middle": ("in the middle", "in the centre"),
    "right": ("on the right", "at the right side"),
}
SETTINGS: dict[str, Words] = {
    "meadow": Words(("in a meadow", "on green grass"), ("a meadow", "grass")),
    "beach": Words(("on a beach", "by the sea"), ("a beach", "the seaside")),
    "desert": Words(("in the desert", "among sand dunes"), ("the desert", "sand dunes")),
    "snow": Words(("in the snow", "on a snowy day"), ("snow", "a snowy landscape")),
    "night": Words(("at night", "under the moon"), ("the night", "a moonlit night")),
    "city": Words(("in the city", "in front of skyscrapers"), ("the city", "skyscrapers")),
    "room": Words(("in a room", "indoors"), ("a room", "the inside of a house")),
    "mountains": Words(("in the mountains", "below rocky peaks"), ("the mountains", "rocky peaks")),
}


class Scenes(World):
    """One to four equal things at a place, perhaps a companion, in a setting."""

    name = "scenes"
    values: Mapping[str, tuple[str, ...]] = {
        "kind": tuple(KINDS),
        "colour": tuple(COLOURS),
        "size": tuple(SIZES),
        "count": tuple(COUNTS),
        "place": tuple(PLACES),
        "companion": ("none", *KINDS),
        "companion_colour": ("none", *COLOURS),
        "setting": tuple(SETTINGS),
    }

    def sample(self, rng: random.Random) -> dict[str, str]:
        """A valid scene; two in three have a companion."""
        kind = rng.choice(tuple(KINDS))
        alone = rng.random() < 0.33
        companion = "none" if alone else rng.choice([other for other in KINDS if other != kind])
        return {
            "kind": kind,
            "colour": rng.choice(tuple(COLOURS)),
            "size": rng.choice(tuple(SIZES)),
            "count": rng.choice(tuple(COUNTS)),
            "place": rng.choice(tuple(PLACES)),
            "companion": companion,
            "companion_colour": "none" if alone else rng.choice(tuple(COLOURS)),
            "setting": rng.choice(tuple(SETTINGS)),
        }

    def valid(self, attributes: Attributes) -> bool:
        """A companion is of another kind and has a colour."""
        alone = attributes["companion"] == "none"
        return alone == (attributes["companion_colour"] == "none") and attributes["companion"] != attributes["kind"]

    def changes(self, attributes: Attributes) -> list[tuple[str, str]]:
        """As for every world; a companion comes with its colour and goes with it (``"cat:red"``, ``"none:none"``)."""
        changes = super().changes(attributes)
        if attributes["companion"] != "none":
            return [*changes, ("companion", "none:none")]
        return [
            *changes,
            *(("companion", f"{kind}:{colour}") for kind in KINDS if kind != attributes["kind"] for colour in COLOURS),
        ]

    def changed(self, attributes: Attributes, name: str, value: str) -> dict[str, str]:
        """The combination after one of its :meth:`changes`."""
        kind, colon, colour = value.partition(":")
        return {**attributes, name: kind, **({"companion_colour": colour} if colon else {})}

    def draw(self, attributes: Attributes, rng: random.Random) -> Image.Image:
        """Draw the scene, RGB, 192 pixels square."""
        return draw_scene(attributes, rng)

    def caption(self, attributes: Attributes, rng: random.Random) -> str:
        """E.g. *two small red birds on the left next to a blue house, in a meadow*."""
        things = self._things(attributes, rng)
        place = rng.choice(PLACES[attributes["place"]])
        setting = rng.choice(SETTINGS[attributes["setting"]].adjectives)
        parts = [f"{things} {place}"]
        if attributes["companion"] != "none":
            beside = self._companion(attributes, rng)
            parts[0] += rng.choice((f" next to {beside}", f" and {beside}", f" with {beside}", f" beside {beside}"))
        text = rng.choice((f"{parts[0]}, {setting}", f"{parts[0]} {setting}", f"{setting}, {parts[0]}"))
        return (
            rng.choice(("{}", "{}", "{}", "a picture of {}", "{}")).format(text)
            if not text.startswith(setting)
            else text
        )

    def hint(self, attribute: str, attributes: Attributes, rng: random.Random) -> str:
        """A few words for one attribute."""
        value = attributes[attribute]
        if attribute == "companion":
            return (
                "nothing else"
                if value == "none"
                else rng.choice((f"with {self._companion(attributes, rng)}", self._companion(attributes, rng)))
            )
        if attribute == "kind":
            singular, plural = KINDS[value]
            return rng.choice(singular if attributes["count"] == "one" else plural)
        if attribute == "companion_colour":
            return "nothing else" if value == "none" else self._companion(attributes, rng)
        if attribute == "setting":
            return rng.choice(SETTINGS[value].adjectives + SETTINGS[value].phrases)
        if attribute == "colour":
            return f"{rng.choice(COLOURS[value])} {self.hint('kind', attributes, rng)}"
        tables = {"size": SIZES, "count": COUNTS, "place": PLACES}
        return rng.choice(tables[attribute][value])

    def edit(self, before: Attributes, after: Attributes, rng: random.Random) -> str:
        """E.g. *make them blue and move them to the left*."""
        changed = [name for name in self.values if before[name] != after[name]]
        if "companion" in changed and "companion_colour" in changed:
            changed.remove("companion_colour")
        rng.shuffle(changed)
        return rng.choice((" and ", ", and ", " and also ")).join(
            self._change(name, before, after, rng) for name in changed
        )

    def _things(self, attributes: Attributes, rng: random.Random) -> str:
        size = rng.choice(SIZES[attributes["size"]])
        colour = rng.choice(COLOURS[attributes["colour"]])
        noun = self.hint("kind", attributes, rng)
        if attributes["count"] == "one":
            return rng.choice(
                (a(f"{size} {colour} {noun}"), a(f"{size} {colour} {noun}"), f"one {size} {colour} {noun}")
            )
        return f"{rng.choice(COUNTS[attributes['count']])} {size} {colour} {noun}"

    def _companion(self, attributes: Attributes, rng: random.Random) -> str:
        return a(
            f"{rng.choice(COLOURS[attributes['companion_colour']])} {rng.choice(KINDS[attributes['companion']][0])}"
        )

    def _change(self, name: str, before: Attributes, after: Attributes, rng: random.Random) -> str:
        old, new = before[name], after[name]
        many = before["count"] != "one"
        them, the_old = ("them" if many else "it"), f"the {self.hint('kind', before, rng)}"
        if name == "kind":
            noun = self.hint("kind", after, rng)
            thing = noun if after["count"] != "one" else a(noun)
            return rng.choice(
                (f"replace {the_old} with {thing}", f"{thing} instead of {the_old}", f"turn {the_old} into {thing}")
            )
        if name == "colour":
            say, was = rng.choice(COLOURS[new]), rng.choice(COLOURS[old])
            return rng.choice(
                (
                    f"make {them} {say}",
                    f"make {the_old} {say}",
                    f"{say} instead of {was}",
                    f"paint {the_old} {say}",
                    f"{the_old} should be {say}",
                )
            )
        if name == "size":
            word = rng.choice(SIZES[new])
            return rng.choice(
                (
                    f"make {them} {'bigger' if new == 'large' else 'smaller'}",
                    f"make {the_old} {word}",
                    f"{word} instead of {rng.choice(SIZES[old])}",
                )
            )
        if name == "count":
            noun = rng.choice(KINDS[after["kind"]][0 if new == "one" else 1])
            steps = tuple(COUNTS).index(new) - tuple(COUNTS).index(old)
            choices = [
                f"{new} of them",
                f"{new} {noun} instead of {old}",
                f"there should be {new} {noun}",
                f"make it {new}",
            ]
            choices += ["add one more"] if steps == 1 else ["take one away"] if steps == -1 else []
            return rng.choice(choices)
        if name == "place":
            place = rng.choice(PLACES[new])
            return rng.choice(
                (
                    f"move {them} to the {place.split(' the ')[1]}",
                    f"{place}",
                    f"put {them} {place}",
                    f"{place} instead of {rng.choice(PLACES[old])}",
                )
            )
        if name == "setting":
            words = SETTINGS[new]
            return rng.choice(
                (
                    f"{rng.choice(words.adjectives)} instead",
                    f"change the background to {rng.choice(words.phrases)}",
                    f"put {them} {rng.choice(words.adjectives)}",
                    f"{rng.choice(words.adjectives)} instead of {rng.choice(SETTINGS[old].adjectives)}",
                )
            )
        if name == "companion_colour":
            noun = rng.choice(KINDS[after["companion"]][0])
            say = rng.choice(COLOURS[new])
            return rng.choice((f"make the {noun} {say}", f"paint the {noun} {say}", f"the {noun} should be {say}"))
        gone = f"the {rng.choice(KINDS[old][0])}" if old != "none" else ""
        if new == "none":
            return rng.choice(
                (f"remove {gone}", f"without {gone}", f"take {gone} away", f"no {gone.removeprefix('the ')}")
            )
        say = self._companion(after, rng)
        if old == "none":
            return rng.choice((f"add {say}", f"with {say} beside {them}", f"put {say} next to {them}"))
        return rng.choice((f"replace {gone} with {say}", f"{say} instead of {gone}", f"swap {gone} for {say}"))
