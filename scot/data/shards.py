"""A folder of Parquet shards with a manifest: the layout of triplets and embedding caches.

``_manifest.json`` names the valid shards with their rows and sha256. It is written last and atomically: until then a
reader sees the earlier content. Shard names contain a hash of their content, so a rewrite never changes a shard in use.
Folders are local or any URL that fsspec opens (:mod:`scot.data.places`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scot.data.storage import Folder
from scot.errors import InvalidInput, NotFound

MANIFEST = "_manifest.json"


@dataclass(frozen=True, slots=True)
class Shard:
    """One Parquet file of a folder: its name, its rows and the sha256 of its bytes."""

    name: str
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of a folder of shards. ``rejected`` counts rejected rows by reason; ``extra`` depends on the kind."""

    kind: str
    count: int
    rejected: Mapping[str, int]
    shards: tuple[Shard, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """A hash of the content: equal shards have equal hashes."""
        return hashlib.sha256("\n".join(shard.sha256 for shard in self.shards).encode()).hexdigest()[:16]


def write_shards(
    folder: str | Path,
    kind: str,
    tables: Iterable[pa.Table],
    *,
    shard_size: int,
    rejected: Mapping[str, int] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Manifest:
    """Write a stream of tables as shards of ``shard_size`` rows (the last two share the rest), then the manifest.

    ``rejected`` and ``extra`` are read after the last table, so a generator may still be counting while it yields.
    What the folder held before stays readable until the manifest is renamed into place, and is deleted after that.

    Raises:
        InvalidInput: ``shard_size`` is not positive.
    """
    if shard_size < 1:
        raise InvalidInput(f"shard_size must be at least 1, not {shard_size}")
    target = Folder(folder)
    shards = [write_shard(target, kind, n, table) for n, table in enumerate(_even(tables, shard_size))]
    return publish(target, kind, shards, rejected=rejected, extra=extra)


def write_shard(
    target: Folder, kind: str, number: int, table: pa.Table, metadata: Mapping[bytes, bytes] | None = None
) -> Shard:
    """Write one shard of a folder; equal tables have equal bytes and names. It is valid once a manifest names it.

    Raises:
        Unavailable: the disk is full, or the folder cannot be written.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
    data = sink.getvalue().to_pybytes()
    shard = shard_of(kind, number, table.num_rows, data)
    target.write(shard.name, data)
    return shard


def shard_of(kind: str, number: int, rows: int, data: bytes) -> Shard:
    """The name and the hash of a shard with these bytes."""
    digest = hashlib.sha256(data).hexdigest()
    return Shard(f"{kind}-{number:05d}-{digest[:8]}.parquet", rows, digest)


def publish(
    target: Folder,
    kind: str,
    shards: Sequence[Shard],
    *,
    rejected: Mapping[str, int] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Manifest:
    """Write the manifest of a folder's shards, and delete those of its earlier content."""
    count = sum(shard.rows for shard in shards)
    reasons = {reason: number for reason, number in sorted((rejected or {}).items()) if number}
    manifest = Manifest(kind, count, reasons, tuple(shards), dict(extra or {}))
    target.write(MANIFEST, json.dumps(asdict(manifest), indent=1).encode())
    valid = {shard.name for shard in shards}
    for name in target.names():
        if name.startswith(f"{kind}-") and name.endswith(".parquet") and name not in valid:
            target.remove(name)
    return manifest


def read_manifest(folder: str | Path, kind: str) -> Manifest:
    """The manifest of a folder of ``kind``.

    Raises:
        NotFound: there is no such folder.
        InvalidInput: the manifest is missing (its writer did not finish), damaged, or of another kind.
    """
    source = Folder(folder)
    if not source.exists():
        raise NotFound(f"there is no folder {source.name}")
    try:
        raw = json.loads(source.read(MANIFEST))
        shards = tuple(Shard(str(s["name"]), int(s["rows"]), str(s["sha256"])) for s in raw["shards"])
        manifest = Manifest(str(raw["kind"]), int(raw["count"]), dict(raw["rejected"]), shards, dict(raw["extra"]))
    except FileNotFoundError:
        raise InvalidInput(f"{source.name} has no {MANIFEST}: the run that writes it has not finished") from None
    except (ValueError, KeyError, TypeError):
        raise InvalidInput(f"{source.name}/{MANIFEST} is damaged: write the folder again") from None
    if manifest.kind != kind:
        raise InvalidInput(f"{source.name} holds {manifest.kind}, not {kind}")
    return manifest


def read_shards(
    folder: str | Path, manifest: Manifest, schema: pa.Schema, *, optional: Collection[str] = ()
) -> Iterator[pa.Table]:
    """The tables of the shards that the manifest names, in order, each checked against its sha256 and ``schema``.

    A shard may lack the ``optional`` columns: they are null then.

    Raises:
        InvalidInput: a shard is missing, damaged or has other columns.
    """
    source = Folder(folder)
    for shard in manifest.shards:
        try:
            data = source.read(shard.name)
        except FileNotFoundError:
            raise InvalidInput(f"{source.name} lacks its shard {shard.name}: write the folder again") from None
        if hashlib.sha256(data).hexdigest() != shard.sha256:
            raise InvalidInput(f"{source.name}/{shard.name} is damaged (its sha256 differs): write the folder again")
        try:
            table = pq.read_table(pa.BufferReader(data))
            for name in set(optional).difference(table.column_names):
                table = table.append_column(schema.field(name), pa.nulls(len(table), schema.field(name).type))
            yield table.select(schema.names).cast(schema)
        except (pa.ArrowException, KeyError) as error:
            raise InvalidInput(
                f"{source.name}/{shard.name} has other columns than {', '.join(schema.names)}"
            ) from error


def _even(tables: Iterable[pa.Table], size: int) -> Iterator[pa.Table]:
    """Regroup a stream into tables of ``size`` rows; the rest is one table, or two of equal length."""
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        if rows < 2 * size:
            continue
        whole = pa.concat_tables(waiting)
        while whole.num_rows >= 2 * size:
            yield whole.slice(0, size)
            whole = whole.slice(size)
        waiting, rows = [whole], whole.num_rows
    if rows:
        whole = pa.concat_tables(waiting)
        half = rows if rows <= size else (rows + 1) // 2
        yield whole.slice(0, half)
        if half < rows:
            yield whole.slice(half)
