"""Queries on disk: ``queries.json`` beside a drawn gallery."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from scot.data.places import Place
from scot.errors import InvalidInput, NotFound
from scot.worlds.gallery import Gallery, Query

QUERIES = "queries.json"


def write_queries(folder: Path, gallery: Gallery) -> None:
    """Write ``queries.json`` beside a drawn gallery."""
    queries = [{**asdict(query), "targets": sorted(query.targets)} for query in gallery.queries]
    (folder / QUERIES).write_text(json.dumps({"world": gallery.world, "queries": queries}, indent=1), encoding="utf-8")


def read_queries(folder: Place) -> tuple[str, tuple[Query, ...]]:
    """The world's name and the queries of a drawn gallery.

    Raises:
        NotFound: the folder has no queries.
        InvalidInput: they cannot be read.
    """
    try:
        raw = json.loads((folder / QUERIES).read_bytes())
        queries = [
            Query(**{**query, "targets": frozenset(query["targets"]), "subset": tuple(query["subset"])})
            for query in raw["queries"]
        ]
        return str(raw["world"]), tuple(queries)
    except OSError:
        raise NotFound(
            f"{folder} has no {QUERIES}: draw a gallery with `scot draw --split eval --output {folder}`"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{folder / QUERIES} is damaged: {error}") from error
