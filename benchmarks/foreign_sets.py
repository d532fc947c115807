"""The foreign sets on disk: captioned pictures to learn from, a gallery with queries, and an encoder of the former.

Each set is a world (:mod:`scot.worlds`) whose pictures others drew; the vendors of the gallery drew nothing that is
learned from. As in the galleries of the drawn worlds, pictures come in groups of six that differ in one or two
attributes, and every combination of attributes is there once: the answer of a query is exact.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.foreign_encoder import EncoderSettings, ForeignEncoder, train
from benchmarks.foreign_worlds import SETS
from scot.worlds.drawing import write_drawings
from scot.worlds.gallery import evaluation_gallery
from scot.worlds.queries import QUERIES, write_queries


def write_set(name: str, work: Path, packages: Path, *, size: int, queries: int, seed: int, num_workers: int) -> Path:
    """Write ``train`` and ``gallery`` of a set, unless they are there; returns the folder of the set."""
    folder = work / name
    if (folder / "gallery" / QUERIES).exists():
        return folder
    learned, searched = SETS[name](packages)
    pictures = evaluation_gallery(learned, size=size, queries=0, seed=seed, split="train").items
    write_drawings(folder / "train", learned, pictures, num_workers)
    gallery = evaluation_gallery(searched, size=2 * queries, queries=queries, seed=seed)
    write_drawings(folder / "gallery", searched, gallery.items, num_workers)
    write_queries(folder / "gallery", gallery)
    print(f"{len(pictures):,} pictures to learn from, {len(gallery.items):,} to search in {folder}", flush=True)
    return folder


def write_encoder(name: str, folder: Path, packages: Path, training: EncoderSettings, *, num_workers: int) -> str:
    """Train an encoder on the vendors to learn from, unless it is there; returns its name for ``--encoder``."""
    out = folder / "encoder"
    if not (out / "open_clip_model.safetensors").exists():
        train(ForeignEncoder(name, out, packages, training, num_workers))
    return f"local-dir:{out}"
