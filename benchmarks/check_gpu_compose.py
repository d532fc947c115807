"""ComposeSearch and edit generation of check_gpu.

A search is what the service does for one request, by the service's own classes, without gRPC and Ray: decode and
resize on threads, both towers and the composer in the batches of its batcher, then an exact search on the device.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import normalize

from benchmarks.check_gpu_rows import Line, Row, Sizes, image_flops, text_flops
from benchmarks.check_gpu_towers import edits, encoder_of, random_model
from scot.composers.architectures import build
from scot.composers.base import LearnedComposer
from scot.data.images import decode_image
from scot.edit import Edit
from scot.edits.engines import EngineConfig, Sampling
from scot.edits.prompt import Prompt
from scot.encoders import Encoder
from scot.evaluation.topk import BLOCK, top_k
from services.search.composer.batcher import DynamicBatcher
from services.search.composer.compose_batch import compose_batch
from services.search.composer.embedding_cache import CachedEncoder
from services.search.composer.messages import ComposeJob, ComposeTurn

_LIMIT, _PICTURES, _SIDE = 10, 64, 256
_SERVED, _LARGE = 32, 128  # the service's default batch, and one that fills a large GPU


class Search:
    """One replica's work, for callers of one event loop."""

    def __init__(self, encoder: Encoder, gallery_ND: torch.Tensor, most: int) -> None:
        self._encoder, self._cached = encoder, CachedEncoder(encoder)
        module = build("combiner", {"dim": encoder.dim})
        self._composer = LearnedComposer("random", "combiner", encoder.id, module)
        self._blocks, self._device = gallery_ND.split(16 * BLOCK), gallery_ND.device
        self._threads = ThreadPoolExecutor(os.cpu_count())
        self._batcher = DynamicBatcher(self._work, most=most)
        self.batches: list[int] = []

    async def answer(self, picture: bytes, edit: str) -> list[int]:
        """The rows of the best items."""
        loop = asyncio.get_running_loop()
        pixels = await loop.run_in_executor(self._threads, lambda: self._encoder.resizing(decode_image(picture)))
        turn = ComposeTurn(images=((pixels, 1.0),), edits=(Edit(edit),))
        found = await self._batcher.answer(ComposeJob((turn,), "random"))
        if isinstance(found, Exception):
            raise found
        return found

    def _work(self, jobs: list[ComposeJob]) -> list[list[int] | Exception]:
        self.batches.append(len(jobs))
        composed = compose_batch(self._cached, lambda _: self._composer, jobs)
        failed = next((each for each in composed if isinstance(each, Exception)), None)
        if failed is not None:
            raise failed
        vectors = np.stack([each.vector for each in composed if not isinstance(each, Exception)])
        rows_QK, _ = top_k(torch.from_numpy(vectors).to(self._device), self._blocks, _LIMIT)
        return [*rows_QK.tolist()]


def compose_search(sizes: Sizes, name: str) -> Iterator[Line]:
    """Queries a second of one replica, at one client and at many."""
    config = sizes.model_config(name)
    flops = image_flops(config) + text_flops(config, 20) + 2.0 * sizes.gallery * config["embed_dim"]
    pictures, texts = _pictures(), edits(1_000)
    encoder = encoder_of(sizes, name, random_model(sizes, name), sizes.dtype)
    gallery_ND = normalize(torch.randn(sizes.gallery, encoder.dim, device=sizes.device), dim=-1)

    def load(clients: int, most: int) -> Row:
        search = Search(encoder, gallery_ND, most)
        taken, seconds = asyncio.run(_clients(search, clients, pictures, texts, 2 * sizes.seconds))
        rate = len(taken) / seconds
        p50, p99 = (1_000 * np.percentile(taken, at) for at in (50, 99))
        note = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, {statistics.mean(search.batches):.0f} a batch"
        roofline = sizes.bound(flops, gallery_ND.nbytes / min(clients, most))
        return Row("", rate, "queries/s", rate * flops / 1e12, roofline, note)

    for clients, most in ((1, _SERVED), (sizes.clients, _SERVED), (sizes.clients, _LARGE)):
        line = f"{name}, combiner, {sizes.gallery:,} items, batches up to {most}: {clients} at once"
        yield line, partial(load, clients, most)


async def _clients(
    search: Search, clients: int, pictures: list[bytes], texts: list[str], seconds: float
) -> tuple[list[float], float]:
    """The seconds of every query of a closed loop of clients, after a warm-up, and the seconds of all together."""
    await asyncio.gather(*(search.answer(pictures[n % _PICTURES], texts[n % len(texts)]) for n in range(clients)))
    search.batches.clear()
    taken: list[float] = []
    begun = time.perf_counter()

    async def client(number: int) -> None:
        while time.perf_counter() < begun + seconds:
            started = time.perf_counter()
            rows = await search.answer(pictures[number % _PICTURES], texts[(number + len(taken)) % len(texts)])
            if len(rows) != _LIMIT:
                raise RuntimeError(f"a search gave {len(rows)} items, not {_LIMIT}")
            taken.append(time.perf_counter() - started)

    await asyncio.gather(*map(client, range(clients)))
    return taken, time.perf_counter() - begun


def _pictures() -> list[bytes]:
    """JPEG files, noise over smooth colours: about as many bytes as photographs of their size have."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(_PICTURES):
        smooth = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((_SIDE, _SIDE))
        noisy = np.asarray(smooth, np.int16) + rng.integers(-12, 13, (_SIDE, _SIDE, 3))
        file = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
        found.append(file.getvalue())
    return found


def edit_generation(sizes: Sizes) -> Iterator[Line]:
    """Edits of a tiny random language model in vLLM, by SCOT's engine; a line that says so where vLLM is missing."""
    if find_spec("vllm") is None:
        yield "a tiny random Qwen2", lambda: Row("", note="vLLM is not installed here")
    else:
        yield "a tiny random Qwen2, edits by schema", lambda: asyncio.run(_edits(sizes))


async def _edits(sizes: Sizes) -> Row:
    from scot.edits.engines.vllm import VllmEngine
    from tests.vllm_cpu.model import save_random_model

    prompt = Prompt.load()
    schema, sampling = prompt.answer_schema(("addition",)), Sampling(0.7, 400, 0)
    with tempfile.TemporaryDirectory() as folder:
        model = save_random_model(Path(folder) / "tiny")
        config = EngineConfig(engine="vllm", model=str(model), concurrency=sizes.chats, gpu_memory_utilization=0.2)
        begun = time.perf_counter()
        engine = VllmEngine(config)
        loaded = time.perf_counter() - begun
        try:
            await engine.complete(prompt.messages("a red cat", ("addition",)), schema, sampling)
            begun = time.perf_counter()
            answers = await asyncio.gather(
                *(
                    engine.complete(prompt.messages(f"a red cat {n}", ("addition",)), schema, replace(sampling, seed=n))
                    for n in range(sizes.chats)
                )
            )
            seconds = time.perf_counter() - begun
        finally:
            await engine.close()
    for answer in answers:
        if not answer.cut_off:
            json.loads(answer.text, strict=False)
    written = sum(answer.completion_tokens for answer in answers)
    read = sum(answer.prompt_tokens for answer in answers)
    note = f"{len(answers)} chats, {read / seconds:,.0f} tokens read/s; loaded in {loaded:.0f} s"
    return Row("", written / seconds, "tokens/s", note=note)
