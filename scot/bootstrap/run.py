"""``scot composers bootstrap``: a learned composer for any encoder, from the packaged corpus alone.

The text tower encodes the corpus, and a Combiner learns with captions in the place of images
(:mod:`scot.training.objectives.stand_ins`). Where images lie is measured on unlabelled ones, if any are named. A run
that was stopped goes on where it was; all of it happens in this process, without Ray.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from scot.bootstrap.corpus import VERSION, part, triplets, write_corpus
from scot.composers import Registry
from scot.data.shards import MANIFEST
from scot.data.storage import Folder
from scot.data.triplets import write_triplets
from scot.embeddings.cache import CacheInfo, check_cache
from scot.embeddings.encode import encode_triplets
from scot.embeddings.unlabelled import encode_unlabelled
from scot.encoders import Encoder, load_encoder
from scot.errors import InvalidInput
from scot.progress import Progress
from scot.results import print_outcome
from scot.training.config import TrainConfig
from scot.training.held_out import objection
from scot.training.launch import Source, train_in_process
from scot.training.objectives import LossConfig
from scot.training.run_folder import RunFolder, check_writable

SETTINGS = TrainConfig(
    projection=512, hidden=1_024, batch_size=512, steps=800, eval_every=100, patience=4, from_captions=1.0,
    loss=LossConfig(analogy_weight=10.0),
)  # fmt: skip
"""A Combiner of half widths: it trains in minutes on a few cores."""
_PROBES = 256  # triplets on which the text tower is tried before it encodes all
_EQUAL = 0.9999  # a cosine above this: the text tower reads two texts as one
_MOST_EQUAL = 0.5


@dataclass(frozen=True)
class BootstrapConfig:
    """Learn a composer for an encoder from the packaged corpus, without a caption or a labelled image of your own.

    Example: scot composers bootstrap --encoder local-dir:my-clip --images pictures --composers scot-data/composers
    """

    encoder: str = "tiny"
    """tiny, NAME/PRETRAINED, hf-hub:ORG/REPO, local-dir:PATH, blip2:… or st:…"""
    images: str = ""
    """A folder of images like those to search, without captions: they show where images lie (docs/bootstrap.md)."""
    composers: str = "composers"
    """The registry to publish to: a folder or a URL; `scot serve --data D` reads D/composers."""
    work: Path = Path("bootstrap")
    """The folder of the embeddings and of the run; the same command resumes from it."""
    share: float = 1.0
    """The part of the corpus to learn from; 0.3 takes a third of the time."""
    steps: int = SETTINGS.steps
    """Training steps of 512 triplets."""
    seed: int = 0
    """The seed of the initial weights and of the order of the data."""
    release: bool = True
    """Make the composer the released one, unless it loses to a baseline on the held-out triplets."""
    json: bool = False
    """Print one line of JSON."""


def bootstrap(config: BootstrapConfig) -> int:
    """Encode, train, publish; prints the version.

    Raises:
        InvalidInput: the encoder cannot be loaded or reads no texts, an image folder or a setting cannot be used.
        NotFound: there is no such image folder.
        Unavailable: the registry or the work folder cannot be written.
    """
    progress = Progress.on(sys.stderr)
    corpus = part(write_corpus(), config.share)
    settings = replace(SETTINGS, steps=config.steps, seed=config.seed)
    check_writable(config.composers)
    encoder = load_encoder(config.encoder)
    check_text_tower(encoder, corpus.slice(0, _PROBES).to_pylist())
    place = config.work / encoder.id.replace("/", "-").replace(":", "-")
    images = str(place / "images") if config.images else ""
    seen = encode_unlabelled(config.images, images, encoder, progress=progress) if images else None
    data, embeddings = _encoded(config, corpus, encoder, place, progress)
    dim = encoder.dim
    del encoder  # training needs the memory
    run = RunFolder(
        place / "runs", f"bootstrap-{RunFolder.default_name(settings, data, seen)[-8:]}", settings, data, seen
    )
    registry = Registry(config.composers)
    version = _trained(run, Source(embeddings, images=images), registry, progress.line, release=config.release)
    metrics = registry.metrics(version)
    released = registry.released() == version
    reason = objection(metrics)
    why = f": {reason}; `scot composers promote --force` releases it" if config.release and reason else ""
    state = "released" if released else f"not released{why}"
    print_outcome(
        config.json,
        {"version": version, "released": released, "encoder": data.encoder_id, "dim": dim, "images": bool(images),
         "recall@1": metrics["recall@1"]},
        f"published {version} for {data.encoder_id} in {config.composers}: held-out recall@1 "
        f"{metrics['recall@1']:.3f} on captions ({state})",
    )  # fmt: skip
    return 0


def check_text_tower(encoder: Encoder, rows: list[dict[str, str]]) -> None:
    """Try the text tower on a few triplets.

    Raises:
        InvalidInput: it reads most captions and their edited captions as the same text, or its vectors are not finite.
    """
    before, after = (encoder.encode_texts([row[name] for row in rows]) for name in ("caption", "edited_caption"))
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise InvalidInput(f"the text tower of {encoder.id} gives vectors that are not finite")
    equal = float(((before * after).sum(1) > _EQUAL).mean())
    if equal > _MOST_EQUAL:
        raise InvalidInput(
            f"the text tower of {encoder.id} gives {equal:.0%} of the captions the vector of their edited captions: "
            "it cannot tell what an edit changes"
        )


def _encoded(
    config: BootstrapConfig, corpus: pa.Table, encoder: Encoder, place: Path, progress: Progress
) -> tuple[CacheInfo, str]:
    """The embedding cache of the corpus, and its folder."""
    name = VERSION if config.share == 1.0 else f"{VERSION}-{config.share:g}"
    folder, embeddings = str(config.work / name), str(place / name)
    if not Folder(folder).exists(MANIFEST):
        write_triplets(folder, triplets(corpus), {})
    done = encode_triplets(
        [], [folder], embeddings, captions_only=True, encoder=encoder, num_workers=0, progress=progress
    )
    texts, seconds = done.info.counts["texts"] - done.reused_texts, done.seconds
    progress.line(f"{done.info.counts['triplets']:,} triplets; {texts:,} texts encoded in {seconds:.0f} s")
    if done.truncated_texts:
        progress.line(f"{done.truncated_texts:,} texts were longer than the input of the encoder and were cut")
    return check_cache(embeddings)[0], embeddings


def _trained(run: RunFolder, source: Source, registry: Registry, say: Callable[[str], None], *, release: bool) -> str:
    """Train unless it is done, and publish; the version."""
    with run.locked():
        run.open()
        done = run.finished()
        if done is not None and done["version"] in registry.versions():
            say(f"run {run.name} is finished and published as {done['version']}")
            return str(done["version"])
        if not run.trained():
            if not source.images:
                say("no --images: the composer cannot know where the images of this encoder lie beside its texts")
            train_in_process(run, source, say)
        return run.publish(registry, release=release)
