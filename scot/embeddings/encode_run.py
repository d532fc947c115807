"""One run of encoding: its chunks, encoded by workers or found finished, and the cache that they become."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from scot.data.captioned import Source
from scot.data.key_table import KeyTable, disk_array
from scot.data.records import Refusals
from scot.data.shards import Manifest
from scot.embeddings import cache
from scot.embeddings.cache import CacheInfo
from scot.embeddings.chunk_encoder import EncoderSettings, Job, open_encoders
from scot.embeddings.chunk_shards import Rows, Written
from scot.embeddings.chunks import Chunk
from scot.embeddings.earlier_vectors import EarlierVectors
from scot.embeddings.needed import Needed
from scot.embeddings.pairs import PAIRS, write_pairs
from scot.encoders import Encoder
from scot.errors import InvalidInput
from scot.pool import Pool
from scot.progress import Progress, Task


class EncodeRun:
    """The chunks of one run: encoded, then published as a cache."""

    def __init__(self, settings: EncoderSettings, model: Encoder, source: dict[str, str], progress: Progress) -> None:
        self._settings, self._source, self._progress = settings, source, progress
        self._encoder_id = model.id
        self._model = model if settings.num_workers == 0 else None
        self._shards = {part: settings.shards(part) for part in (cache.IMAGES, cache.TEXTS)}
        self._earlier: dict[str, EarlierVectors] = {}
        self.written: dict[str, list[Written]] = {part: [] for part in self._shards}
        self.fresh: list[Written] = []

    def encode(self, chunks: Iterable[Chunk], task: Task) -> None:
        """Encode the chunks that are not finished."""
        finished = {part: shards.finished(self._progress) for part, shards in self._shards.items()}
        pool: Pool[Job, Written] | None = None
        try:
            for chunk in chunks:
                if (done := finished[chunk.part].get(chunk)) is not None:
                    self.written[chunk.part].append(done)
                    task.skip(done.shards[chunk.part].rows)
                    continue
                pool = pool or open_encoders(self._settings, self._model)
                for each in pool.submit(Job(chunk, self._earlier_of(chunk.part).take(chunk))):
                    self._add(each, task)
            for each in pool.drain() if pool else ():
                self._add(each, task)
        finally:
            if pool is not None:
                pool.close()
        for written in self.written.values():
            written.sort(key=lambda each: each.number)

    def _add(self, each: Written, task: Task) -> None:
        self.written[each.part].append(each)
        self.fresh.append(each)
        task.advance(each.shards[each.part].rows)

    def _earlier_of(self, part: str) -> EarlierVectors:
        if part not in self._earlier:
            encoder_id, source = self._encoder_id, self._source[part]
            self._earlier[part] = EarlierVectors(
                self._settings.output, part,
                (lambda extra: extra.get("source") == source)
                if part == cache.IMAGES
                else (lambda extra: extra.get("encoder_id") == encoder_id),
                self._settings.dim, states=self._settings.states is not None,
            )  # fmt: skip
        return self._earlier[part]

    def captions_as_images(self, captions: KeyTable) -> None:
        """Write ``images/`` from the texts that are captions, a shard for each shard of texts."""
        for each in self.written[cache.TEXTS]:
            keys, vectors_ND = self._shards[cache.TEXTS].rows(each)
            at = np.flatnonzero(captions.find(keys) >= 0)
            names = [keys[place] for place in at]
            rows = Rows(names, vectors_ND[at], [None] * len(names))
            chunk = Chunk(cache.IMAGES, each.number, tuple(names))
            reused = len(names) if each.reused == each.keys else 0
            self.written[cache.IMAGES].append(self._shards[cache.IMAGES].write(chunk, rows, Counter(), reused=reused))

    def publish(
        self,
        needed: Needed,
        refusals: Refusals,
        widths: dict[str, int],
        sources: Sequence[Source],
    ) -> CacheInfo:
        """Write the triplets' rows and all manifests. Raises InvalidInput: no triplet has an image."""
        output = self._settings.output
        row_of = {part: self._rows_of(part, getattr(needed, part)) for part in self._shards}
        refused = refusals.counts + sum((each.refused for each in self.written[cache.IMAGES]), Counter())
        refused += sum((each.refused for each in self.written[cache.TEXTS]), Counter())
        if not (row_of[cache.IMAGES] >= 0).any():
            reasons = ", ".join(f"{count} {name}" for name, count in refused.most_common()) or "no id is in the sources"
            raise InvalidInput(
                f"none of the {len(needed.triplets)} triplets has a usable picture in "
                f"{', '.join(each.name for each in sources)} ({reasons})"
            )
        manifests: dict[str, Manifest] = {}
        for part, shards in self._shards.items():
            manifests |= shards.publish(self.written[part], self._extra(part, widths))
        dropped = Counter[str]()
        rows = _rows(needed, row_of, dropped)
        hashes = {cache.TRIPLETS: cache.write_triplet_rows(output, rows)}
        hashes |= {kind: manifest.hash for kind, manifest in manifests.items()}
        counts = {part: manifests[part].count for part in self._shards}
        counts[cache.TRIPLETS] = len(needed.triplets) - dropped["triplet_without_image"]
        counts |= {kind: int(each.extra["total"]) for kind, each in manifests.items() if "total" in each.extra}
        if needed.pairs:
            places_of = {part: _Places(getattr(needed, part), row_of[part]) for part in self._shards}
            test = write_pairs(output, needed.pairs, places_of[cache.IMAGES], places_of[cache.TEXTS])
            if test.count:
                hashes[PAIRS] = test.hash
                counts[PAIRS] = test.count
        rejected = {f"image_{reason}": count for reason, count in sorted(refused.items())} | dict(+dropped)
        if needed.repeated:
            rejected["duplicate_triplet"] = needed.repeated
        info = CacheInfo(
            self._encoder_id, self._settings.dim, self._source[cache.TEXTS], counts, rejected, "",
            states=widths, captions_only=needed.captions_only,
        )  # fmt: skip
        info = dataclasses.replace(info, hash=cache.content_hash(hashes[part] for part in info.parts))
        cache.write_info(output, info)
        return info

    def _extra(self, part: str, widths: dict[str, int]) -> dict[str, dict[str, Any]]:
        """What the manifests of a part say besides its shards, by kind."""
        about = {"encoder_id": self._encoder_id, "dim": self._settings.dim, "source": self._source[part]}
        if part not in widths:
            return {part: about}
        places = sum(each.places for each in self.written[part])
        states = {"width": widths[part], "total": places, **about}
        if self._settings.states != "float16":
            states["dtype"] = self._settings.states
        return {part: about, cache.STATES[part]: states}

    def _rows_of(self, part: str, numbers: KeyTable) -> npt.NDArray[np.int64]:
        """The row of each numbered image or text; −1 for one that has none."""
        row_N: npt.NDArray[Any] = disk_array((len(numbers),), np.int64)
        row_N[:] = -1
        rows = 0
        for keys in self._shards[part].keys(self.written[part]):
            row_N[numbers.find(keys)] = np.arange(rows, rows + len(keys))
            rows += len(keys)
        return row_N


class _Places(Mapping[str, int]):
    """The row of each image or text that has one, as a mapping."""

    def __init__(self, numbers: KeyTable, row_N: npt.NDArray[np.int64]) -> None:
        self._numbers, self._row_N = numbers, row_N

    def __getitem__(self, key: str) -> int:
        number = self._numbers.number(key)
        if number < 0 or self._row_N[number] < 0:
            raise KeyError(key)
        return int(self._row_N[number])

    def __iter__(self) -> Iterator[str]:
        raise TypeError("the keys themselves are not stored")

    def __len__(self) -> int:
        return int((self._row_N >= 0).sum())


def _rows(needed: Needed, row_of: dict[str, npt.NDArray[np.int64]], dropped: Counter[str]) -> Iterator[pa.Table]:
    """The triplets with an image and all texts, as rows into the two tables; counts the others."""
    yield cache.TRIPLET_SCHEMA.empty_table()
    for table in needed.tables():
        columns = {}
        for role, name in cache.COLUMNS.items():
            part = cache.IMAGES if role == "image" else cache.TEXTS
            columns[role] = row_of[part][getattr(needed, part).find(table.column(name).to_pylist())]
        complete = np.min(np.stack(list(columns.values())), axis=0) >= 0
        dropped["triplet_without_image"] += int((~complete).sum())
        ids = table.column("triplet_id").combine_chunks().filter(pa.array(complete))
        yield pa.Table.from_arrays(
            [ids, *(pa.array(column[complete]) for column in columns.values())], schema=cache.TRIPLET_SCHEMA
        )
