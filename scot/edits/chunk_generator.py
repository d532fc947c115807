"""One process that generates edits: reads a chunk of captions, writes its triplets to disk."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scot.data.records import CaptionedImage
from scot.data.triplets import Triplet, reference_of
from scot.edits.chunks import Chunk, ChunkResults, Tally
from scot.edits.difference import difference
from scot.edits.engines import EngineConfig
from scot.edits.filters import TextFilters
from scot.edits.generators import load_generator
from scot.edits.prompt import clean
from scot.edits.record import CaptionEdits, EditRecord
from scot.edits.rules.change import Dice
from scot.edits.similarity import Similarities, SimilarityFilters
from scot.embeddings.images import embed_images
from scot.errors import ScotError, Unavailable

logger = logging.getLogger("scot.edits")

_LONGEST_PAUSE_S = 15.0


@dataclass(frozen=True, slots=True)
class GenerationConfig:
    """The engine that generates edits, and the filters that select among them."""

    engine: EngineConfig = field(default_factory=EngineConfig)
    edits_per_caption: int = 4
    seed: int = 0
    filters: TextFilters = field(default_factory=TextFilters)
    encoder: str = ""
    """The encoder whose embeddings the similarity filters use; empty: no such filters."""
    similarity: SimilarityFilters = field(default_factory=SimilarityFilters)
    patience_s: float = 300.0
    """Seconds to wait for an unavailable engine."""
    reverse: bool = False
    """Also write the way back of every edit."""

    @property
    def needs_images(self) -> bool:
        """Whether the filters read the images."""
        return bool(self.encoder) and self.similarity.least_picture_caption > -1.0


class ChunkGenerator:
    """The edit generator, the encoder of the filters, and the folder of results, in one process."""

    def __init__(self, config: GenerationConfig, output: str, run: str, generator: str, prompt_version: str) -> None:
        self._config, self._results = config, ChunkResults(output, run)
        self._names = {"generator": generator, "prompt_version": prompt_version}
        self._generator = load_generator(config.engine, config.filters, self._results.folder)
        self._encoder: Any = None
        if config.encoder:
            from scot.encoders import load_encoder

            self._encoder = load_encoder(config.encoder)

    async def generate(self, chunk: Chunk) -> Tally:
        """Write the triplets of a chunk and return its counts.

        Raises:
            Unavailable: the engine was unavailable for ``patience_s``; nothing of the chunk is written.
        """
        results = await self._edits(chunk)
        tally = Tally(captions=len(chunk.captions))
        rows: list[tuple[int, EditRecord]] = []
        for place, result in enumerate(results):
            tally.refuse(chunk.captions[place], result.refused)
            tally.prompt_tokens += result.prompt_tokens
            tally.completion_tokens += result.completion_tokens
            rows += [(place, edit) for edit in result.edits]
        if self._encoder is not None and rows:
            reasons = await asyncio.to_thread(self._similarity_reasons, chunk, rows)
            for (place, _), reason in zip(rows, reasons, strict=True):
                tally.refuse(chunk.captions[place], Counter([reason] if reason else []))
            rows = [row for row, reason in zip(rows, reasons, strict=True) if reason is None]
        triplets = list(self._triplets(chunk, rows))
        if self._config.reverse and self._config.engine.engine != "pairs":  # which writes both ways
            triplets += self._ways_back(chunk, rows, tally)
        tally.accepted = len(triplets)
        each = Counter(place for place, _ in rows)
        tally.edited = len(each)
        tally.short = sum(number < self._config.edits_per_caption for number in each.values())
        self._results.write(chunk, triplets, tally)
        return tally

    async def _edits(self, chunk: Chunk) -> list[CaptionEdits]:
        try:
            return await self._generate(chunk.captions, chunk.image_ids)
        except ScotError:
            raise
        except Exception:
            logger.exception("chunk %d failed; retrying each of its captions alone", chunk.number)
            return [await self._caption_edits(*named) for named in zip(chunk.captions, chunk.image_ids, strict=True)]

    async def _caption_edits(self, caption: str, image_id: str) -> CaptionEdits:
        """A caption on which the engine fails is counted; the others continue."""
        try:
            (result,) = await self._generate([caption], [image_id])
            return result
        except ScotError:
            raise
        except Exception:
            logger.exception("the engine failed on %r", caption)
            return CaptionEdits(refused=Counter(failed=1))

    async def _generate(self, captions: Sequence[str], image_ids: Sequence[str]) -> list[CaptionEdits]:
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self._config.patience_s, 0.5
        while True:
            try:
                return await self._generator.generate(
                    captions, count=self._config.edits_per_caption, seed=self._config.seed, image_ids=image_ids
                )
            except Unavailable as error:
                if loop.time() + pause > deadline:
                    raise
                logger.warning("waiting for the engine: %s", error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _triplets(self, chunk: Chunk, rows: Iterable[tuple[int, EditRecord]]) -> Iterable[Triplet]:
        for place, edit in rows:
            yield Triplet.make(
                chunk.image_ids[place],
                chunk.captions[place],
                edit.edit,
                edit.edited_caption,
                aspect=edit.aspect,
                seed=self._config.seed,
                kept=edit.kept or None,
                target_image_id=edit.target_image_id or None,
                **self._names,
            )

    def _ways_back(self, chunk: Chunk, rows: Iterable[tuple[int, EditRecord]], tally: Tally) -> Iterable[Triplet]:
        """From each edited caption to the caption, whose image is a real target; the edit says how the two differ."""
        for place, made in rows:
            caption, image_id = clean(chunk.captions[place]), chunk.image_ids[place]
            dice = Dice(f"{made.edited_caption}\n{image_id}", self._config.seed)
            back = difference(made.edited_caption, caption, image_id, dice)
            accepted, refused = self._config.filters.accept(made.edited_caption, [back] if back else [])
            tally.refuse(chunk.captions[place], refused if back else Counter(not_reversible=1))
            for edit in accepted:
                yield Triplet.make(
                    reference_of(made.edited_caption),
                    made.edited_caption,
                    edit.edit,
                    caption,
                    aspect=edit.aspect,
                    seed=self._config.seed,
                    kept=edit.kept or None,
                    target_image_id=image_id,
                    **self._names,
                )

    def _similarity_reasons(self, chunk: Chunk, rows: list[tuple[int, EditRecord]]) -> list[str | None]:
        """Why the similarity filters refuse each edit, or None."""
        texts = list(
            dict.fromkeys(
                text for place, made in rows for text in (chunk.captions[place], made.edit, made.edited_caption)
            )
        )
        vector = dict(zip(texts, self._encoder.encode_texts(texts), strict=True))
        images = None
        if self._config.needs_images:
            image_vectors = self._image_vectors(chunk)
            missing = np.full(self._encoder.dim, np.nan, np.float32)
            images = np.stack([image_vectors.get(chunk.image_ids[place], missing) for place, _ in rows])
        measured = Similarities.measure(
            np.stack([vector[chunk.captions[place]] for place, _ in rows]),
            np.stack([vector[made.edit] for _, made in rows]),
            np.stack([vector[made.edited_caption] for _, made in rows]),
            images,
        )
        return self._config.similarity.reasons(measured)

    def _image_vectors(self, chunk: Chunk) -> dict[str, Any]:
        """The vectors of the chunk's images. An image that cannot be decoded has none; encoding refuses it later."""
        records = {record.image_id: record for record in chunk.images}.values()
        return {
            record.image_id: vector
            for batch in embed_images(
                records, CaptionedImage.load, self._encoder, threads=1, fetch=CaptionedImage.fetched
            )
            for record, vector in zip(batch.sources, batch.vectors, strict=True)
        }
