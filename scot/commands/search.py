"""``scot search``: one composed query to a running service; prints a table and can save a contact sheet."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from scot import flags
from scot.client import Hit, Origin, ScotClient
from scot.commands.service import ServicePlace
from scot.data.images import decode_image
from scot.data.records import Refusals
from scot.errors import InvalidInput
from scot.evaluation.contact_sheet import SheetRow, check_file, contact_sheet, save_sheet

_PICTURES_AT_ONCE = 64  # the limit of one GetPictures request


@dataclass(frozen=True)
class SearchConfig:
    """Find the images that are like a reference, changed as the edits say.

    Example: scot search --image shirt.png --edit "make it blue" "with long sleeves" --limit 5
    """

    image: Path | None = None
    """The reference image."""
    item_id: str | None = None
    """Alternatively, an item of the collection as the reference."""
    edit: flags.Phrases = field(default_factory=list)
    """What to change; several edits apply in order."""
    limit: int = 10
    """Number of hits, 1 to 1,000."""
    composer: str = ""
    """A composer version, tiny-1, sum, slerp, text_only or image_only; by default the one that `scot status` shows."""
    collection: str = ""
    """Which collection; by default the service's own."""
    service: ServicePlace = field(default_factory=ServicePlace)
    """The running service."""
    sheet: Path | None = None
    """Also save a contact sheet to this PNG file."""
    images: list[Path] = field(default_factory=list)
    """Folders of indexed images, for hits of the contact sheet that have no thumbnail."""


def search(config: SearchConfig) -> int:
    """Search and print the hits.

    Raises:
        ScotError: the reference cannot be read, or the service refuses or is unavailable.
    """
    if config.sheet is not None:
        check_file(config.sheet)
    if config.sheet is not None and config.images:
        importlib.import_module("scot.data.captioned")  # a missing package is reported before anything is sent
    if not 1 <= config.limit <= 1_000:
        raise InvalidInput(f"--limit must be 1 to 1,000, not {config.limit}")
    with config.service.client() as client:
        found = client.search(
            image=config.image,
            item_id=config.item_id,
            edits=config.edit,
            limit=config.limit,
            composer=config.composer,
            collection=config.collection,
        )
        ids = {hit.item_id: None for hit in found.hits} | ({} if config.item_id is None else {config.item_id: None})
        images = {} if config.sheet is None else _images(config, client, list(ids))
    console = Console()
    origins = any(hit.origin for hit in found.hits)
    columns = ["rank", "score", "item", "caption", *["image"] * origins]
    table = Table(*columns, title=f"composer {found.composer}, encoder {found.encoder}")
    for rank, hit in enumerate(found.hits, 1):
        cells = [str(rank), f"{hit.score:.3f}", hit.item_id, str(hit.payload.get("caption", ""))]
        table.add_row(*map(Text, cells), *[_place(hit.origin)] * origins)
    console.print(table)
    if found.text_truncated:
        console.print("An edit was longer than the input of the text encoder; its end was not used.")
    if not found.hits:
        console.print("No hits. If the collection is empty, `scot index DIR` fills it.")
    if config.sheet is not None:
        _save_sheet(config, config.sheet, found.hits, images)
        console.print(f"contact sheet: {config.sheet}")
        if absent := sum(hit.item_id not in images for hit in found.hits):
            console.print(f"{absent} of its {len(found.hits)} hits have no thumbnail.")
    return 0


def _place(origin: Origin | None) -> Text:
    """Where the image is: its path within the source, which a terminal links to the file or the URL."""
    if origin is None:
        return Text()
    url = origin.path if "://" in origin.path else f"{origin.source.rstrip('/')}/{origin.path}"
    if url.startswith("/"):
        url = f"file://{quote(url)}"
    return Text(origin.path, Style(link=url))


def _images(config: SearchConfig, client: ScotClient, ids: list[str]) -> dict[str, Image.Image]:
    """The thumbnails of items by id, and from ``--images`` the images of those without one."""
    found: dict[str, Image.Image] = {}
    for at in range(0, len(ids), _PICTURES_AT_ONCE):
        pictures = client.get_pictures(ids[at : at + _PICTURES_AT_ONCE], collection=config.collection)
        found |= {item_id: decode_image(picture.image) for item_id, picture in pictures.items()}
    return found | find_images(config.images, {item_id for item_id in ids if item_id not in found})


def _save_sheet(config: SearchConfig, file: Path, hits: tuple[Hit, ...], images_by_id: dict[str, Image.Image]) -> None:
    reference = decode_image(config.image.read_bytes()) if config.image else images_by_id.get(config.item_id or "")
    blank = Image.new("RGB", (64, 64), (225, 225, 225))
    cells = [(images_by_id.get(hit.item_id, blank), f"{hit.score:.3f} {hit.item_id}", False) for hit in hits]
    edit = ", ".join(config.edit) or "(no edit)"
    save_sheet(contact_sheet([SheetRow(reference, edit, cells)], title="SCOT search"), file)


def find_images(folders: list[Path], wanted: set[str]) -> dict[str, Image.Image]:
    """The wanted images of captioned folders, by id; missing ones are left out."""
    if not (folders and wanted):
        return {}
    from scot.data.captioned import read_captioned  # needs the extra "data"

    return {
        record.image_id: decode_image(record.read())
        for folder in folders
        for record in read_captioned(folder, Refusals(), captions="optional")
        if record.image_id in wanted
    }
