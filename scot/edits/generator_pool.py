"""Chunk generators: on a Ray cluster a few chunks are in progress at a time; or one in this process, without Ray."""

from __future__ import annotations

import asyncio
from typing import Any

from scot.edits.chunk_generator import ChunkGenerator
from scot.edits.chunks import Chunk, Tally
from scot.edits.engines import EngineConfig
from scot.edits.engines.config import MODELS, WITHOUT_MODEL
from scot.pool import Pool, RayPool

MODEL_CHUNK = 16
"""Captions of a chunk for a language model: what a kill may lose of the finished answers."""
_CHUNKS_EACH = 2  # in progress in one process: the second waits, or fills the gaps of the first

GeneratorPool = Pool[Chunk, Tally]
"""Generates chunks, in any order; the results are the counts of those that are finished."""


def open_pool(arguments: tuple[Any, ...], engine: EngineConfig, num_workers: int) -> GeneratorPool:
    """``num_workers`` processes on the running Ray, as many as fit if negative; 0: this process.

    As many as fit are as many as the cluster's cores (engines without a model) or GPUs (vllm) allow, else one.
    """
    if not num_workers:
        return LocalGenerator(arguments)
    import ray

    resources = ray.cluster_resources()
    if engine.engine == "vllm":
        gpus = engine.tensor_parallel_size if resources.get("GPU") else 0
        options: dict[str, Any] = {"num_cpus": 1, "num_gpus": gpus}
        room = int(resources.get("GPU", 1)) // (gpus or 1)
    else:
        options = {"num_cpus": 1}
        room = max(1, int(resources.get("CPU", 1)) - 1) if engine.engine in WITHOUT_MODEL else 1
    chunks_each = _CHUNKS_EACH
    if engine.engine in MODELS:  # enough chunks for the chats that the engine answers at once
        chunks_each += engine.concurrency // MODEL_CHUNK
    return RayPool(
        ChunkGenerator, arguments, "generate", count=num_workers if num_workers > 0 else room,
        items_each=chunks_each, options=options, what="a process that generates edits",
    )  # fmt: skip


class LocalGenerator:
    """One chunk generator in this process; see :class:`scot.pool.Pool`."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self._generator = ChunkGenerator(*arguments)
        self._runner = asyncio.Runner()  # one event loop for all chunks: clients of models belong to it

    def submit(self, item: Chunk) -> list[Tally]:
        """See :class:`scot.pool.Pool`."""
        return [self._runner.run(self._generator.generate(item))]

    def drain(self) -> list[Tally]:
        """See :class:`scot.pool.Pool`."""
        return []

    def close(self) -> None:
        """See :class:`scot.pool.Pool`."""
        self._runner.close()
