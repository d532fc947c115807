"""Folders that ``save_to_disk`` of Hugging Face's ``datasets`` has written, read without that library.

A ``Dataset`` is a folder of Arrow streams, which its ``state.json`` lists: other ``*.arrow`` files in it are caches. A
``DatasetDict`` is a folder of such folders, which its ``dataset_dict.json`` names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from scot.data import paths
from scot.data.arrow_tables import ARROW
from scot.data.places import Place
from scot.errors import InvalidInput

_STATE, _SPLITS = "state.json", "dataset_dict.json"


def data_files(folder: Place, tables: Sequence[Place]) -> list[Place]:
    """The Arrow files of the ``Dataset`` that a folder is, among the tables in it; none if it is no such folder.

    Raises:
        InvalidInput: its state is damaged, or names a file that is not there.
    """
    if not any(file.suffix.lower() == ARROW for file in tables):
        return []
    state = _json(folder / _STATE)
    if state is None:
        return []
    try:
        named = {str(each["filename"]) for each in state["_data_files"]}
    except (KeyError, TypeError):
        raise InvalidInput(f"{folder / _STATE} is damaged: save the data set again") from None
    if missing := sorted(named - {file.name for file in tables}):
        raise InvalidInput(
            f"{folder} lacks {', '.join(missing[:3])}, which its {_STATE} names: copy the data set again"
        )
    return [file for file in tables if file.name in named]


def split_folder(folder: Place) -> Place | None:
    """The folder of the only split of a ``DatasetDict``; None if the folder is none.

    Raises:
        InvalidInput: it has several splits, or its list of them is damaged.
    """
    if _SPLITS not in paths.names(folder, (".json",)):
        return None
    splits = (_json(folder / _SPLITS) or {}).get("splits")
    if not isinstance(splits, list) or not splits or not all(isinstance(each, str) for each in splits):
        raise InvalidInput(f"{folder / _SPLITS} is damaged: save the data set again")
    if len(splits) > 1:
        raise InvalidInput(
            f"{str(folder)!r} has the splits {', '.join(splits)}: name one of them, {folder / splits[0]}"
        )
    return folder / str(splits[0])


def _json(file: Place) -> dict[str, Any] | None:
    """The object in a file; None if there is no file, nothing if it is no object."""
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
