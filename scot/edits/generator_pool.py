"""A pool of writers on a Ray cluster: a few chunks are under way at a time, and a writer that dies is started again."""

from __future__ import annotations

from collections import Counter
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from scot.edits.chunk_generator import ChunkGenerator
from scot.edits.chunk_results import Tally
from scot.edits.chunks import Chunk
from scot.edits.engines import EngineConfig
from scot.errors import Unavailable, our_cause

_UNDER_WAY = 2  # chunks of a writer: one at work, one waiting or already filling the gaps of the other


class GeneratorPool:
    """Writers as Ray actors.

    Args:
        writer: the arguments of each :class:`ChunkGenerator`.
        engine: its engine, which decides what a writer needs.
        writers: how many; 0: as many as the cluster's cores (rules) or GPUs (vllm) allow, else one.
    """

    def __init__(self, writer: tuple[Any, ...], engine: EngineConfig, writers: int) -> None:
        resources = ray.cluster_resources()
        if engine.engine == "vllm":
            gpus = engine.tensor_parallel_size if resources.get("GPU") else 0
            options: dict[str, Any] = {"num_cpus": 1, "num_gpus": gpus}
            room = int(resources.get("GPU", 1)) // (gpus or 1)
        else:
            options = {"num_cpus": 1}
            room = max(1, int(resources.get("CPU", 1)) - 1) if engine.engine == "rules" else 1
        options |= {"max_restarts": -1, "max_task_retries": -1, "max_concurrency": _UNDER_WAY}
        make: Any = ray.remote(**options)(ChunkGenerator)
        self._writers: list[Any] = [make.remote(*writer) for _ in range(writers or room)]
        self._under_way: dict[Any, int] = {}

    def submit(self, chunk: Chunk) -> list[Tally]:
        """Give a chunk to the writer with the least to do, when there is room; returns what was done meanwhile."""
        done: list[Tally] = []
        while len(self._under_way) >= _UNDER_WAY * len(self._writers):
            done += self._wait()
        loads = Counter(self._under_way.values())
        number = min(range(len(self._writers)), key=lambda n: loads[n])
        self._under_way[self._writers[number].write.remote(chunk)] = number
        return done

    def drain(self) -> list[Tally]:
        """Wait for all that is under way."""
        done: list[Tally] = []
        while self._under_way:
            done += self._wait()
        return done

    def close(self) -> None:
        """Stop the writers."""
        for writer in self._writers:
            ray.kill(writer)

    def _wait(self) -> list[Tally]:
        ready, _ = ray.wait(list(self._under_way), num_returns=1)
        try:
            return [ray.get(reference) for reference in ready]
        except RayTaskError as error:
            raise our_cause(error) from None
        except RayActorError as error:
            raise Unavailable(f"a writer of edits could not be started: {_reason(error)}") from error
        finally:
            for reference in ready:
                del self._under_way[reference]


def _reason(error: RayActorError) -> str:
    """The sentence at the end of the writer's own stack."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rpartition("Error: ")[2].rpartition("InvalidInput: ")[2] if lines else "it died"
