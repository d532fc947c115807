"""The embedding cache: the vectors of all images and texts of a set of triplets, encoded once by a frozen encoder.

::

    images/    image_id, vector        one row for each image that a triplet uses
    texts/     text, vector            one row for each distinct text: edits T_m, captions T_o, edited captions T_u
    triplets/  triplet_id and the rows of its image, edit, caption and edited caption
    image_states/  text_states/        optional: hidden states of images and edits (scot/embeddings/hidden_states.py)
    pairs/     optional: a test of pairs of its images (scot/embeddings/pairs.py)
    _manifest.json                     encoder id, dim, counts, hash of the source; written last

Vectors are float16. Training gathers rows from the two tables, so a caption of a thousand triplets is stored once, and
equal texts have the same row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch.nn.functional import normalize

from scot.composers.base import States
from scot.data.shards import MANIFEST, Manifest, read_manifest, read_shards, write_shards
from scot.data.storage import Folder
from scot.embeddings.hidden_states import StateTable, load_states
from scot.embeddings.pairs import PAIRS, CachedPair, read_pairs
from scot.errors import EncoderMismatch, InvalidInput, NotFound

KIND = "embeddings"
IMAGES, TEXTS, TRIPLETS = "images", "texts", "triplets"
PARTS = {IMAGES: IMAGES, TEXTS: TEXTS, TRIPLETS: "rows"}
"""Each part's folder and the kind of its shards."""
STATES = {IMAGES: "image_states", TEXTS: "text_states"}
"""The optional parts with hidden states, by the part with the vectors of the same images or texts."""
SHARD_SIZE = 50_000

COLUMNS = {"image": "image_id", "edit": "edit", "caption": "caption", "edited": "edited_caption"}
"""The vectors of a triplet (I, T_m, T_o and T_u), and the triplet's column of each."""
ROLES = tuple(COLUMNS)
TEXT_FOLDS = "text_folds.npy"
"""The file with the texts' :func:`folds` in a memory-mapped copy."""
TRIPLET_SCHEMA = pa.schema([("triplet_id", pa.string()), *((role, pa.int64()) for role in ROLES)])


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """The manifest of a cache. ``source`` is a hash of its inputs, ``hash`` of its content.

    ``states`` has the widths of hidden states by part (``images``, ``texts``); it is empty if the cache has none. With
    ``captions_only`` no image was encoded: the rows of ``images/`` are the captions, with the vectors of their texts.
    """

    encoder_id: str
    dim: int
    source: str
    counts: Mapping[str, int]
    rejected: Mapping[str, int]
    hash: str
    kind: str = KIND
    states: Mapping[str, int] = field(default_factory=dict)
    captions_only: bool = False

    @property
    def parts(self) -> dict[str, str]:
        """Each part's folder and the kind of its shards."""
        states = {name: name for part, name in STATES.items() if part in self.states}
        return PARTS | states | ({PAIRS: PAIRS} if self.counts.get(PAIRS) else {})


@dataclass(slots=True)
class TripletEmbeddings:
    """Triplets as vectors: two tables of distinct vectors and, per triplet, four rows into them.

    ``image_UD`` and ``text_VD`` are float16; ``image_N`` points into the first, ``edit_N``, ``caption_N`` and
    ``edited_N`` into the second. The ``*_ND`` properties gather float32 unit rows for all triplets; training gathers a
    batch at a time. ``image_states`` and ``text_states`` have the rows of the two tables, ``pairs`` the test's queries.
    The tensors and ids may be memory-mapped (:mod:`scot.embeddings.memory_mapped`): then ``mapped`` is their folder,
    and ``texts`` is empty.
    """

    info: CacheInfo
    image_ids: Sequence[str]
    triplet_ids: Sequence[str]
    image_UD: torch.Tensor
    text_VD: torch.Tensor
    image_N: torch.Tensor
    edit_N: torch.Tensor
    caption_N: torch.Tensor
    edited_N: torch.Tensor
    texts: list[str] = field(default_factory=list)
    mapped: Path | None = None
    image_states: StateTable | None = None
    text_states: StateTable | None = None
    pairs: tuple[CachedPair, ...] = ()

    def __len__(self) -> int:
        return len(self.image_N)

    @property
    def dim(self) -> int:
        """The width D of the vectors."""
        return self.image_UD.shape[1]

    def text_folds(self) -> npt.NDArray[np.uint32]:
        """The :func:`folds` of all texts, ``(V,)``."""
        return folds(self.texts) if self.mapped is None else np.load(self.mapped / TEXT_FOLDS, mmap_mode="r")

    def states(self, rows_B: torch.Tensor) -> tuple[States, States]:
        """The hidden states of the images and edits of some triplets. Raises InvalidInput if the cache has none."""
        if self.image_states is None or self.text_states is None:
            raise InvalidInput("this embedding cache has no hidden states: encode again with --states")
        return self.image_states.rows(self.image_N[rows_B]), self.text_states.rows(self.edit_N[rows_B])

    @property
    def image_ND(self) -> torch.Tensor:
        """Reference images I, float32 ``(N, D)``."""
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


def folds(texts: Iterable[str]) -> npt.NDArray[np.uint32]:
    """A number for each text, which depends only on its words and decides whether a caption is held out."""
    digests = (hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest() for text in texts)
    return np.fromiter((int.from_bytes(digest[:4]) for digest in digests), np.uint32)


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


def write_triplet_rows(folder: str | Path, tables: Iterable[pa.Table]) -> str:
    """Write ``triplets/`` of a cache (tables of :data:`TRIPLET_SCHEMA`) and return its content's hash."""
    return write_shards(f"{folder}/{TRIPLETS}", PARTS[TRIPLETS], tables, shard_size=SHARD_SIZE).hash


def write_info(folder: str | Path, info: CacheInfo) -> None:
    """Write the manifest, after which the cache is complete."""
    Folder(folder).write(MANIFEST, json.dumps(asdict(info), indent=1).encode())


def content_hash(parts: Iterable[str]) -> str:
    """The hash of a cache, from the hashes of its images, texts and triplets."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def read_info(folder: str | Path) -> CacheInfo:
    """The manifest of a cache.

    Raises:
        NotFound: there is no such folder.
        InvalidInput: the manifest is missing or damaged, or the folder is not a cache.
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


def check_cache(folder: str | Path, encoder_id: str | None = None) -> tuple[CacheInfo, dict[str, Manifest]]:
    """Check that a cache is complete and its parts match; returns its manifest and theirs. Reads no shard.

    Raises:
        NotFound: there is no such folder.
        EncoderMismatch: the cache, or a part of it, was made with another encoder.
        InvalidInput: the cache is incomplete or damaged.
    """
    info = read_info(folder)
    if encoder_id is not None and info.encoder_id != encoder_id:
        raise EncoderMismatch(f"the embedding cache {folder} is of the encoder {info.encoder_id}, not {encoder_id}")
    manifests = {part: read_manifest(f"{folder}/{part}", kind) for part, kind in info.parts.items()}
    if content_hash(manifest.hash for manifest in manifests.values()) != info.hash:
        raise InvalidInput(f"{folder} is being rewritten, or a run that rewrote it did not finish: encode again")
    for part in (IMAGES, TEXTS):
        extra = manifests[part].extra
        if extra.get("encoder_id") != info.encoder_id:
            raise EncoderMismatch(f"{folder}/{part} is of the encoder {extra.get('encoder_id')}, not {info.encoder_id}")
        if extra.get("dim") != info.dim:
            raise InvalidInput(f"{folder}/{part} holds vectors of {extra.get('dim')} dimensions, not {info.dim}")
    return info, manifests


def vector_shards(
    folder: str | Path, part: str, manifest: Manifest, dim: int
) -> Iterator[tuple[pa.StringArray, npt.NDArray[np.float16]]]:
    """Keys and float16 vectors ``(n, D)`` of ``images/`` or ``texts/``, shard by shard.

    Raises:
        InvalidInput: a shard is missing or damaged, or holds vectors that are not of unit length or not of ``dim``.
    """
    schema = vector_schema("image_id" if part == IMAGES else "text", dim)
    for table in read_shards(f"{folder}/{part}", manifest, schema):
        keys, column = (chunked.combine_chunks() for chunked in table.columns)
        vectors_ND = np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.float16).reshape(-1, dim)
        norms_N = np.linalg.norm(vectors_ND.astype(np.float32), axis=1)
        if len(norms_N) != len(keys) or not (np.abs(norms_N - 1.0) < 0.05).all():
            raise InvalidInput(
                f"the embedding cache {folder} is damaged: {part}/ holds vectors that are not of unit length"
            )
        yield keys, vectors_ND


def row_shards(
    folder: str | Path, manifests: Mapping[str, Manifest]
) -> Iterator[tuple[pa.StringArray, npt.NDArray[np.int64]]]:
    """Triplet ids and the rows ``(n, 4)`` of their image, edit, caption and edited caption, shard by shard.

    Raises:
        InvalidInput: a shard is missing or damaged, or contains a row number that does not exist.
    """
    images, texts = manifests[IMAGES].count, manifests[TEXTS].count
    for table in read_shards(f"{folder}/{TRIPLETS}", manifests[TRIPLETS], TRIPLET_SCHEMA):
        rows_N4 = np.stack([table.column(role).to_numpy() for role in ROLES], axis=1)
        if not ((rows_N4 >= 0) & (rows_N4 < [images, texts, texts, texts])).all():
            raise InvalidInput(
                f"the embedding cache {folder} is damaged: a triplet has a row number that does not exist"
            )
        yield table.column("triplet_id").combine_chunks(), rows_N4


def load_pairs(folder: str | Path, manifests: Mapping[str, Manifest]) -> tuple[CachedPair, ...]:
    """The queries of a cache's test; none if it has no test. Raises InvalidInput: they are damaged."""
    if PAIRS not in manifests:
        return ()
    return read_pairs(folder, manifests[PAIRS], images=manifests[IMAGES].count, texts=manifests[TEXTS].count)


def load_cache(folder: str | Path, encoder_id: str | None = None) -> TripletEmbeddings:
    """Load a whole cache into memory.

    Args:
        folder: what ``ray_jobs/encode.py`` wrote; local or a URL.
        encoder_id: if given, the encoder that must have made the vectors.

    Raises:
        NotFound: there is no such folder.
        EncoderMismatch: the cache was made with another encoder.
        InvalidInput: the cache is incomplete or damaged, or contains vectors that are not finite.
    """
    info, manifests = check_cache(folder, encoder_id)
    keys: dict[str, list[str]] = {}
    tables: dict[str, npt.NDArray[np.float16]] = {}
    for part in (IMAGES, TEXTS):
        shards = list(vector_shards(folder, part, manifests[part], info.dim))
        keys[part] = [key for ids, _ in shards for key in ids.to_pylist()]
        tables[part] = np.concatenate([np.zeros((0, info.dim), np.float16), *(vectors for _, vectors in shards)])
    triplets = list(row_shards(folder, manifests))
    rows_N4 = np.concatenate([np.zeros((0, 4), np.int64), *(rows for _, rows in triplets)])
    image_N, edit_N, caption_N, edited_N = torch.from_numpy(rows_N4).T.contiguous()
    image_states, text_states = (
        load_states(folder, name, manifests[name], manifests[part].count) if part in info.states else None
        for part, name in STATES.items()
    )
    return TripletEmbeddings(
        info=info,
        image_ids=keys[IMAGES],
        triplet_ids=[key for ids, _ in triplets for key in ids.to_pylist()],
        image_UD=torch.from_numpy(tables[IMAGES]),
        text_VD=torch.from_numpy(tables[TEXTS]),
        texts=keys[TEXTS],
        image_N=image_N,
        edit_N=edit_N,
        caption_N=caption_N,
        edited_N=edited_N,
        image_states=image_states,
        text_states=text_states,
        pairs=load_pairs(folder, manifests),
    )
