"""Patterns of shards: braces, ``shard-{000..099}.tar``, and stars, ``train-*.parquet``, in a path or a URL."""

from __future__ import annotations

import glob
import itertools
import re
from pathlib import Path

from scot.data.filesystems import is_url
from scot.data.places import Place, open_place
from scot.data.read_ahead import read_ahead
from scot.data.remote_errors import reaching
from scot.errors import InvalidInput, NotFound

_MAX_SHARDS = 100_000
_RANGE = re.compile(r"\{(-?\d{1,18})\.\.(-?\d{1,18})")
_SUFFIXES = (".tar", ".parquet", ".arrow")


def is_pattern(source: str) -> bool:
    """Whether ``source`` is a pattern of tars or Parquet files, and not an existing path."""
    if not source.endswith(_SUFFIXES) or not ("{" in source or "*" in source):
        return False
    return is_url(source) or not Path(source).exists()


def expand(pattern: str) -> list[Place]:
    """The shards of a pattern: braces in their order, what a star stands for by name. Braces need no listing.

    Raises:
        InvalidInput: the braces do not balance, or the pattern expands to too many shards.
        NotFound: a shard does not exist.
    """
    names = _braces(pattern)
    if "*" in pattern:
        shards = [found for name in names for found in _stars(name)]
        if not shards:
            raise NotFound(f"there is nothing like {pattern!r}")
        return shards
    shards = [open_place(name) for name in names]
    there = read_ahead(shards, _is_file) if is_url(pattern) else map(_is_file, shards)
    absent = [shard.name for shard, found in zip(shards, there, strict=True) if not found]
    if absent:
        raise NotFound(f"{len(absent):,} of the {len(shards):,} shards of {pattern!r} do not exist, first {absent[0]}")
    return shards


def _is_file(place: Place) -> bool:
    return place.is_file()


def _braces(pattern: str) -> list[str]:
    if "{" not in pattern:
        return [pattern]
    import braceexpand  # here: nothing but braces needs it

    too_many = InvalidInput(f"{pattern!r} expands to more than {_MAX_SHARDS:,} shards")
    if any(abs(int(last) - int(first)) > _MAX_SHARDS for first, last in _RANGE.findall(pattern)):
        raise too_many  # braceexpand would build the whole range before its first name
    try:
        names = list(itertools.islice(braceexpand.braceexpand(pattern), _MAX_SHARDS + 1))
    except ValueError:
        raise InvalidInput(f"the braces of {pattern!r} do not balance") from None
    if len(names) > _MAX_SHARDS:
        raise too_many
    return names


def _stars(pattern: str) -> list[Place]:
    if not is_url(pattern):
        return [Path(name) for name in sorted(glob.glob(pattern))]  # noqa: PTH207 - it takes absolute patterns too
    place = open_place(pattern)
    if isinstance(place, Path):
        return _stars(str(place))
    with reaching(pattern, done="listed"):
        keys = sorted(place.fs.glob(place.key))
    protocol = pattern.partition("://")[0]
    return [open_place(f"{protocol}://{key.partition('://')[2] or key}") for key in keys]
