"""vLLM's engine in this process, for tests that are not coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from scot.edits.engines import EngineConfig
from scot.edits.engines.vllm import VllmEngine


class Loop:
    """The engine with the event loop it lives in."""

    def __init__(self, model: Path, concurrency: int = 16) -> None:
        self._runner = asyncio.Runner()

        async def load() -> VllmEngine:
            return VllmEngine(EngineConfig(engine="vllm", model=str(model), concurrency=concurrency))

        self.engine = self._runner.run(load())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    def close(self) -> None:
        self._runner.run(self.engine.close())
        self._runner.close()
