"""Read and check annotation and ranking files; an error names the first three offenders."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scot.data.places import Place
from scot.errors import InvalidFlag, InvalidInput, NotFound
from scot.evaluation.base import Query

_NAMED = 3


def some(offenders: Iterable[object]) -> str:
    """The first three, and how many more."""
    names = [str(each) for each in offenders]
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def find(folder: Path, name: str, places: Sequence[str]) -> Path:
    """The annotation file ``name``, in ``folder`` or where the authors' layout has it.

    Raises:
        NotFound: neither place has it.
    """
    for place in ("", *places):
        if (file := folder / place / name).is_file():
            return file
    raise NotFound(f"{folder} lacks {name} (looked in {', '.join(['it', *places])}): download the annotations again")


def read_json(file: Path) -> Any:
    """Parse a JSON file; no object may have a key twice.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is not valid JSON, or a key occurs twice.
    """
    twice: list[str] = []

    def checked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            twice.extend(repeated([key for key, _ in pairs]))
        return made

    try:
        content = json.loads(file.read_bytes(), object_pairs_hook=checked)
    except FileNotFoundError:
        raise NotFound(f"there is no file {file}") from None
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidInput(f"{file} is not valid JSON{where}: was its download or writing cut off?") from None
    if twice:
        raise InvalidInput(f"{file} has {len(twice):,} keys twice: {some(twice)}")
    return content


def read_entries(file: Path, fields: Mapping[str, type | tuple[type, ...]]) -> list[dict[str, Any]]:
    """A JSON list of objects that all have these fields.

    Raises:
        NotFound, InvalidInput: as :func:`read_json`; or entries lack a field, the first three are named.
    """
    content = read_json(file)
    if not isinstance(content, list) or not content:
        raise InvalidInput(f"{file} is not a JSON list of queries")
    broken = [
        f"entry {number} ({', '.join(lacking)})"
        for number, entry in enumerate(content)
        if (lacking := _lacking(entry, fields))
    ]
    if broken:
        raise InvalidInput(f"{file} has {len(broken):,} entries with missing fields: {some(broken)}")
    return content


def read_names(file: Path) -> list[str]:
    """A JSON list of names, none of them twice. Raises as :func:`read_json`."""
    content = read_json(file)
    if not isinstance(content, list) or not content or not all(isinstance(name, str) for name in content):
        raise InvalidInput(f"{file} is not a JSON list of image names")
    if again := repeated(content):
        raise InvalidInput(f"{file} names {len(again):,} pictures twice: {some(again)}")
    return content


def read_paths(file: Path) -> dict[str, str]:
    """A JSON object of image names and their paths. Raises as :func:`read_json`."""
    content = read_json(file)
    if not isinstance(content, dict) or not content or not all(isinstance(path, str) for path in content.values()):
        raise InvalidInput(f"{file} is not a JSON object of image names and paths")
    return content


def repeated(names: Iterable[str]) -> list[str]:
    """The names that occur more than once, each once, in order."""
    return [name for name, count in Counter(names).items() if count > 1]


def check_queries(file: Place, queries: Sequence[Query], gallery: Iterable[str] | None) -> None:
    """Check that query ids are distinct, and that the gallery, if known, has every image they name.

    Raises:
        InvalidInput: not so; the message names the first three.
    """
    if again := repeated(query.query_id for query in queries):
        raise InvalidInput(f"{file} has {len(again):,} query ids twice: {some(again)}")
    if gallery is None:
        return
    known = set(gallery)
    unknown = [f"{name} (query {query.query_id})" for query in queries for name in sorted(query.names() - known)]
    if unknown:
        raise InvalidInput(f"{file} names {len(unknown):,} pictures that its gallery lacks: {some(unknown)}")


def check_split(benchmark: str, split: str, known: Sequence[str]) -> None:
    """Check that the benchmark has this split. Raises InvalidInput."""
    if split not in known:
        raise InvalidFlag(f"--split of {benchmark} must be {' or '.join(known)}, not {split!r}")


def _lacking(entry: object, fields: Mapping[str, type | tuple[type, ...]]) -> list[str]:
    if not isinstance(entry, dict):
        return ["not an object"]
    return [name for name, kind in fields.items() if not isinstance(entry.get(name), kind)]
