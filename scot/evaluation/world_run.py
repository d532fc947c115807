"""Evaluate composers on drawn galleries: table, JSON and contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from scot.composers import Composer, LearnedComposer, Registry, load_composer
from scot.data.captioned import read_captioned
from scot.data.images import decode_image
from scot.data.records import Refusals
from scot.encoders import load_encoder
from scot.errors import InvalidInput, NotFound
from scot.evaluation.contact_sheet import SheetRow, contact_sheet, save_sheet
from scot.evaluation.metrics import similarity
from scot.evaluation.report import print_result, report_console, write_json
from scot.evaluation.world_vectors import WorldResult, WorldVectors, compose, encode_gallery, evaluate_world

_SHEET_ROWS, _SHEET_HITS = 8, 5


@dataclass(frozen=True)
class EvaluateConfig:
    """Measure composers, the baselines and the oracle on drawn galleries with exact answers.

    The published benchmarks have commands of their own: `scot evaluate cirr --help`.

    Example: scot evaluate --gallery data/wardrobe data/scenes --composers data/composers
    """

    gallery: list[Path] = field(default_factory=list)
    """Galleries drawn by `scot draw WORLD --split eval`."""
    composers: str | None = None
    """A registry of composers, a folder or a URL; its released one is evaluated."""
    composer: list[str] = field(default_factory=list)
    """Versions of the registry, or artifact folders, to evaluate instead."""
    encoder: str = "tiny"
    """tiny, NAME/PRETRAINED, hf-hub:ORG/REPO, local-dir:PATH or blip2:…"""
    best_of_vectors: bool = False
    """Rank by the best of an encoder's several vectors a picture (BLIP-2), not by the one that is indexed."""
    output: Path = Path("evaluation")
    """Folder for results.json, the contact sheets and the cached embeddings."""


def evaluate(config: EvaluateConfig) -> int:
    """Evaluate, print the tables, and write everything into ``config.output``.

    Raises:
        InvalidInput, NotFound, EncoderMismatch: a gallery, composer or encoder cannot be used.
    """
    if not config.gallery:
        raise InvalidInput("--gallery is missing: draw one with `scot draw wardrobe --split eval --output DIR`")
    console = report_console()
    encoder = load_encoder(config.encoder)
    composers = chosen_composers(config.composers, config.composer, encoder.id, encoder.dim)
    results: list[WorldResult] = []
    states = any(composer.reads_states for composer in composers)
    for folder in config.gallery:
        cache = config.output / "cache"
        vectors = encode_gallery(
            folder, encoder, cache, multi=config.best_of_vectors, states=states, on_progress=console.print
        )
        result = evaluate_world(vectors, composers)
        print_result(result, console)
        results.append(result)
        for composer in composers[:1]:
            file = config.output / f"{result.world}.png"
            save_sheet(_sheet(vectors, composer), file)
            console.print(f"contact sheet: {file}")
    write_json(results, config.output / "results.json")
    return 0


def chosen_composers(
    composers: str | Path | None, names: Sequence[str], encoder_id: str, dim: int
) -> list[LearnedComposer]:
    """The composers of these names, versions of the registry ``composers`` or artifact folders; else its released one.

    Raises:
        NotFound, InvalidInput, EncoderMismatch: one of them cannot be used with this encoder.
    """
    registry = Registry(composers) if composers is not None else None
    if names:
        paths = [name if Path(name).is_dir() or registry is None else registry.path(name) for name in names]
    elif registry is not None:
        version = registry.released()
        if version is None:
            raise NotFound(f"{composers} has no released composer yet; pretrain one first")
        paths = [registry.path(version)]
    else:
        paths = []
    return [load_composer(path, encoder_id=encoder_id, dim=dim) for path in paths]


def _sheet(vectors: WorldVectors, composer: Composer) -> Image.Image:
    """The first queries of the gallery, as they come."""
    index = vectors.index
    queries = vectors.queries[:: max(1, len(vectors.queries) // _SHEET_ROWS)][:_SHEET_ROWS]
    every = compose(vectors, composer)
    wanted: dict[str, list[str]] = {}
    for query in queries:
        row = vectors.queries.index(query)
        scores_N = similarity(every[row : row + 1], vectors.ranked)[0]
        scores_N[index[query.reference_id]] = -np.inf
        wanted[query.query_id] = [vectors.item_ids[hit] for hit in np.argsort(-scores_N)[:_SHEET_HITS]]
    needed = {item for hits in wanted.values() for item in hits} | {query.reference_id for query in queries}
    pictures = {
        record.image_id: decode_image(record.read())
        for record in read_captioned(vectors.folder, Refusals())
        if record.image_id in needed
    }
    rows = [
        SheetRow(
            pictures[query.reference_id],
            query.edit,
            [
                (pictures[item], "right" if item in query.targets else f"rank {rank}", item in query.targets)
                for rank, item in enumerate(wanted[query.query_id], 1)
            ],
        )
        for query in queries
    ]
    return contact_sheet(
        rows,
        title=f"{vectors.world} · {composer.name}: reference, edit, first {_SHEET_HITS} answers (right ones framed)",
    )
