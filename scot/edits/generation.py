"""Captions to triplets: a pool of processes, or this one, generates the edits of chunks and stores each at once.

Memory does not grow with the corpus: the source is read lazily, and only a few chunks are in progress. A killed run
continues where it stopped (:mod:`scot.edits.chunks`). If the engine is unavailable, a run waits for it, then fails.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from scot.data import shards
from scot.data.captioned import Source, open_sources
from scot.data.one_writer import one_writer
from scot.data.records import Refusals
from scot.data.shards import MANIFEST, Manifest
from scot.data.storage import Folder
from scot.data.triplets import KIND, read_manifest
from scot.edits.auto import SAMPLE, choose_engine
from scot.edits.chunk_generator import GenerationConfig
from scot.edits.chunks import ChunkResults, Tally, read_chunks
from scot.edits.engines.config import MODELS, WITHOUT_MODEL
from scot.edits.generator_pool import MODEL_CHUNK, GeneratorPool, open_pool
from scot.edits.generators.base import MAX_COUNT
from scot.edits.generators.load import names
from scot.edits.pairs import PairIndex, mine
from scot.errors import Conflict, InvalidInput
from scot.progress import SILENT, Progress, Task

_SHARD_SIZE = 20_000
_FORMAT = 2  # 2: equal captions of different images get different edits; triplets have kept and target_image_id


@dataclass(frozen=True, slots=True)
class Generated:
    """The result of a run; an earlier run had finished ``reused`` of its captions."""

    manifest: Manifest
    tally: Tally
    reused: int
    seconds: float


@dataclass(slots=True)
class _Counts:
    """The counts so far; ``fresh`` counts this run alone."""

    task: Task
    done: Tally = field(default_factory=Tally)
    fresh: Tally = field(default_factory=Tally)
    chunks: int = 0
    started: float = field(default_factory=time.monotonic)

    def reuse(self, tally: Tally) -> None:
        """Add a chunk that an earlier run finished."""
        self.done.add(tally)
        self.task.skip(tally.captions)

    def add(self, tally: Tally) -> None:
        """Add a chunk that this run finished."""
        self.done.add(tally)
        self.fresh.add(tally)
        seconds = max(time.monotonic() - self.started, 1e-9)
        note = f"{self.done.accepted:,} edits ({self.fresh.accepted / seconds:,.0f}/s)"
        if tokens := self.fresh.prompt_tokens + self.fresh.completion_tokens:
            note += f", {tokens / seconds:,.0f} tokens/s"
        self.task.advance(tally.captions, note)


def generate_triplets(
    sources: Sequence[str],
    output: str,
    *,
    config: GenerationConfig | None = None,
    num_workers: int = -1,
    chunk_size: int = 0,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Generated:
    """Write triplets for every caption of ``sources`` into ``output``; with workers, Ray must be running.

    Args:
        sources: captioned images (:func:`scot.data.captioned.open_source`).
        output: the folder of triplet shards; if it holds the result of the same run, it stays unchanged.
        config: the engine that generates the edits, and the filters.
        num_workers: processes that generate; below 0: one for each spare core (engines without a model) or GPU (vllm),
            else one; 0: this process, without Ray.
        chunk_size: captions of a chunk; 0: the engine's default.
        overwrite: replace the result of another run.
        progress: shows how many captions are done, and the edits.

    Raises:
        NotFound, InvalidInput: a source cannot be read, or no caption could be edited.
        Conflict: ``output`` holds the triplets of another run, or another run writes it.
        Unavailable: the engine was unavailable for too long; finished chunks are stored, a rerun continues.
    """
    config = config or GenerationConfig()
    if not 1 <= config.edits_per_caption <= MAX_COUNT:
        raise InvalidInput(f"edits_per_caption must be 1 to {MAX_COUNT}, not {config.edits_per_caption}")
    if not sources:
        raise InvalidInput("name at least one source of captioned images")
    opened = open_sources(sources)
    for each in opened:
        progress.line(f"reading {each}")
    if config.engine.engine == "auto":
        chosen, why = choose_engine(config.engine, _sample(opened), seed=config.seed)
        config = replace(config, engine=chosen)
        progress.line(why)
    generator, prompt_version = names(config.engine)
    settings = _settings(config, generator, prompt_version)
    run = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    before = _finished(output)
    if before is not None and before.extra.get("run") != run:
        if not overwrite:
            raise Conflict(
                f"{output} holds triplets of another run ({before.extra.get('generator')}, prompt "
                f"{before.extra.get('prompt_version')}): name another --output, or replace them with --overwrite"
            )
        before = None
    size = chunk_size or (
        2_048 if config.engine.engine in WITHOUT_MODEL else 256 if config.engine.engine == "service" else MODEL_CHUNK
    )
    refusals = Refusals()
    hashes = hashlib.sha256()
    total: int | None = None
    mined = config.engine.engine == "pairs"
    rows: list[tuple[str, str]] | None = [] if mined else None
    parts = run
    if mined or before is not None or not any(each.in_tars for each in opened):
        total, source = _survey(opened, size, rows)
        if before is not None and before.extra["source"] == source:
            tally = Tally.from_json(before.extra["tally"])
            return Generated(before, tally, reused=tally.captions, seconds=0.0)
        # Pairs depend on the whole corpus: chunks of another one are not those of this run.
        parts = f"{run}-{source}" if mined else run
    with one_writer(output, progress=progress) as still_alone:
        if _finished(output) != before and not overwrite:
            raise Conflict(f"{output} was written by another run meanwhile: start again")
        results = ChunkResults(output, parts)
        if rows is not None and not PairIndex.exists(results.folder):
            mine(rows, seed=config.seed).write(results.folder)
        del rows
        arguments = (config, output, parts, generator, prompt_version)
        pool: GeneratorPool | None = None
        with progress.task("generating", total, "captions") as task:
            counts = _Counts(task)
            try:
                for chunk in read_chunks(opened, refusals, size=size, with_images=config.needs_images):
                    hashes.update(chunk.hash.encode())
                    counts.chunks += 1
                    if (earlier := results.tally(chunk)) is not None:
                        counts.reuse(earlier)
                        continue
                    pool = pool or open_pool(arguments, config.engine, num_workers)
                    for tally in pool.submit(chunk):
                        counts.add(tally)
                for tally in pool.drain() if pool else ():
                    counts.add(tally)
            finally:
                if pool is not None:
                    pool.close()
        done = counts.done
        if not done.captions:
            raise InvalidInput(f"no usable caption in {', '.join(sources)}: {refusals.summary()}")
        if not done.accepted:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in done.refused.most_common())
            raise InvalidInput(f"{generator} found nothing to edit in {done.captions:,} captions ({reasons})")
        still_alone()
        manifest = shards.write_shards(
            output,
            KIND,
            results.tables(counts.chunks),
            shard_size=_SHARD_SIZE,
            rejected=done.refused + Counter({f"source_{reason}": count for reason, count in refusals.counts.items()}),
            extra={**settings, "run": run, "source": hashes.hexdigest()[:16], "tally": done.to_json()},
        )
        results.remove()
        reused = done.captions - counts.fresh.captions
        return Generated(manifest, done, reused, time.monotonic() - counts.started)


def _settings(config: GenerationConfig, generator: str, prompt_version: str) -> dict[str, Any]:
    """Everything that decides the triplets, except the captions."""
    engine = config.engine
    writes = engine.engine in MODELS and not engine.rank
    return {
        "format": _FORMAT,
        "generator": generator,
        "prompt_version": prompt_version,
        "temperature": engine.temperature if writes else None,
        "one_aspect": engine.one_aspect if writes else None,
        "edits_per_caption": config.edits_per_caption,
        "seed": config.seed,
        "filters": asdict(config.filters) if engine.engine not in ("rules", "service") else None,
        "encoder": config.encoder,
        "similarity": asdict(config.similarity) if config.encoder else None,
        **({"rank_margin": engine.rank_margin} if engine.rank else {}),
        **({"reverse": True} if config.reverse else {}),
    }


def _finished(output: str) -> Manifest | None:
    return read_manifest(output) if Folder(output).exists(MANIFEST) else None


def _sample(sources: Sequence[Source]) -> list[tuple[str, str]]:
    """The first captions with their images' ids."""
    rows: list[tuple[str, str]] = []
    for chunk in read_chunks(sources, Refusals(), size=2_048):
        rows += zip(chunk.image_ids, chunk.captions, strict=True)
        if len(rows) >= SAMPLE:
            break
    return rows[:SAMPLE]


def _survey(sources: Sequence[Source], size: int, rows: list[tuple[str, str]] | None) -> tuple[int, str]:
    """The number of captions, and the hash of all chunks; fills ``rows`` with (image id, caption)."""
    total, digest = 0, hashlib.sha256()
    for chunk in read_chunks(sources, Refusals(), size=size):
        total += len(chunk.captions)
        if rows is not None:
            rows += zip(chunk.image_ids, chunk.captions, strict=True)
        digest.update(chunk.hash.encode())
    return total, digest.hexdigest()[:16]
