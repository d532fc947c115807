"""Contact sheets: each row a reference, its edit, and the images found, right answers framed."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from scot.errors import InvalidInput

_CELL, _GAP, _TEXT = 144, 10, 200
_INK, _DIM, _PAPER = (28, 28, 34), (110, 110, 120), (250, 250, 248)
_RIGHT = (30, 160, 80)
_COLUMNS = 10
"""Hits of one line; the hits of a query continue on the next."""


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One query: the reference (None for text only), the edit, and each hit with a note and whether it is right."""

    reference: Image.Image | None
    edit: str
    hits: Sequence[tuple[Image.Image, str, bool]]


def contact_sheet(rows: Sequence[SheetRow], *, title: str) -> Image.Image:
    """Draw the sheet, RGB; ``title`` is its first line."""
    columns = min(max((len(row.hits) for row in rows), default=0), _COLUMNS)
    width = _GAP + _CELL + _GAP + _TEXT + columns * (_CELL + _GAP) + _GAP
    lines_of = [max(1, math.ceil(len(row.hits) / _COLUMNS)) for row in rows]
    height = 54 + sum(lines_of) * (_CELL + 34)
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font, small, head = ImageFont.load_default(15), ImageFont.load_default(12), ImageFont.load_default(19)
    draw.text((_GAP, 14), title, fill=_INK, font=head)
    for index, row in enumerate(rows):
        y = 54 + sum(lines_of[:index]) * (_CELL + 34)
        if row.reference is not None:
            sheet.paste(_fitted(row.reference), (_GAP, y))
        x = _GAP + _CELL + _GAP
        words = textwrap.wrap(f"“{row.edit}”", 24)[:6]
        for i, text in enumerate(words):
            draw.text((x, y + _CELL / 2 - 10 * len(words) + 20 * i), text, fill=_INK, font=font)
        for place, (image, note, right) in enumerate(row.hits):
            line, column = divmod(place, _COLUMNS)
            left, top = _GAP + _CELL + _GAP + _TEXT + column * (_CELL + _GAP), y + line * (_CELL + 34)
            sheet.paste(_fitted(image), (left, top))
            if right:
                draw.rectangle((left - 4, top - 4, left + _CELL + 3, top + _CELL + 3), outline=_RIGHT, width=4)
            draw.text((left, top + _CELL + 5), note[:22], fill=_RIGHT if right else _DIM, font=small)
    return sheet


def save_sheet(sheet: Image.Image, file: Path) -> None:
    """Save as the PNG, JPEG or WebP that the name says. Raises InvalidInput when the file cannot be written."""
    check_file(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(file)
    except OSError as error:
        raise InvalidInput(f"the contact sheet {file} cannot be written: {error.strerror or error}") from error


def check_file(file: Path) -> None:
    """Raise InvalidInput when the file of a contact sheet cannot be one, before the work for it begins."""
    if file.is_dir():
        raise InvalidInput(f"the contact sheet {file} is a folder; name a PNG file in it")
    if file.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise InvalidInput(f"the contact sheet {file} must end with .png, .jpg or .webp")
    folder = next(parent for parent in file.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise InvalidInput(f"the contact sheet {file} cannot be written: {folder} is no folder")
    if not os.access(folder, os.W_OK) and not os.access(file, os.W_OK):
        raise InvalidInput(f"the contact sheet {file} cannot be written: no permission")


def _fitted(image: Image.Image) -> Image.Image:
    thumbnail = image.convert("RGB").copy()
    thumbnail.thumbnail((_CELL, _CELL), Image.Resampling.LANCZOS)
    cell = Image.new("RGB", (_CELL, _CELL), (238, 238, 236))
    cell.paste(thumbnail, ((_CELL - thumbnail.width) // 2, (_CELL - thumbnail.height) // 2))
    return cell
