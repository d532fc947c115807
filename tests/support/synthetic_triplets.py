"""Triplet embeddings with structure, made in milliseconds: attributes as directions, two modalities with a gap."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch.nn.functional import normalize

from scot.data.shards import Manifest, write_shards
from scot.embeddings import cache
from scot.embeddings.cache import CacheInfo, TripletEmbeddings
from scot.embeddings.hidden_states import StateTable, states_table

SLOTS, VALUES, ENCODER = 4, 5, "synthetic@1-32d"


def synthetic_triplets(images: int = 600, edits: int = 4, *, dim: int = 32, seed: int = 0) -> TripletEmbeddings:
    """Each picture has a value in every slot; an edit names a slot's new value; equal texts are one text."""
    rng = np.random.default_rng(seed)
    values = torch.from_numpy(rng.normal(size=(SLOTS, VALUES, dim))).float() / dim**0.5
    commands = torch.from_numpy(rng.normal(size=(SLOTS, VALUES, dim))).float() / dim**0.5  # arithmetic does not help
    gap = torch.from_numpy(rng.normal(size=(2, dim))).float() / dim**0.5
    kinds = rng.integers(0, VALUES, (images, SLOTS))

    texts: dict[str, int] = {}
    vectors: list[torch.Tensor] = []

    def text(name: str, vector: torch.Tensor) -> int:
        if name not in texts:
            texts[name] = len(vectors)
            vectors.append(normalize(vector, dim=-1))
        return texts[name]

    def caption(kind: np.ndarray[tuple[int], np.dtype[np.int64]]) -> int:
        parts = sum(values[slot, kind[slot]] for slot in range(SLOTS))
        return text(" ".join(map(str, kind)), parts + gap[0])

    rows = []
    for image in range(images):
        for _ in range(edits):
            slot = int(rng.integers(SLOTS))
            value = int((kinds[image, slot] + rng.integers(1, VALUES)) % VALUES)
            edited = kinds[image].copy()
            edited[slot] = value
            edit = text(f"make {slot} {value}", commands[slot, value] + gap[0])
            rows.append((image, edit, caption(kinds[image]), caption(edited)))
    noise = torch.from_numpy(rng.normal(size=(images, dim))).float() * 0.02
    picture = torch.stack([sum(values[slot, kind[slot]] for slot in range(SLOTS)) for kind in kinds])
    image_UD = normalize(picture + gap[1] + noise, dim=-1)
    image_N, edit_N, caption_N, edited_N = torch.tensor(rows).T.contiguous()
    # Two states a picture, one to three a text that is an edit; the first state of an edit is its command.
    text_VD = torch.stack(vectors)
    lengths = [1 + len(name) % 3 if name.startswith("make") else 0 for name in texts]
    inside = [torch.from_numpy(rng.normal(size=(length, dim))).float() for length in lengths]
    for own, vector in zip(inside, text_VD, strict=True):
        own[:1] = 4 * vector
    image_states = torch.from_numpy(rng.normal(size=(2 * images, 2 * dim)))
    return TripletEmbeddings(
        info=CacheInfo(
            ENCODER, dim, "synthetic", {}, {}, f"synthetic-{images}-{edits}-{dim}-{seed}", states=_widths(dim)
        ),
        image_ids=[f"image-{n}" for n in range(images)],
        triplet_ids=[f"triplet-{n}" for n in range(len(rows))],
        image_UD=image_UD.half(),
        text_VD=text_VD.half(),
        image_N=image_N,
        edit_N=edit_N,
        caption_N=caption_N,
        edited_N=edited_N,
        texts=list(texts),
        image_states=StateTable(image_states.half(), 2 * torch.arange(images + 1)),
        text_states=StateTable(torch.cat(inside).half(), torch.tensor([0, *lengths]).cumsum(0)),
    )


def _widths(dim: int) -> dict[str, int]:
    return {cache.IMAGES: 2 * dim, cache.TEXTS: dim}


def write_synthetic_cache(folder: Path, data: TripletEmbeddings, *, states: bool = False) -> Path:
    """The same triplets as an embedding cache on disk, with their hidden states or without."""
    dim = data.dim
    images = cache.vector_table("image_id", data.image_ids, data.image_UD.numpy(), dim)
    texts = cache.vector_table("text", data.texts, data.text_VD.numpy(), dim)
    columns = [pa.array(getattr(data, f"{role}_N").numpy()) for role in cache.ROLES]
    rows = pa.Table.from_arrays([pa.array(data.triplet_ids), *columns], schema=cache.TRIPLET_SCHEMA)
    parts = [
        cache.write_vectors(folder, cache.IMAGES, [images], encoder_id=ENCODER, dim=dim, source="synthetic"),
        cache.write_vectors(folder, cache.TEXTS, [texts], encoder_id=ENCODER, dim=dim, source="synthetic"),
        cache.write_triplet_rows(folder, [rows]),
    ]
    counts = {"images": len(data.image_ids), "texts": len(data.texts), "triplets": len(data)}
    widths = data.info.states if states else {}
    for (part, width), keys in zip(widths.items(), (data.image_ids, data.texts), strict=False):
        name = cache.STATES[part]
        rows_of = state_rows(getattr(data, name))
        parts.append(write_states(folder, name, list(keys), rows_of, width=width).hash)
        counts[name] = len(getattr(data, name).values_TW)
    hashed = cache.content_hash(parts)
    cache.write_info(folder, CacheInfo(ENCODER, dim, "synthetic", counts, {}, hashed, states=widths))
    return folder


def state_rows(table: StateTable) -> list[bytes]:
    """Each row's states as a cache keeps them."""
    edges = table.start_R.tolist()
    return [table.values_TW[a:b].numpy().tobytes() for a, b in itertools.pairwise(edges)]


def write_states(folder: str | Path, part: str, keys: list[str], states: list[bytes], *, width: int) -> Manifest:
    """``image_states/`` or ``text_states/`` of a cache, in one shard: the float16 bytes of each key's states."""
    extra = {"width": width, "total": sum(map(len, states)) // (2 * width)}
    return write_shards(f"{folder}/{part}", part, [states_table(part, keys, states)], shard_size=10_000, extra=extra)
