"""Ranking files: a query id to its ranked names, in each benchmark's own submission format.

CIRR: two files, ``{"version": "rc2", "metric": "recall" | "recall_subset", "<pairid>": [names]}``; the drawn worlds
alike, without a version. FashionIQ and GeneCIS: ``{"<category or task>": {"<index>": [names]}}``, by the order of the
queries. CIRCO: ``{"<id>": [integer ids]}``. PinPoint: ``{"<id>": {"retrieved_items": [names]}}``. i-CIR's authors
have none: ``{"<object>": {"<line of the query, from 0>": [paths]}}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scot.data.storage import Folder
from scot.errors import InvalidInput
from scot.evaluation.annotations import read_json, repeated, some
from scot.evaluation.base import SUBSET, WHOLE, Benchmark, Lists, Part, Query, Rankings

_HEADS = ("version", "metric")
VERSION = "rc2"
"""Of CIRR's annotations."""


def read_rankings(files: Iterable[Path], benchmark: Benchmark) -> Rankings:
    """Read ranking files and check them against the benchmark's queries and galleries.

    If the reference does not compete, it is removed from the rankings.

    Raises:
        NotFound, InvalidInput: a file cannot be read; queries or names are unknown, missing or repeated.
    """
    read: dict[str, Lists] = {}
    for file in files:
        content = read_json(file)
        if not isinstance(content, dict):
            raise InvalidInput(f"{file} is not a JSON object of rankings")
        kind = _kind(file, content, benchmark)
        if kind in read:
            raise InvalidInput(f"{file} is a second file of {kind}")
        lists = {name: value for name, value in content.items() if name not in _HEADS}
        if benchmark.nested:
            _check_names("parts", file, lists, [part.name for part in benchmark.parts], benchmark)
            parts = lists
        else:
            parts = {"": lists}
        read[kind] = {
            part.name: _checked(
                f"{file}{f' ({part.name})' if part.name else ''}", parts[part.name], part, kind, benchmark
            )
            for part in benchmark.parts
        }
    return read


def write_rankings(folder: Path, benchmark: Benchmark, rankings: Rankings) -> list[Path]:
    """Write a benchmark's ranking files, atomically; returns their paths."""
    return [write_ranking(folder / file_name(benchmark, kind), benchmark, kind, rankings[kind]) for kind in rankings]


def write_ranking(file: Path, benchmark: Benchmark, kind: str, lists: Lists) -> Path:
    """Write one ranking file."""

    def names(ranking: Sequence[str]) -> list[str | int] | dict[str, list[str | int]]:
        found = [int(name) if benchmark.integers and name.isdigit() else name for name in ranking]
        return {benchmark.list_key: found} if benchmark.list_key else found

    parts = {
        name: {query_id: names(ranking) for query_id, ranking in queries.items()} for name, queries in lists.items()
    }
    content: dict[str, Any] = {**parts} if benchmark.nested else {**parts[""]}
    if benchmark.subset_depth:
        heads = {"version": VERSION, "metric": kind} if benchmark.name == "cirr" else {"metric": kind}
        content = {**heads, **content}
    Folder(file.parent).write(file.name, json.dumps(content, separators=(",", ":")).encode())
    return file


def file_name(benchmark: Benchmark, kind: str) -> str:
    """The name of a benchmark's ranking file."""
    return f"{benchmark.name}-{benchmark.split}{f'-{kind}' if benchmark.subset_depth else ''}.json"


def _kind(file: Path, content: Mapping[str, Any], benchmark: Benchmark) -> str:
    kind = content.get("metric", WHOLE)
    known = (WHOLE, SUBSET) if benchmark.subset_depth else (WHOLE,)
    if kind not in known:
        raise InvalidInput(f'"metric" of {file} must be {" or ".join(known)}, not {kind!r}')
    return str(kind)


def _check_names(what: str, file: object, found: Iterable[str], wanted: Sequence[str], benchmark: Benchmark) -> None:
    have, known = dict.fromkeys(found), dict.fromkeys(wanted)
    split = f"{benchmark.name} {benchmark.split}"
    if unknown := [name for name in have if name not in known]:
        raise InvalidInput(f"{file} ranks {len(unknown):,} {what} that {split} does not have: {some(unknown)}")
    if missing := [name for name in known if name not in have]:
        raise InvalidInput(f"{file} lacks {len(missing):,} {what} of {split}: {some(missing)}")


def _checked(where: str, lists: object, part: Part, kind: str, benchmark: Benchmark) -> Mapping[str, tuple[str, ...]]:
    if not isinstance(lists, dict):
        raise InvalidInput(f"{where} is not an object of query ids and rankings")
    _check_names("queries", where, lists, [query.query_id for query in part.queries], benchmark)
    gallery = None if part.gallery is None else frozenset(part.gallery)
    checked: dict[str, tuple[str, ...]] = {}
    strange: list[str] = []
    twice: list[str] = []
    unknown: list[str] = []
    short: list[str] = []
    for query in part.queries:
        ranking = lists[query.query_id]
        if benchmark.list_key and isinstance(ranking, dict):
            ranking = ranking.get(benchmark.list_key)
        if not isinstance(ranking, list) or not all(_is_name(name) for name in ranking):
            strange.append(query.query_id)
            continue
        aliases = benchmark.aliases.get(f"{part.name}/{query.query_id}", {})
        names = [aliases.get(str(name), str(name)) for name in ranking]
        twice += (f"{name} (query {query.query_id})" for name in repeated(names))
        unknown += (f"{name} (query {query.query_id})" for name in _unknown(names, query, kind, gallery, benchmark))
        if benchmark.drop_reference or kind == SUBSET:
            names = [name for name in names if name != query.reference]
        needed = needed_names(query, part, kind, benchmark)
        if len(names) < needed:
            short.append(f"{len(names)} of {needed} (query {query.query_id})")
        checked[query.query_id] = tuple(names)
    for offenders, problem in (
        (strange, "rankings that are not lists of names"),
        (twice, "names twice in one ranking"),
        (unknown, "names that are not in the gallery"),
        (short, "rankings with names missing"),
    ):
        if offenders:
            raise InvalidInput(f"{where} has {len(offenders):,} {problem}: {some(offenders)}")
    return checked


def needed_names(query: Query, part: Part, kind: str, benchmark: Benchmark) -> int:
    """The number of names a ranking must have: as many as the metrics read, or all of a smaller gallery."""
    if kind == SUBSET:
        return min(benchmark.subset_depth, len(query.subset))
    pool = query.candidates or part.gallery
    if pool is None:
        return benchmark.depth
    competing = len(pool) - (benchmark.drop_reference and not query.candidates)
    return min(benchmark.depth, competing)


def _unknown(
    names: Sequence[str], query: Query, kind: str, gallery: frozenset[str] | None, benchmark: Benchmark
) -> Iterator[str]:
    if kind == SUBSET:
        known: frozenset[str] | None = frozenset((*query.subset, query.reference))
    else:
        known = frozenset(query.candidates) if query.candidates else gallery
    for name in names:
        if name not in known if known is not None else benchmark.integers and not name.isdigit():
            yield name


def _is_name(name: object) -> bool:
    return isinstance(name, str | int) and not isinstance(name, bool)
