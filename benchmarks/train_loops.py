"""The loops that benchmarks/train.py compares. Each yields (triplets/s, share of waiting for data) every few steps."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from scot.composers.architectures import build
from scot.embeddings import cache
from scot.embeddings.cache import TripletEmbeddings
from scot.embeddings.memory_mapped import map_cache
from scot.training.checkpoint import checkpoint_name
from scot.training.config import TrainConfig
from scot.training.data import gather_batch, samples
from scot.training.loop import Trainer
from scot.training.objectives import ContrastiveLoss, TripletBatch

SEGMENT = 50
Segment = tuple[float, float]


def trainer(data: TripletEmbeddings, settings: TrainConfig, scratch: Path, between: list[float]) -> Iterator[Segment]:
    """The product; the seconds of each evaluation with its checkpoint go to ``between``."""
    run = Trainer(data, settings)
    asked = time.perf_counter()
    for event in run.run():
        if event.evaluated:
            steps_s = SEGMENT * settings.batch_size / event.triplets_per_s
            run.save(scratch / checkpoint_name(event.step))
            between.append(time.perf_counter() - asked - steps_s)
        yield event.triplets_per_s, event.data_wait
        asked = time.perf_counter()


def bare(data: TripletEmbeddings, settings: TrainConfig) -> Iterator[Segment]:
    """The loop that one would write by hand: the float32 vectors of every triplet in memory, a new order each epoch."""
    vectors = {f"{role}_BD": getattr(data, f"{role}_ND") for role in cache.ROLES}
    texts = {f"{role}_B": getattr(data, f"{role}_N") for role in cache.ROLES[1:]}

    def batches() -> Iterator[TripletBatch]:
        while True:
            order = torch.randperm(len(data))
            for start in range(0, len(data) - settings.batch_size + 1, settings.batch_size):
                rows = order[start : start + settings.batch_size]
                yield TripletBatch(**{name: column[rows] for name, column in {**vectors, **texts}.items()})

    return _fed(batches(), data.dim, settings)


def ray_data_joined(data: TripletEmbeddings, settings: TrainConfig, scratch: Path) -> Iterator[Segment]:
    """Ray Data over Parquet that holds the vectors of every triplet, shuffled in a buffer of ten batches."""
    import ray.data
    from ray.data.extensions import ArrowTensorArray

    for start in range(0, len(data), 10_000):
        rows = torch.arange(start, min(len(data), start + 10_000))
        batch = gather_batch(data, rows)
        columns: dict[str, Any] = {
            f"{role}_BD": ArrowTensorArray.from_numpy(getattr(batch, f"{role}_BD").half().numpy())
            for role in cache.ROLES
        } | {f"{role}_B": getattr(batch, f"{role}_B").numpy() for role in cache.ROLES[1:]}
        (scratch / "joined").mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), scratch / "joined" / f"{start:09d}.parquet")
    dataset = ray.data.read_parquet(str(scratch / "joined"))
    return _fed(_batches(dataset, settings, local_shuffle_buffer_size=10 * settings.batch_size), data.dim, settings)


class _Gather:
    """A Ray Data actor that gathers from the memory-mapped tables."""

    def __init__(self, folder: str, scratch: str) -> None:
        torch.set_num_threads(1)
        self._data = map_cache(folder, scratch)

    def __call__(self, batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """Row numbers to the columns of a batch."""
        gathered = gather_batch(self._data, torch.from_numpy(batch["data"].copy()))
        names = [*(f"{role}_BD" for role in cache.ROLES), *(f"{role}_B" for role in cache.ROLES[1:])]
        return {name: getattr(gathered, name).numpy() for name in names}


def ray_data_rows(data: TripletEmbeddings, settings: TrainConfig, folder: Path, scratch: Path) -> Iterator[Segment]:
    """Ray Data over row numbers in an exact order, gathered from the memory-mapped tables by an actor."""
    import ray.data

    order = samples(0, len(data), len(data), settings.seed)
    dataset = ray.data.from_numpy(np.array_split(order, max(1, len(order) // (8 * settings.batch_size)))).map_batches(
        _Gather, fn_constructor_args=(str(folder), str(scratch)), batch_size=settings.batch_size,
        compute=ray.data.ActorPoolStrategy(size=1), num_cpus=0.5,
    )  # fmt: skip
    return _fed(_batches(dataset, settings), data.dim, settings)


def _batches(dataset: Any, settings: TrainConfig, **options: Any) -> Iterator[TripletBatch]:
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    while True:
        for columns in dataset.iter_torch_batches(
            batch_size=settings.batch_size, prefetch_batches=2, drop_last=True, **options
        ):
            yield TripletBatch(
                **{name: column.float() if column.ndim == 2 else column for name, column in columns.items()}
            )


def _fed(batches: Iterator[TripletBatch], dim: int, settings: TrainConfig) -> Iterator[Segment]:
    """The bare loop over ready batches."""
    torch.manual_seed(settings.seed)
    composer, loss = build(settings.architecture, {"dim": dim}), ContrastiveLoss(settings.loss)
    parameters = [*composer.parameters(), *loss.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
    next(batches)  # how long a stream takes to start is not its speed
    while True:
        waited, started = 0.0, time.perf_counter()
        for _ in range(SEGMENT):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bfloat16"):
                query_BD = composer(batch.image_BD, batch.edit_BD)
            value, _ = loss(query_BD, batch)
            optimizer.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(parameters, settings.clip)
            optimizer.step()
        seconds = time.perf_counter() - started
        yield SEGMENT * settings.batch_size / seconds, waited / seconds
