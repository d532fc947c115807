"""The drawn worlds: pictures whose captions, attributes and right answers are known exactly."""

from scot.errors import InvalidInput
from scot.worlds.base import Attributes, Split, World, WorldName, key_of, split_of
from scot.worlds.scenes import Scenes
from scot.worlds.wardrobe import Wardrobe

WORLDS: dict[WorldName, type[World]] = {"wardrobe": Wardrobe, "scenes": Scenes}


def load_world(name: str) -> World:
    """A drawn world by name.

    Raises:
        InvalidInput: there is no world of that name.
    """
    for known, world in WORLDS.items():
        if known == name:
            return world()
    raise InvalidInput(f"world must be one of {', '.join(WORLDS)}, not {name!r}")


__all__ = [
    "WORLDS",
    "Attributes",
    "Scenes",
    "Split",
    "Wardrobe",
    "World",
    "WorldName",
    "key_of",
    "load_world",
    "split_of",
]
