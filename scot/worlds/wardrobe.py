"""The wardrobe: garments with kind, colour, pattern, sleeve, length, collar and detail (FashionIQ-like)."""

from __future__ import annotations

import random
from collections.abc import Mapping

from PIL import Image

from scot.worlds.base import Attributes, Words, World, a, listed
from scot.worlds.garments import draw_garment

TOPS = ("shirt", "sweater", "jacket", "coat", "dress")
BOTTOMS = ("skirt", "trousers")

KINDS: dict[str, tuple[str, ...]] = {
    "shirt": ("shirt", "tee", "top"),
    "sweater": ("sweater", "jumper", "pullover"),
    "jacket": ("jacket", "bomber jacket"),
    "coat": ("coat", "overcoat"),
    "dress": ("dress", "frock"),
    "skirt": ("skirt",),
    "trousers": ("trousers", "pants"),
}
COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("red", "scarlet"),
    "orange": ("orange",),
    "yellow": ("yellow",),
    "green": ("green",),
    "teal": ("teal", "turquoise"),
    "blue": ("blue",),
    "purple": ("purple", "violet"),
    "pink": ("pink",),
    "brown": ("brown",),
    "black": ("black",),
    "white": ("white",),
    "grey": ("grey", "gray"),
}
PATTERNS: dict[str, Words] = {
    "plain": Words(("plain", "solid"), ()),
    "striped": Words(("striped", "horizontally striped"), ("stripes", "horizontal stripes")),
    "pinstriped": Words(("pinstriped", "vertically striped"), ("pinstripes", "vertical stripes")),
    "checked": Words(("checked", "plaid"), ("checks", "a plaid pattern")),
    "dotted": Words(("dotted", "polka-dot"), ("polka dots", "dots")),
    "starred": Words(("starry", "star-print"), ("a star print", "little stars")),
}
SLEEVES: dict[str, Words] = {
    "sleeveless": Words(("sleeveless",), ("no sleeves",)),
    "short": Words(("short-sleeved",), ("short sleeves",)),
    "long": Words(("long-sleeved",), ("long sleeves",)),
}
LENGTHS: dict[str, dict[str, tuple[str, ...]]] = {
    "top": {"short": ("cropped", "waist-length"), "medium": (), "long": ("longline", "thigh-length")},
    "gown": {"short": ("mini", "short"), "medium": ("knee-length", "midi"), "long": ("maxi", "ankle-length")},
    "trousers": {
        "short": ("short", "thigh-high"),
        "medium": ("knee-length", "three-quarter"),
        "long": ("full-length", "ankle-length"),
    },
}
COLLARS: dict[str, Words] = {
    "round": Words(("crew-neck",), ("a round neck", "a crew neck")),
    "v-neck": Words(("v-neck",), ("a v-neck", "a v-shaped neckline")),
    "pointed": Words(("collared",), ("a collar", "a pointed collar")),
    "turtleneck": Words(("turtleneck",), ("a turtleneck", "a high neck")),
}
DETAILS: dict[str, tuple[str, ...]] = {
    "none": (),
    "pocket": ("a pocket", "a patch pocket"),
    "buttons": ("buttons", "a row of buttons"),
    "belt": ("a belt", "a buckled belt"),
    "heart": ("a heart badge", "a heart"),
}
NAMES = {"pattern": "pattern", "collar": "neck", "detail": "detail", "sleeve": "sleeves", "length": "length"}


class Wardrobe(World):
    """Garments on a pale ground."""

    name = "wardrobe"
    values: Mapping[str, tuple[str, ...]] = {
        "kind": tuple(KINDS),
        "colour": tuple(COLOURS),
        "pattern": tuple(PATTERNS),
        "sleeve": ("none", *SLEEVES),
        "length": ("short", "medium", "long"),
        "collar": ("none", *COLLARS),
        "detail": tuple(DETAILS),
    }

    def sample(self, rng: random.Random) -> dict[str, str]:
        """A valid garment; tops are drawn more often, as they have more to vary."""
        kind = rng.choice(TOPS) if rng.random() < 0.9 else rng.choice(BOTTOMS)
        is_top = kind in TOPS
        return {
            "kind": kind,
            "colour": rng.choice(tuple(COLOURS)),
            "pattern": rng.choice(tuple(PATTERNS)),
            "sleeve": rng.choice(tuple(SLEEVES)) if is_top else "none",
            "length": rng.choice(("short", "medium", "long")),
            "collar": rng.choice(tuple(COLLARS)) if is_top else "none",
            "detail": rng.choice(tuple(DETAILS)),
        }

    def valid(self, attributes: Attributes) -> bool:
        """A top has sleeves (or is sleeveless) and a neck; a skirt and trousers have neither."""
        is_top = attributes["kind"] in TOPS
        return is_top == (attributes["sleeve"] != "none") and is_top == (attributes["collar"] != "none")

    def draw(self, attributes: Attributes, rng: random.Random) -> Image.Image:
        """Draw the garment, RGB, 192 pixels square."""
        return draw_garment(attributes, rng)

    def caption(self, attributes: Attributes, rng: random.Random) -> str:
        """E.g. *a red striped shirt with long sleeves and a collar*."""
        adjectives: list[str] = []
        features: list[str] = []
        colour = rng.choice(COLOURS[attributes["colour"]])
        pattern = PATTERNS[attributes["pattern"]]
        if attributes["pattern"] == "plain":
            adjectives += [rng.choice(pattern.adjectives)] if rng.random() < 0.5 else []
        else:
            _either(pattern, adjectives, features, rng)
        adjectives.insert(rng.randint(0, len(adjectives)), colour)
        length = _lengths(attributes["kind"])[attributes["length"]]
        if length:
            adjectives.insert(rng.randint(0, len(adjectives)), rng.choice(length))
        if attributes["sleeve"] != "none":
            _either(SLEEVES[attributes["sleeve"]], adjectives, features, rng, 0.35)
        if attributes["collar"] != "none" and (attributes["collar"] != "round" or rng.random() < 0.5):
            _either(COLLARS[attributes["collar"]], adjectives, features, rng, 0.3)
        if attributes["detail"] != "none":
            features.append(rng.choice(DETAILS[attributes["detail"]]))
        rng.shuffle(features)
        noun = rng.choice(KINDS[attributes["kind"]])
        pair = attributes["kind"] == "trousers"
        head = " ".join([*adjectives, noun])
        head = f"{rng.choice(('', 'a pair of '))}{head}" if pair else a(head)
        text = f"{head} with {listed(features)}" if features else head
        return rng.choice(
            ("{}", "{}", "{}", "a picture of {}", "{} on a hanger", "here is {}", "{}, laid flat")
        ).format(text)

    def hint(self, attribute: str, attributes: Attributes, rng: random.Random) -> str:
        """A few words for one attribute."""
        value = attributes[attribute]
        if attribute == "kind":
            return rng.choice(KINDS[value])
        if attribute == "colour":
            return rng.choice(COLOURS[value])
        if attribute == "length":
            return rng.choice(_lengths(attributes["kind"])[value] or ("regular length", "medium length"))
        if attribute == "detail":
            return rng.choice(DETAILS[value] or ("no details", "nothing on it"))
        words = {"pattern": PATTERNS, "sleeve": SLEEVES, "collar": COLLARS}[attribute].get(value, Words())
        return rng.choice(words.adjectives + words.phrases or ("none",))

    def edit(self, before: Attributes, after: Attributes, rng: random.Random) -> str:
        """E.g. *make it blue and add a belt*."""
        changed = [name for name in self.values if before[name] != after[name]]
        rng.shuffle(changed)
        return rng.choice((" and ", ", and ", " and also ")).join(
            self._change(name, before, after, rng) for name in changed
        )

    def _change(self, name: str, before: Attributes, after: Attributes, rng: random.Random) -> str:
        old, new = before[name], after[name]
        say, was = self.hint(name, after, rng), self.hint(name, before, rng)
        if name == "kind":
            thing = say if new == "trousers" else a(say)
            return rng.choice(
                (
                    f"make it {thing}",
                    f"turn it into {thing}",
                    f"{thing} instead of the {was}",
                    f"show me {thing} like this",
                )
            )
        if name == "colour":
            return rng.choice(
                (
                    f"make it {say}",
                    f"in {say}",
                    f"change the colour to {say}",
                    f"{say} instead of {was}",
                    f"is {say}",
                    f"I want it in {say}",
                )
            )
        if name == "length":
            longer = ("short", "medium", "long").index(new) > ("short", "medium", "long").index(old)
            choices = [f"make it {say}", f"is {say}", f"{say} instead of {was}", f"change the length to {say}"]
            if old == "medium":
                choices += [
                    f"make it {'longer' if longer else 'shorter'}",
                    f"a {'longer' if longer else 'shorter'} one",
                ]
            return rng.choice(choices)
        if name == "detail":
            if new == "none":
                return rng.choice(
                    (f"without {_the(was)}", f"remove {_the(was)}", f"take off {_the(was)}", f"no {_bare(was)}")
                )
            if old == "none":
                return rng.choice((f"add {say}", f"with {say}", f"give it {say}", f"has {say}"))
            return rng.choice(
                (f"swap {_the(was)} for {say}", f"{say} instead of {_the(was)}", f"replace {_the(was)} with {say}")
            )
        if name == "pattern" and new == "plain":
            gone = rng.choice(PATTERNS[old].phrases)
            return rng.choice(
                ("make it plain", "in a solid colour", f"without {_the(gone)}", f"remove {_the(gone)}", "no pattern")
            )
        words = {"pattern": PATTERNS, "sleeve": SLEEVES, "collar": COLLARS}[name]
        phrase, adjective = rng.choice(words[new].phrases), rng.choice(words[new].adjectives)
        gone = rng.choice(words[old].phrases or words[old].adjectives)
        return rng.choice(
            (
                f"with {phrase}",
                f"make it {adjective}",
                f"{phrase} instead of {gone}",
                f"has {phrase}",
                f"change the {NAMES[name]} to {adjective}",
            )
        )


def _either(
    words: Words, adjectives: list[str], features: list[str], rng: random.Random, adjective: float = 0.6
) -> None:
    """Say a value before the noun or behind *with*."""
    if rng.random() < adjective:
        adjectives.insert(rng.randint(0, len(adjectives)), rng.choice(words.adjectives))
    else:
        features.append(rng.choice(words.phrases))


def _lengths(kind: str) -> dict[str, tuple[str, ...]]:
    return LENGTHS["gown" if kind in ("dress", "skirt") else "trousers" if kind == "trousers" else "top"]


def _bare(phrase: str) -> str:
    return phrase.removeprefix("a ")


def _the(phrase: str) -> str:
    return f"the {_bare(phrase)}"
