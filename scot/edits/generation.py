"""Captions to triplets through Ray Data: the engine runs on the cluster's cores, the driver writes the shards."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import ray.data

from scot.data.captioned import Refusals, read_captioned
from scot.data.shards import Manifest
from scot.data.triplets import Triplet, write_triplets
from scot.edits.engines import load_engine
from scot.errors import InvalidInput

_BATCH = 512
Columns = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Generated:
    """What a generation wrote."""

    manifest: Manifest
    captions: int
    seconds: float


class GenerateEdits:
    """A Ray Data batch function: captions in; out comes a row for each edit, and one for each reason of refusal."""

    def __init__(self, engine: str, count: int, seed: int) -> None:
        self._engine, self._count, self._seed = load_engine(engine), count, seed

    def __call__(self, batch: Columns) -> dict[str, npt.NDArray[Any]]:
        """``image_id, caption`` to rows of edits (``edit`` is set) and refusals (``refused`` and ``count``)."""
        rows: list[tuple[str, str, str, str, str, str, int]] = []
        refused: Counter[str] = Counter()
        for image_id, caption in zip(batch["image_id"], batch["caption"], strict=True):
            made = self._engine.edits(str(caption), count=self._count, seed=self._seed)
            refused.update(made.refused)
            rows += [(str(image_id), str(caption), e.edit, e.edited_caption, e.aspect, "", 1) for e in made.edits]
        rows += [("", "", "", "", "", reason, count) for reason, count in sorted(refused.items())]
        names = ("image_id", "caption", "edit", "edited_caption", "aspect", "refused", "count")
        columns = zip(*rows, strict=True) if rows else ([] for _ in names)
        return {
            name: np.array(list(column), dtype=np.int64 if name == "count" else object)
            for name, column in zip(names, columns, strict=True)
        }


def generate_triplets(
    sources: Sequence[str],
    output: str,
    *,
    engine: str = "rules",
    edits_per_caption: int = 4,
    seed: int = 0,
    on_progress: Callable[[str], None] = lambda line: None,
) -> Generated:
    """Write triplets for every caption of ``sources`` into ``output``; Ray must be running.

    Args:
        sources: captioned images (:func:`scot.data.captioned.read_captioned`).
        output: the folder of triplet shards; one that holds the result of the same run is left as it is.
        engine: which engine writes the edits (:func:`scot.edits.engines.load_engine`).
        edits_per_caption: how many edits to ask for.
        seed: the same seed gives the same triplets.
        on_progress: receives a line of progress now and then.

    Raises:
        NotFound, InvalidInput: a source cannot be read, the engine is unknown, or no caption could be edited.
    """
    if not 1 <= edits_per_caption <= 16:
        raise InvalidInput(f"edits_per_caption must be 1 to 16, not {edits_per_caption}")
    if not sources:
        raise InvalidInput("name at least one source of captioned images")
    writer = load_engine(engine)
    started = time.monotonic()
    refusals = Refusals()
    captions = [
        {"image_id": record.image_id, "caption": caption}
        for record in chain.from_iterable(read_captioned(source, refusals) for source in sources)
        for caption in record.captions
    ]
    if not captions:
        raise InvalidInput(f"no usable caption in {', '.join(sources)}: {refusals.summary()}")
    rejected: Counter[str] = Counter({f"source_{reason}": count for reason, count in refusals.counts.items()})
    _quieten()
    data = ray.data.from_items(captions, override_num_blocks=max(1, len(captions) // (4 * _BATCH)))
    edited = data.map_batches(
        GenerateEdits,
        fn_constructor_args=(engine, edits_per_caption, seed),
        batch_size=_BATCH,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, int(ray.cluster_resources().get("CPU", 1)) - 1)),
    )

    def triplets() -> Iterator[Triplet]:
        accepted, last = 0, started
        for batch in edited.iter_batches(batch_size=None, batch_format="numpy"):
            for row in zip(
                *(
                    batch[name]
                    for name in ("image_id", "caption", "edit", "edited_caption", "aspect", "refused", "count")
                ),
                strict=True,
            ):
                image_id, caption, edit, edited_caption, aspect, reason, count = row
                if reason:
                    rejected[str(reason)] += int(count)
                    continue
                accepted += 1
                yield Triplet.make(
                    str(image_id),
                    str(caption),
                    str(edit),
                    str(edited_caption),
                    aspect=str(aspect),
                    generator=writer.generator,
                    prompt_version=writer.prompt_version,
                    seed=seed,
                )
            if time.monotonic() - last > 3:
                last = time.monotonic()
                on_progress(f"{accepted:,} edits of {len(captions):,} captions ({accepted / (last - started):,.0f}/s)")

    # Blocks arrive in any order; sorted by id, equal runs write equal shards.
    made = sorted(triplets(), key=lambda triplet: triplet.triplet_id)
    if not made:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in rejected.most_common())
        raise InvalidInput(f"the {engine} engine found nothing to edit in {len(captions):,} captions ({reasons})")
    manifest = write_triplets(output, made, rejected)
    return Generated(manifest, len(captions), time.monotonic() - started)


def _quieten() -> None:
    """Ray Data's own progress, for which ours stands."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
