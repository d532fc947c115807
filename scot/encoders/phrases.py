"""Short phrases that tell one attribute of a picture, and which pictures they fit: more text to train a tiny encoder.

A caption describes everything; people also say a single thing (*long sleeves*, *stripes, not dots*). Trained on
captions alone a tiny text tower reads such phrases poorly, where CLIP has met millions of them on the web.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scot.data.worlds import Attributes, World

PLAIN = (
    "{new}",
    "{new}",
    "{new}, please",
    "it is {new}",
    "something with {new}",
    "just {new}",
    "it should be {new}",
    "make it {new}",
    "add {new}",
)
CONTRAST = (
    "{new} instead of {old}",
    "{new}, not {old}",
    "not {old} but {new}",
    "replace {old} with {new}",
    "swap {old} for {new}",
    "change {old} to {new}",
    "turn {old} into {new}",
    "{new} rather than {old}",
    "the {old} is now {new}",
)
ABSENT = ("no {old}", "without {old}", "remove {old}", "take away {old}", "not {old}", "anything but {old}")
OPTIONAL = ("pattern", "detail", "companion")


def phrase(world: World, group: Sequence[Attributes], rng: random.Random) -> tuple[str, npt.NDArray[np.bool_]]:
    """A phrase about one picture of ``group`` (its attribute records) and a mask of all the pictures that it fits."""
    subject = rng.choice(group)
    names = [name for name in world.values if subject[name] != "none" or name in OPTIONAL]
    name = rng.choice(names)
    new = world.hint(name, subject, rng)
    keys = _keys(name)
    fits = np.array([all(other[key] == subject[key] for key in keys) for other in group])
    if name == "length":  # *short* trousers and a *short* dress are other words than a *cropped* top
        fits &= np.array(
            [
                (other["kind"] in ("dress", "skirt", "trousers")) == (subject["kind"] in ("dress", "skirt", "trousers"))
                for other in group
            ]
        )
    others = [value for value in world.values[name] if value not in (subject[name], "none")]
    other: dict[str, str] = {**subject, name: rng.choice(others)}
    if name in ("companion", "companion_colour") and "none" in (other["companion"], other["companion_colour"]):
        other["companion"] = other["companion"] if other["companion"] != "none" else "tree"
        other["companion_colour"] = "red"
    old = world.hint(name, other, rng)
    roll = rng.random()
    if name in OPTIONAL and roll < 0.2:
        without = np.array([any(row[key] != other[key] for key in keys) for row in group])
        return rng.choice(ABSENT).format(old=old.removeprefix("with ")), without
    if roll < 0.55:
        return rng.choice(CONTRAST).format(new=new, old=old.removeprefix("with ")), fits
    return rng.choice(PLAIN).format(new=new), fits


def _keys(name: str) -> tuple[str, ...]:
    if name == "colour":
        return ("colour",)
    if name.startswith("companion"):
        return ("companion", "companion_colour")
    return (name,)
