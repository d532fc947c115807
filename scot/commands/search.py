"""``scot search``: one composed query to a running service; prints a table and can save a contact sheet."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table

from scot import flags
from scot.client import Hit
from scot.commands.service import ServicePlace
from scot.data.images import decode_image
from scot.data.records import Refusals
from scot.errors import InvalidInput
from scot.evaluation.contact_sheet import SheetRow, check_file, contact_sheet, save_sheet


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
    """The folders of captioned images that were indexed, for the contact sheet."""


def search(config: SearchConfig) -> int:
    """Search and print the hits.

    Raises:
        ScotError: the reference cannot be read, or the service refuses or is unavailable.
    """
    if config.sheet is not None and not config.images:
        raise InvalidInput("--sheet needs --images: the folders of the indexed images")
    if config.sheet is not None:
        check_file(config.sheet)
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
    console = Console()
    table = Table("rank", "score", "item", "caption", title=f"composer {found.composer}, encoder {found.encoder}")
    for rank, hit in enumerate(found.hits, 1):
        table.add_row(str(rank), f"{hit.score:.3f}", hit.item_id, str(hit.payload.get("caption", "")))
    console.print(table)
    if found.text_truncated:
        console.print("An edit was longer than the input of the text encoder; its end was not used.")
    if not found.hits:
        console.print("No hits. If the collection is empty, `scot index DIR` fills it.")
    if config.sheet is not None:
        _save_sheet(config, config.sheet, found.hits)
        console.print(f"contact sheet: {config.sheet}")
    return 0


def _save_sheet(config: SearchConfig, file: Path, hits: tuple[Hit, ...]) -> None:
    wanted = {hit.item_id for hit in hits} | {config.item_id or ""}
    images_by_id = find_images(config.images, wanted)
    reference = decode_image(config.image.read_bytes()) if config.image else images_by_id.get(config.item_id or "")
    blank = Image.new("RGB", (64, 64), (225, 225, 225))
    cells = [(images_by_id.get(hit.item_id, blank), f"{hit.score:.3f} {hit.item_id}", False) for hit in hits]
    edit = ", ".join(config.edit) or "(no edit)"
    save_sheet(contact_sheet([SheetRow(reference, edit, cells)], title="SCOT search"), file)


def find_images(folders: list[Path], wanted: set[str]) -> dict[str, Image.Image]:
    """The wanted images of captioned folders, by id; missing ones are left out."""
    from scot.data.captioned import read_captioned  # needs the extra "data"

    return {
        record.image_id: decode_image(record.read())
        for folder in folders
        for record in read_captioned(folder, Refusals(), captions="optional")
        if record.image_id in wanted
    }
