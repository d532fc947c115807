"""Draw a world to disk: a captioned folder, and for the evaluation split the queries beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scot.data.captioned_writer import Item, write_captioned
from scot.errors import InvalidInput
from scot.results import print_outcome, words_aside
from scot.worlds import Split, World, WorldName, load_world
from scot.worlds.gallery import Drawing, catalogue, draw_all, evaluation_gallery
from scot.worlds.queries import write_queries

DRAWN = "drawn.json"
MOST = {"train": 40_000, "eval": 10_000}
"""The most pictures of a split: wardrobe has some 53,000 combinations to train on and 13,500 to search."""
_NOT_DRAWN = ("output", "num_workers", "json")
"""The flags that change nothing in the pictures."""


@dataclass(frozen=True)
class DrawConfig:
    """Draw captioned pictures of a world; with --split eval also the queries whose answers are known.

    Example: scot draw --world wardrobe --split eval --output data/wardrobe
    """

    world: WorldName = "wardrobe"
    """Which world."""
    output: Path = Path("drawn")
    """The folder to write."""
    split: Split = "train"
    """Which combinations of attributes: those for training, or those held out."""
    size: int = 4_000
    """How many pictures: at most 40,000 to train on, 10,000 to search."""
    queries: int = 2_000
    """How many queries over an evaluation gallery; at most one for two pictures."""
    seed: int = 0
    """The same seed draws the same pictures."""
    num_workers: int = 2
    """Processes that draw."""
    json: bool = False
    """Print one line of JSON."""


def draw(config: DrawConfig) -> int:
    """Draw, unless the folder holds just this already, and say how many pictures it holds.

    Raises:
        InvalidInput: the world is unknown or a size is out of range.
    """
    world = load_world(config.world)
    most = MOST[config.split]
    if not 1 <= config.size <= most:
        raise InvalidInput(f"size must be 1 to {most:,}, not {config.size}")
    if config.split == "eval" and not 1 <= config.queries <= config.size // 2:
        raise InvalidInput(f"queries must be 1 to half of size ({config.size // 2}), not {config.queries}")
    wanted = {key: str(value) for key, value in asdict(config).items() if key not in _NOT_DRAWN}
    result = {"output": str(config.output), "pictures": config.size}
    if _drawn(config.output) == wanted:
        already = f"{config.output} holds these {config.size:,} pictures already"
        print_outcome(config.json, result | {"reused": True}, already)
        return 0
    (config.output / DRAWN).unlink(missing_ok=True)
    if config.split == "eval":
        gallery = evaluation_gallery(world, size=config.size, queries=config.queries, seed=config.seed)
        drawings: Sequence[Drawing] = gallery.items
    else:
        drawings = catalogue(world, config.size, split="train", seed=config.seed)
    with words_aside(config.json):
        count = write_drawings(config.output, world, drawings, config.num_workers)
    if config.split == "eval":
        write_queries(config.output, gallery)
    (config.output / DRAWN).write_text(json.dumps(wanted, indent=1), encoding="utf-8")
    done = f"{count:,} pictures of {config.world} in {config.output}"
    print_outcome(config.json, result | {"pictures": count, "reused": False}, done)
    return 0


def write_drawings(folder: Path, world: World, drawings: Sequence[Drawing], num_workers: int) -> int:
    """Draw a captioned folder whose payload is the world's name and the attributes; returns the number of pictures."""
    return write_captioned(folder, _items(world, drawings, num_workers))


def _items(world: World, drawings: Sequence[Drawing], num_workers: int) -> Iterator[Item]:
    for number, (drawing, picture) in enumerate(draw_all(world, drawings, num_workers=num_workers), 1):
        yield drawing.item_id, picture, [drawing.caption(world)], {"world": world.name, **drawing.attributes}
        if number % 2_000 == 0:
            print(f"{number:,} of {len(drawings):,} drawn", flush=True)


def _drawn(folder: Path) -> dict[str, str] | None:
    try:
        done: dict[str, str] = json.loads((folder / DRAWN).read_text(encoding="utf-8"))
        return done
    except (OSError, ValueError):
        return None
