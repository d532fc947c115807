"""Captions of everyday pictures from templates over the vocabulary of :mod:`scot.edits.vocabulary`."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from scot.edits.rules.reading import with_article
from scot.edits.slots.things import ANIMALS, PEOPLE
from scot.edits.vocabulary import GROUPS, Group, Value

_TEMPLATES = Path(__file__).parent / "templates.txt"
_OPTION = re.compile(r"\[([^\[\]]*)\]")
_CHOICE = re.compile(r"\(([^()]*)\)")
_SLOT = re.compile(r"<(a )?([#=~]?)([^<>+]+)(\+?)>")
_QUALITY, _TWO_QUALITIES = 0.5, 0.12
_SYNONYM = 0.25  # else the first text of a value
_NUMBERS = ("two", "two", "three", "three", "four", "several", "some", "a few")
_OPENINGS = ("a photo of ", "a picture of ", "an image of ", "close-up of ", "this is ", "there is ")
_OPENED = 0.06
_FINITE = re.compile(r" (is|are|has|looks|stares|waits|stands) ")


def captions(count: int, seed: int) -> list[tuple[str, str]]:
    """``count`` distinct captions, each with its domain; every domain has as many, as far as they are distinct.

    Lower-case phrases, capitalised phrases, sentences with a full stop: as captions of the open are written.
    """
    draw = random.Random(seed)
    made: dict[str, str] = {}
    domains = templates()
    while len(made) < count:
        for domain, lines in domains.items():
            caption = _styled(fill(draw.choice(lines), draw), draw)
            if len(made) < count and caption not in made:
                made[caption] = domain
    return list(made.items())


def templates() -> dict[str, list[str]]:
    """The templates of each domain."""
    found: dict[str, list[str]] = {}
    for line in _TEMPLATES.read_text(encoding="utf-8").splitlines():
        if re.fullmatch(r"\[\w+\]", line):
            found[line[1:-1]] = lines = []
        elif line and not line.startswith("#"):
            lines.append(line)
    return found


def fill(template: str, draw: random.Random) -> str:
    """A template with its options drawn and its slots filled."""
    for pattern, choose in ((_OPTION, _option), (_CHOICE, _choice)):
        while pattern.search(template):
            template = pattern.sub(partial(choose, draw), template)
    used: set[str] = set()
    return " ".join(_SLOT.sub(lambda slot: _filled(slot, draw, used), template).split())


def _option(draw: random.Random, found: re.Match[str]) -> str:
    return str(found[1]) if draw.random() < 0.5 else ""


def _choice(draw: random.Random, found: re.Match[str]) -> str:
    return draw.choice(str(found[1]).split("|"))


def _filled(slot: re.Match[str], draw: random.Random, used: set[str]) -> str:
    """One slot; ``used`` has the words of the other slots, which do not repeat."""
    article, kind, names, plural = slot.groups()
    name = draw.choice(names.split("/"))
    group = GROUPS[name.rstrip("!")]
    for _ in range(8):
        value = draw.choice(group.values)
        if value.name not in used:
            break
    used.add(value.name)
    if kind == "~":
        return value.plurals[0]
    if kind == "=":
        text = _text(value, draw)
        return with_article(text) if article else text
    return _noun_phrase(group, value, draw, number=kind == "#", many=bool(plural), article=bool(article),
                        plain=name.endswith("!"))  # fmt: skip


def _noun_phrase(
    group: Group, value: Value, draw: random.Random, *, number: bool, many: bool, article: bool, plain: bool
) -> str:
    many = (many or number) and bool(value.plurals)
    at = 0 if draw.random() >= _SYNONYM else draw.randrange(len(value.texts))
    noun = value.plurals[at] if many else value.texts[at]
    qualities = [] if plain else _qualities(group, draw)
    text = " ".join([*qualities, noun])
    if number and many:
        return f"{draw.choice(_NUMBERS)} {text}"
    return with_article(text) if article and value.plurals and not many else text


def _qualities(group: Group, draw: random.Random) -> Iterator[str]:
    """No, one or two qualities of different kinds; size and age come before colour, colour before material."""
    count = 0 if draw.random() >= _QUALITY else 2 if draw.random() < _TWO_QUALITIES / _QUALITY else 1
    order: Callable[[str], int] = ["size", "height", "length", "age", "hair", "colour", "pattern", "material"].index
    traits = draw.sample(group.traits, min(count, len(group.traits)))
    if len({GROUPS[trait].kind for trait in traits}) < len(traits):
        traits = traits[:1]
    for trait in sorted(traits, key=lambda trait: order(GROUPS[trait].kind)):
        value = draw.choice(GROUPS[trait].values)
        if trait == "age":
            yield "old" if value.name == "old" else "young" if group.name in PEOPLE | ANIMALS else "new"
        else:
            yield _text(value, draw)


def _text(value: Value, draw: random.Random) -> str:
    return value.name if draw.random() >= _SYNONYM else draw.choice(value.texts)


def _styled(text: str, draw: random.Random) -> str:
    if draw.random() < _OPENED and text.startswith(("a ", "an ")) and not _FINITE.search(text):
        text = draw.choice(_OPENINGS) + text
    way = draw.random()
    if way < 0.6:
        return text
    text = text[:1].upper() + text[1:]
    return f"{text}." if way < 0.85 else text
