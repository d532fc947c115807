"""Chunk generators: on a Ray cluster a few chunks are in progress at a time and a dead process is restarted; or one
in this process, without Ray."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Protocol

from scot.edits.chunk_generator import ChunkGenerator
from scot.edits.chunks import Chunk, Tally
from scot.edits.engines import EngineConfig
from scot.edits.engines.config import MODELS, WITHOUT_MODEL
from scot.errors import Unavailable, our_cause

MODEL_CHUNK = 16
"""Captions of a chunk for a language model: what a kill may lose of the finished answers."""
_CHUNKS_EACH = 2  # in progress in one process: the second waits, or fills the gaps of the first


class GeneratorPool(Protocol):
    """Generates chunks, in any order."""

    def submit(self, chunk: Chunk) -> list[Tally]:
        """Begin a chunk; returns the counts of the chunks finished meanwhile."""

    def drain(self) -> list[Tally]:
        """Finish all chunks in progress."""

    def close(self) -> None:
        """Stop at once."""


def open_pool(arguments: tuple[Any, ...], engine: EngineConfig, num_workers: int) -> GeneratorPool:
    """``num_workers`` processes on the running Ray, as many as fit if negative; 0: this process."""
    return RayGenerators(arguments, engine, num_workers) if num_workers else LocalGenerator(arguments)


class LocalGenerator:
    """One chunk generator in this process; see :class:`GeneratorPool`."""

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self._generator = ChunkGenerator(*arguments)
        self._runner = asyncio.Runner()  # one event loop for all chunks: clients of models belong to it

    def submit(self, chunk: Chunk) -> list[Tally]:
        """See :class:`GeneratorPool`."""
        return [self._runner.run(self._generator.generate(chunk))]

    def drain(self) -> list[Tally]:
        """See :class:`GeneratorPool`."""
        return []

    def close(self) -> None:
        """See :class:`GeneratorPool`."""
        self._runner.close()


class RayGenerators:
    """Chunk generators as Ray actors.

    Args:
        arguments: the arguments of each :class:`ChunkGenerator`.
        engine: its engine, which decides the resources of each process.
        count: the number of processes; below 0: as many as the cluster's cores (engines without a model) or GPUs
            (vllm) allow, else one.
    """

    def __init__(self, arguments: tuple[Any, ...], engine: EngineConfig, count: int) -> None:
        import ray

        self._ray = ray
        resources = ray.cluster_resources()
        if engine.engine == "vllm":
            gpus = engine.tensor_parallel_size if resources.get("GPU") else 0
            options: dict[str, Any] = {"num_cpus": 1, "num_gpus": gpus}
            room = int(resources.get("GPU", 1)) // (gpus or 1)
        else:
            options = {"num_cpus": 1}
            room = max(1, int(resources.get("CPU", 1)) - 1) if engine.engine in WITHOUT_MODEL else 1
        self._chunks_each = _CHUNKS_EACH
        if engine.engine in MODELS:  # enough chunks for the chats that the engine answers at once
            self._chunks_each += engine.concurrency // MODEL_CHUNK
        options |= {"max_restarts": -1, "max_task_retries": -1, "max_concurrency": self._chunks_each}
        make: Any = ray.remote(**options)(ChunkGenerator)
        self._generators: list[Any] = [make.remote(*arguments) for _ in range(count if count > 0 else room)]
        self._in_progress: dict[Any, int] = {}

    def submit(self, chunk: Chunk) -> list[Tally]:
        """Give a chunk to the least busy process, when there is room; returns the chunks finished meanwhile."""
        done: list[Tally] = []
        while len(self._in_progress) >= self._chunks_each * len(self._generators):
            done += self._wait()
        loads = Counter(self._in_progress.values())
        number = min(range(len(self._generators)), key=lambda n: loads[n])
        self._in_progress[self._generators[number].generate.remote(chunk)] = number
        return done

    def drain(self) -> list[Tally]:
        """Wait for all chunks in progress."""
        done: list[Tally] = []
        while self._in_progress:
            done += self._wait()
        return done

    def close(self) -> None:
        """Stop the processes."""
        for generator in self._generators:
            self._ray.kill(generator)

    def _wait(self) -> list[Tally]:
        from ray.exceptions import RayActorError, RayTaskError

        ready, _ = self._ray.wait(list(self._in_progress), num_returns=1)
        try:
            return [self._ray.get(reference) for reference in ready]
        except RayTaskError as error:
            raise our_cause(error) from None
        except RayActorError as error:
            raise Unavailable(f"a process that generates edits could not be started: {_reason(error)}") from error
        finally:
            for reference in ready:
                del self._in_progress[reference]


def _reason(error: Exception) -> str:
    """The sentence at the end of the actor's stack trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rpartition("Error: ")[2].rpartition("InvalidInput: ")[2] if lines else "it died"
