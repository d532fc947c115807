"""The embedding cache: what a frozen encoder says of every picture and text of a set of triplets, computed once.

::

    images/    image_id, vector        one row a picture that some triplet uses
    texts/     text, vector            one row a distinct text: edits T_m, captions T_o, edited captions T_u
    triplets/  triplet_id and the rows of its image, edit, caption and edited caption
    _manifest.json                     encoder id, dim, counts, hash of the source; written last

Vectors are float16. Training gathers rows from the two tables, so a caption that a thousand triplets share is stored
once, and equal texts are known to be equal by their row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch.nn.functional import normalize

from scot.data.shards import MANIFEST, Folder, read_manifest, read_shards, write_shards
from scot.errors import EncoderMismatch, InvalidInput, NotFound

KIND = "embeddings"
IMAGES, TEXTS, TRIPLETS = "images", "texts", "triplets"
PARTS = {IMAGES: IMAGES, TEXTS: TEXTS, TRIPLETS: "rows"}
"""Each part's folder and the kind of its shards."""
SHARD_SIZE = 50_000

COLUMNS = {"image": "image_id", "edit": "edit", "caption": "caption", "edited": "edited_caption"}
"""What a triplet has vectors of: I, T_m, T_o and T_u, and the triplet's column each comes from."""
ROLES = tuple(COLUMNS)
TRIPLET_SCHEMA = pa.schema([("triplet_id", pa.string()), *((role, pa.int64()) for role in ROLES)])


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """The manifest of a cache. ``source`` is a hash of what it was made from, ``hash`` of what it holds."""

    encoder_id: str
    dim: int
    source: str
    counts: Mapping[str, int]
    rejected: Mapping[str, int]
    hash: str
    kind: str = KIND


@dataclass(slots=True)
class TripletEmbeddings:
    """Triplets as vectors: two tables of distinct vectors and, per triplet, four rows into them.

    ``image_UD`` and ``text_VD`` are float16; ``image_N`` points into the first, ``edit_N``, ``caption_N`` and
    ``edited_N`` into the second. The ``*_ND`` properties gather float32 unit rows for all triplets; training gathers a
    batch at a time.
    """

    info: CacheInfo
    image_ids: list[str]
    triplet_ids: list[str]
    image_UD: torch.Tensor
    text_VD: torch.Tensor
    image_N: torch.Tensor
    edit_N: torch.Tensor
    caption_N: torch.Tensor
    edited_N: torch.Tensor
    texts: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.image_N)

    @property
    def dim(self) -> int:
        """The width D of the vectors."""
        return self.image_UD.shape[1]

    @property
    def image_ND(self) -> torch.Tensor:
        """Reference pictures I, float32 ``(N, D)``."""
        return unit_rows(self.image_UD, self.image_N)

    @property
    def edit_ND(self) -> torch.Tensor:
        """Edits T_m, float32 ``(N, D)``."""
        return unit_rows(self.text_VD, self.edit_N)

    @property
    def caption_ND(self) -> torch.Tensor:
        """Captions T_o, float32 ``(N, D)``."""
        return unit_rows(self.text_VD, self.caption_N)

    @property
    def edited_ND(self) -> torch.Tensor:
        """Edited captions T_u, float32 ``(N, D)``."""
        return unit_rows(self.text_VD, self.edited_N)

    def to(self, device: str | torch.device) -> TripletEmbeddings:
        """The same triplets with every tensor on ``device``."""
        moved = {name: getattr(self, name).to(device) for name in ("image_UD", "text_VD", *(f"{r}_N" for r in ROLES))}
        return TripletEmbeddings(
            info=self.info, image_ids=self.image_ids, triplet_ids=self.triplet_ids, texts=self.texts, **moved
        )


def unit_rows(table_VD: torch.Tensor, rows_B: torch.Tensor) -> torch.Tensor:
    """Rows of a float16 table as float32 unit vectors ``(B, D)``."""
    return normalize(table_VD[rows_B].float(), dim=-1)


def vector_schema(key: str, dim: int) -> pa.Schema:
    """The columns of ``images/`` (key ``image_id``) and ``texts/`` (key ``text``)."""
    return pa.schema([(key, pa.string()), ("vector", pa.list_(pa.float16(), dim))])


def vector_table(key: str, keys: list[str], vectors_ND: npt.NDArray[Any], dim: int) -> pa.Table:
    """Keys and vectors as a table of :func:`vector_schema`."""
    flat = pa.array(np.ascontiguousarray(vectors_ND, dtype=np.float16).reshape(-1), pa.float16())
    return pa.Table.from_arrays(
        [pa.array(keys, pa.string()), pa.FixedSizeListArray.from_arrays(flat, dim)], schema=vector_schema(key, dim)
    )


def write_vectors(
    folder: str | Path, part: str, tables: Iterable[pa.Table], *, encoder_id: str, dim: int, source: str
) -> str:
    """Write ``images/`` or ``texts/`` of a cache and return its content's hash."""
    extra = {"encoder_id": encoder_id, "dim": dim, "source": source}
    return write_shards(f"{folder}/{part}", part, tables, shard_size=SHARD_SIZE, extra=extra).hash


def read_vectors(folder: str | Path, part: str) -> tuple[list[str], npt.NDArray[np.float16], dict[str, Any]]:
    """Keys, float16 vectors ``(N, D)`` and the extra of the manifest of ``images/`` or ``texts/``."""
    where = f"{folder}/{part}"
    manifest = read_manifest(where, part)
    dim = int(manifest.extra["dim"])
    schema = vector_schema("image_id" if part == IMAGES else "text", dim)
    table = pa.concat_tables([schema.empty_table(), *read_shards(where, manifest, schema)]).combine_chunks()
    column = table.column(1).combine_chunks()
    vectors = np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float16).reshape(-1, dim)
    return table.column(0).to_pylist(), vectors, dict(manifest.extra)


def write_triplet_rows(folder: str | Path, table: pa.Table) -> str:
    """Write ``triplets/`` of a cache (a table of :data:`TRIPLET_SCHEMA`) and return its content's hash."""
    return write_shards(f"{folder}/{TRIPLETS}", PARTS[TRIPLETS], [table], shard_size=10 * SHARD_SIZE).hash


def write_info(folder: str | Path, info: CacheInfo) -> None:
    """Write the cache's manifest: from here on it is complete."""
    Folder(folder).write(MANIFEST, json.dumps(asdict(info), indent=1).encode())


def content_hash(parts: Iterable[str]) -> str:
    """The hash of a cache, from the hashes of its images, texts and triplets."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def read_info(folder: str | Path) -> CacheInfo:
    """The manifest of a cache.

    Raises:
        NotFound: there is no such folder.
        InvalidInput: it has no manifest, or a damaged one, or is not a cache.
    """
    place = Folder(folder)
    if not place.exists():
        raise NotFound(f"there is no embedding cache {place.name}")
    try:
        raw = json.loads(place.read(MANIFEST))
        if raw["kind"] != KIND:
            raise InvalidInput(f"{place.name} holds {raw['kind']}, not {KIND}")
        return CacheInfo(**raw)
    except FileNotFoundError:
        raise InvalidInput(f"{place.name} has no {MANIFEST}: the encoding that writes it has not finished") from None
    except (ValueError, KeyError, TypeError):
        raise InvalidInput(f"{place.name}/{MANIFEST} is damaged: encode again") from None


def load_cache(folder: str | Path, encoder_id: str | None = None) -> TripletEmbeddings:
    """Load a whole cache into memory.

    Args:
        folder: what ``ray_jobs/encode.py`` wrote; local or a URL.
        encoder_id: when given, the encoder that the vectors must be of.

    Raises:
        NotFound: there is no such folder.
        EncoderMismatch: the cache is of another encoder.
        InvalidInput: the cache is incomplete or damaged, or holds vectors that are not finite.
    """
    info = read_info(folder)
    if encoder_id is not None and info.encoder_id != encoder_id:
        raise EncoderMismatch(f"the embedding cache {folder} is of the encoder {info.encoder_id}, not {encoder_id}")
    manifests = [read_manifest(f"{folder}/{part}", kind) for part, kind in PARTS.items()]
    if content_hash(manifest.hash for manifest in manifests) != info.hash:
        raise InvalidInput(f"{folder} is being rewritten, or a run that rewrote it did not finish: encode again")
    image_ids, image_UD, _ = read_vectors(folder, IMAGES)
    texts, text_VD, _ = read_vectors(folder, TEXTS)
    where = f"{folder}/{TRIPLETS}"
    tables = read_shards(where, manifests[-1], TRIPLET_SCHEMA)
    rows = pa.concat_tables([TRIPLET_SCHEMA.empty_table(), *tables])
    for name, vectors_ND in ((IMAGES, image_UD), (TEXTS, text_VD)):
        norms_N = np.linalg.norm(vectors_ND.astype(np.float32), axis=1)
        if not (np.abs(norms_N - 1.0) < 0.05).all():
            raise InvalidInput(
                f"the embedding cache {folder} is damaged: {name}/ holds vectors that are not of unit length"
            )
    columns = {role: rows.column(role).to_numpy() for role in ROLES}
    for role, limit in zip(ROLES, (len(image_UD), *(len(text_VD),) * 3), strict=True):
        if len(columns[role]) and not (columns[role].min() >= 0 and columns[role].max() < limit):
            raise InvalidInput(f"the embedding cache {folder} is damaged: a triplet names a row that is not there")
    return TripletEmbeddings(
        info=info,
        image_ids=image_ids,
        triplet_ids=rows.column("triplet_id").to_pylist(),
        image_UD=torch.from_numpy(image_UD.copy()),
        text_VD=torch.from_numpy(text_VD.copy()),
        texts=texts,
        **{f"{role}_N": torch.from_numpy(columns[role].copy()) for role in ROLES},
    )
