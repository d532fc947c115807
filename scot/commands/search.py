"""``scot search``: one composed query to a running service; prints a table and can save a contact sheet."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from scot import flags
from scot.client import Edit, Hit, Origin, Query, Reference, Rerank, ScotClient, SearchResult
from scot.commands.items import origin_json
from scot.commands.service import ServicePlace
from scot.commands.show import check_terminal, show_image
from scot.commands.vectors import read_vector
from scot.data.images import decode_image
from scot.errors import InvalidFlag
from scot.evaluation.contact_sheet import SheetRow, check_file, contact_sheet, save_sheet
from scot.index.filter_text import parse_filter
from scot.results import print_json, printable

_PICTURES_AT_ONCE = 64  # the limit of one GetPictures request
_TEXT_ONLY = "text_only"


@dataclass(frozen=True)
class SearchConfig:
    """Find the images that are like a reference, changed as the edits say.

    Example: scot search --image shirt.png --edit "make it blue" "with long sleeves" --filter "price<20" --limit 5
    """

    image: Path | None = None
    """The reference image."""
    item_id: str | None = None
    """Alternatively, an item of the collection as the reference."""
    vector: Path | None = None
    """Alternatively, an image embedding as the reference: a .npy file, or JSON as `scot encode` prints it."""
    reference: list[str] = field(default_factory=list)
    """Further items as references, each as ID or ID=WEIGHT; a negative weight is away from the item."""
    edit: flags.Phrases = field(default_factory=list)
    """What to change; several edits apply in order. In quotes; may begin with a dash; may be repeated."""
    negative: flags.Phrases = field(default_factory=list)
    """What to move away from, after the edits."""
    weight: list[float] = field(default_factory=list)
    """How far to follow each edit and then each negative, 0 to 1 and by default 1; a single number is for all."""
    like: list[str] = field(default_factory=list)
    """Items to move towards."""
    dislike: list[str] = field(default_factory=list)
    """Items to move away from; the hits leave them out."""
    text_only: bool = False
    """Search by the edits alone, without the reference: the composer text_only."""
    filter: str = ""
    """Conditions on the payload, such as 'price<20 and size in (S, M) and name ~ "wool" and not sold exists'."""
    limit: int = 10
    """Number of hits, 1 to 1,000; with --group-by, number of groups."""
    offset: int = 0
    """How many of the best hits to skip."""
    threshold: float | None = None
    """Leave out hits with a lower cosine similarity."""
    diversity: float | None = None
    """Prefer hits that differ from each other: 0 (by similarity alone) to 1."""
    group_by: str = ""
    """A payload field: show the best hits of each of its values."""
    group_size: int = 1
    """With --group-by, the hits of a group, 1 to 100."""
    rerank: int = 0
    """Let the service's vision-language model judge so many of the first hits, at most 100; 0: not."""
    composer: str = ""
    """A composer version, tiny-1, native, sum, slerp, text_only or image_only; by default the one of `scot status`."""
    collection: str = ""
    """Which collection; by default the service's own."""
    json: bool = False
    """Print one line of JSON."""
    service: ServicePlace = field(default_factory=ServicePlace)
    """The running service."""
    sheet: Path | None = None
    """Also save a contact sheet of the thumbnails to this PNG file."""
    show: bool = False
    """Also show the contact sheet in the terminal, if it can show images: kitty, iTerm2, WezTerm, xterm with sixel …"""


def search(config: SearchConfig) -> int:
    """Search and print the hits.

    Raises:
        ScotError: the reference cannot be read, or the service refuses or is unavailable.
    """
    if config.sheet is not None:
        check_file(config.sheet)
    if config.show and config.json:
        raise InvalidFlag("--show contradicts --json")
    if config.show:
        check_terminal()
    if not 0 <= config.rerank <= 100:
        raise InvalidFlag(f"--rerank must be 0 to 100, not {config.rerank}")
    if not 1 <= config.limit <= 1_000:
        raise InvalidFlag(f"--limit must be 1 to 1,000, not {config.limit}")
    if config.text_only and config.composer not in ("", _TEXT_ONLY):
        raise InvalidFlag(f"--text-only is the composer {_TEXT_ONLY}; it contradicts --composer {config.composer}")
    if config.group_size != 1 and not config.group_by:
        raise InvalidFlag("--group-size needs --group-by")
    edits = edits_of(config)
    references = [_reference(each) for each in config.reference]
    conditions = parse_filter(config.filter) if config.filter.strip() else None
    query: Query = {
        "image": config.image,
        "item_id": config.item_id,
        "vector": None if config.vector is None else read_vector(config.vector),
        "references": references,
        "edits": edits,
        "like": config.like,
        "dislike": config.dislike,
        "filter": conditions,
        "limit": config.limit,
        "offset": config.offset,
        "score_threshold": config.threshold,
        "diversity": config.diversity,
        "composer": _TEXT_ONLY if config.text_only else config.composer,
        "collection": config.collection,
    }
    if config.rerank:
        query["rerank"] = Rerank(config.rerank)
    if config.group_by:
        query |= {"group_by": config.group_by, "group_size": config.group_size}
    with config.service.client() as client:
        found = client.search(**query)
        ids = {hit.item_id: None for hit in found.hits} | ({} if config.item_id is None else {config.item_id: None})
        if config.json:
            print_json(result_json(found, reranking=config.rerank > 0))
        else:
            _print(config, found)
        if config.sheet is not None or config.show:
            _sheet(config, found.hits, thumbnails(client, list(ids), config.collection))
    return 0


def edits_of(config: SearchConfig) -> list[Edit]:
    """The edits, then the negative ones, with their weights. Raises InvalidFlag when their numbers do not fit."""
    texts = [*config.edit, *config.negative]
    weights = config.weight * len(texts) if len(config.weight) == 1 else config.weight or [1.0] * len(texts)
    if len(weights) != len(texts) or (config.weight and not texts):
        raise InvalidFlag(
            f"--weight needs one number, or one for each of the {len(texts)} edits and negatives, "
            f"not {len(config.weight)}"
        )
    return [
        Edit(text, weight, negative=place >= len(config.edit))
        for place, (text, weight) in enumerate(zip(texts, weights, strict=True))
    ]


def _reference(text: str) -> Reference:
    """An item as ID, or as ID=WEIGHT. An id that ends like a weight needs one behind it: ``a=1=1``."""
    item_id, equals, weight = text.rpartition("=")
    try:
        return Reference(item_id=item_id, weight=float(weight)) if equals else Reference(item_id=text)
    except ValueError:
        return Reference(item_id=text)


def result_json(found: SearchResult, *, reranking: bool = False) -> dict[str, object]:
    """A result as --json prints it; with ``reranking`` it says whether the hits are reranked."""
    return (
        {
            "composer": found.composer,
            "encoder": found.encoder,
            "text_truncated": found.text_truncated,
            "request_id": found.request_id,
            "timings": found.timings,
            "hits": [
                {"item_id": hit.item_id, "score": hit.score, "payload": hit.payload, "origin": origin_json(hit.origin)}
                for hit in found.hits
            ],
        }
        | (
            {"groups": [{"value": each.value, "item_ids": [hit.item_id for hit in each.hits]} for each in found.groups]}
            if found.groups
            else {}
        )
        | ({"reranked": found.reranked, "rerank_reason": found.rerank_reason} if reranking else {})
    )


def _print(config: SearchConfig, found: SearchResult) -> None:
    console = Console()
    console.print(hits_table(config.offset, found))
    if config.rerank and not found.reranked:
        console.print(f"The hits are not reranked ({found.rerank_reason}): they are in the order of their scores.")
    if found.text_truncated:
        console.print("An edit was longer than the input of the text encoder; its end was not used.")
    if not found.hits:
        console.print(f"No hits. {_no_hits(config)}")


def _no_hits(config: SearchConfig) -> str:
    """What may be the cause of a result without hits."""
    limits = {"--filter": config.filter.strip(), "--threshold": config.threshold is not None, "--offset": config.offset}
    if used := [flag for flag, value in limits.items() if value]:
        return f"Perhaps no item is left after {' and '.join(used)}: search without to see what there is."
    return "If the collection is empty, `scot index DIR` fills it."


def hits_table(offset: int, found: SearchResult) -> Table:
    """The hits by rank, and where they have an origin, the place of their image."""
    origins = any(hit.origin for hit in found.hits)
    groups = [str(group.value) for group in found.groups for _ in group.hits]
    columns = [*["group"] * bool(groups), "rank", "score", "item", "caption", *["image"] * origins]
    table = Table(*columns, title=Text(f"composer {found.composer}, encoder {found.encoder}"))
    for rank, hit in enumerate(found.hits, offset + 1):
        group = groups[rank - offset - 1 : rank - offset]
        cells = [*group, str(rank), f"{hit.score:.3f}", hit.item_id, str(hit.payload.get("caption", ""))]
        table.add_row(*(Text(printable(cell)) for cell in cells), *[_place(hit.origin)] * origins)
    return table


def _place(origin: Origin | None) -> Text:
    """Where the image is: its path within the source, which a terminal links to the file or the URL."""
    if origin is None:
        return Text()
    url = f"file://{quote(origin.location)}" if origin.location.startswith("/") else origin.location
    return Text(printable(origin.path), Style(link=url))


def thumbnails(client: ScotClient, ids: Sequence[str], collection: str = "") -> dict[str, Image.Image]:
    """The thumbnails of items, by id; items without one are left out."""
    found: dict[str, Image.Image] = {}
    for at in range(0, len(ids), _PICTURES_AT_ONCE):
        pictures = client.get_pictures(ids[at : at + _PICTURES_AT_ONCE], collection=collection)
        found |= {item_id: decode_image(picture.image) for item_id, picture in pictures.items()}
    return found


def _sheet(config: SearchConfig, hits: tuple[Hit, ...], images_by_id: dict[str, Image.Image]) -> None:
    """Save the contact sheet or show it, or both; say on stderr how many of its hits have no thumbnail."""
    reference = decode_image(config.image.read_bytes()) if config.image else images_by_id.get(config.item_id or "")
    blank = Image.new("RGB", (64, 64), (225, 225, 225))
    cells = [(images_by_id.get(hit.item_id, blank), f"{hit.score:.3f} {hit.item_id}", False) for hit in hits]
    edit = ", ".join([*config.edit, *(f"not {each}" for each in config.negative)]) or "(no edit)"
    sheet = contact_sheet([SheetRow(reference, edit, cells)], title="SCOT search")
    if config.sheet is not None:
        save_sheet(sheet, config.sheet)
        if not config.json:
            print(f"contact sheet: {config.sheet}")
    if config.show:
        show_image(sheet)
    if absent := sum(hit.item_id not in images_by_id for hit in hits):
        print(f"{absent} of the {len(hits)} hits have no thumbnail", file=sys.stderr)
