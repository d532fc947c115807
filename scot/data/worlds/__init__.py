"""The drawn worlds: pictures whose captions, attributes and right answers are known exactly."""

from scot.data.worlds.base import Attributes, Split, World, key_of, split_of
from scot.data.worlds.scenes import Scenes
from scot.data.worlds.wardrobe import Wardrobe
from scot.errors import InvalidInput

WORLDS: dict[str, type[World]] = {"wardrobe": Wardrobe, "scenes": Scenes}


def load_world(name: str) -> World:
    """A drawn world by name.

    Raises:
        InvalidInput: there is no world of that name.
    """
    if name not in WORLDS:
        raise InvalidInput(f"world must be one of {', '.join(WORLDS)}, not {name!r}")
    return WORLDS[name]()


__all__ = ["WORLDS", "Attributes", "Scenes", "Split", "Wardrobe", "World", "key_of", "load_world", "split_of"]
