"""A folder of image files, with a table of captions beside them or with none.

With a table (:mod:`scot.data.tables`), its rows are the records; image paths are relative to the folder. Without an id
column the path is the id, and all rows of one image are its several captions. Without a table, every image file below
the folder is a record, its path is its id, and a ``.txt`` beside it is its caption.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

from scot.data import paths
from scot.data.columns import Table, has_images
from scot.data.places import Place, RemotePath, below
from scot.data.read_ahead import read_ahead
from scot.data.records import RawRecord, Refusals, read_file
from scot.data.saved_dataset import data_files, split_folder
from scot.data.suffixes import TABLE_SUFFIXES
from scot.data.table_records import TableReader, image_path
from scot.data.tables import column_names, open_table
from scot.errors import ImageRefused, InvalidInput

_MAX_TEXT_BYTES = 2**20
_UNREADABLE_ROWS = ("open_quote", "too_many_cells", "broken_record")
"""Reasons for which a row is refused before it is known which image it names."""
_PART = re.compile(r"(.+)-\d{5}-of-\d{5}\b.*\.(?:parquet|arrow)")  # how Hugging Face names the parts of one table


def read_images(root: Place, refusals: Refusals, *, texts: bool = True) -> Iterator[RawRecord]:
    """A record for every image file below ``root``; with ``texts``, its captions are looked for."""

    def record(found: tuple[str, Place]) -> RawRecord:
        path, image = found
        captions = _text_beside(root, path, refusals) if texts else ()
        return RawRecord(paths.normal_path(path) if "\\" not in path else path, image, captions, {}, path)

    images = paths.walk(root, refusals)
    return read_ahead(images, record) if texts and isinstance(root, RemotePath) else map(record, images)


def _text_beside(root: Place, path: str, refusals: Refusals) -> tuple[str, ...]:
    try:
        text = read_file(root / f"{path.removesuffix(paths.suffix_of(path, lower=False))}.txt", _MAX_TEXT_BYTES)
        return (text.decode("utf-8-sig"),)
    except UnicodeDecodeError:
        refusals.add("broken_caption", path)
    except ImageRefused as error:
        if error.reason != "missing":
            refusals.add("broken_caption", path)
    return ()


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies in a folder: the number of images and of text files, and what is skipped."""

    images: int
    texts: int
    others: Counter[str]
    skipped: Refusals


def survey(root: Place) -> Survey:
    """Count the files below a folder; none is opened."""
    others: Counter[str] = Counter()
    skipped = Refusals()
    images = sum(1 for _ in paths.walk(root, skipped, others))
    return Survey(images, others.pop(".txt", 0), others, skipped)


def find_table(folder: Place, *, captions: str) -> tuple[Table | None, str]:
    """The table of a folder, and what to say of tables that are not read.

    ``captions.*`` comes before ``metadata.*``, and these before the files of a data set that ``datasets`` has saved, or
    the only other table that names images of the folder.

    Raises:
        InvalidInput: several tables of one rank, the one to read cannot be read, or a data set of several splits.
    """
    tables = [folder / name for name in paths.names(folder, TABLE_SUFFIXES)]
    ranks = [[file for file in tables if file.stem.lower() == stem] for stem in ("captions", "metadata")]
    ranks[1] = [file for file in ranks[1] if has_images(column_names(file))]
    if saved := data_files(folder, tables):
        ranks.append(saved)
    else:
        others = [file for file in tables if not any(file in rank for rank in ranks)]
        ranks.append([file for file in others if _names_images(file, folder)])
    chosen = next((rank for rank in ranks if rank), None)
    if chosen is None:
        parts = [file for file in _parquet_files(folder / "data") if _names_images(file, folder)]
        if not parts and (split := split_folder(folder)) is not None:
            return find_table(split, captions=captions)
        if not parts:
            return None, _not_read([file.name for file in tables])
        chosen = parts
    if len(chosen) > 1 and not _parts_of_one(chosen):
        listed = ", ".join(below(file, folder) for file in chosen)
        raise InvalidInput(f"{str(folder)!r} has several tables ({listed}): name the one to read")
    table = open_table(chosen, captions=captions)
    return table, _not_read([file.name for file in tables if file not in chosen])


def read_folder(table: Table, images: Place, captions: str, refusals: Refusals) -> Iterator[RawRecord]:
    """The records of the table of a folder, then the image files below the folder that the table does not name.

    These are records without captions if captions are optional and every row could be read; else they are counted as
    ``not_in_table``. Subfolders with a table of their own are left out, and all files beside a table that holds the
    images itself. At a URL they are not counted: that would list every file for a number.
    """
    reader, before = TableReader(table, images, refusals), refusals.counts.copy()
    yield from reader.records()
    if table.embedded or (captions == "required" and isinstance(images, RemotePath)):
        return
    without_captions = captions == "optional" and not refusals.since(before, _UNREADABLE_ROWS)

    @cache
    def has_table(folder: str) -> bool:
        """Whether a subfolder or one above it has a table of captions."""
        if not folder:
            return False
        stems = {PurePosixPath(name).stem.lower() for name in paths.names(images / folder, TABLE_SUFFIXES)}
        return bool(stems & {"captions", "metadata"}) or has_table(folder.rpartition("/")[0])

    skipped = refusals if captions == "optional" else Refusals(keep=0)
    for path, image in paths.walk(images, skipped, known=reader.named):
        if has_table(path.rpartition("/")[0]):
            continue
        if without_captions:
            yield RawRecord(paths.normal_path(path), image, (), {}, path, f"not in {table.name}")
        else:
            refusals.add("not_in_table", path)


def _names_images(file: Place, folder: Place) -> bool:
    """Whether a table has an image column and one of its first rows has an image."""
    if not has_images(column_names(file)):
        return False
    try:
        table = open_table([file], captions="optional")
    except InvalidInput as error:
        return "twice" in str(error) or "mean the same" in str(error)
    cells = [cells.get(table.columns.image) for cells in table.example()]
    return any(not isinstance(cell, str) or image_path(folder, cell)[1] for cell in cells if cell)


def _parquet_files(folder: Place) -> list[Place]:
    return [folder / name for name in paths.names(folder, (".parquet",))] if folder.is_dir() else []


def _parts_of_one(files: list[Place]) -> bool:
    matches = [_PART.fullmatch(file.name) for file in files]
    return len({match[1] if match else file.name for match, file in zip(matches, files, strict=True)}) == 1


def _not_read(names: list[str]) -> str:
    return f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''} not read" if names else ""
