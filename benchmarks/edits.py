"""What edit generation costs: the service beside the raw engine, the job beside the service, the job's memory.

    python benchmarks/edits.py --output edits.json
    .venv-vllm/bin/python benchmarks/edits.py --engine vllm --model MODEL --captions 500

All parts answer the same captions, one after another in one run. *Raw* is the engine alone: the same chats, without
parsing, filters or gRPC. The job is measured where Ray is installed, its memory with the rules engine.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image

from benchmarks.machine import machine
from scot import flags
from scot.data.captioned import write_captioned
from scot.data.worlds import load_world
from scot.edits.engines import EngineConfig, Sampling, load_writer
from scot.edits.prompt import TOKENS_PER_EDIT, Prompt, answer_schema, aspects_for
from scot.edits.rules import RulesEngine
from scot.errors import Unavailable

ROOT = Path(__file__).resolve().parents[1]
COUNT = 4


@dataclass(frozen=True, slots=True)
class EditsBenchmark(EngineConfig):
    """Measure edit generation.

    Example: python benchmarks/edits.py --captions 20000
    """

    captions: int = 20_000
    """Captions of the throughput measurements."""
    corpora: tuple[int, ...] = (10_000, 100_000)
    """Sizes of the corpora on which the job's memory is compared; none: not measured."""
    output: Path | None = None
    """Also write the numbers as JSON."""


def main(config: EditsBenchmark) -> int:
    """Measure and print."""
    engine = EngineConfig(**{name: getattr(config, name) for name in EngineConfig.__dataclass_fields__})
    numbers: dict[str, Any] = {"machine": machine(), "engine": config.engine, "captions": config.captions}
    print(numbers["machine"], flush=True)
    captions = drawn(config.captions)
    numbers["raw"] = told("raw engine", raw(engine, captions), captions)
    with tempfile.TemporaryDirectory() as scratch:
        with service(engine) as address:
            numbers["service"] = told("service", through(address, captions), captions)
            if importlib.util.find_spec("ray"):
                corpus = write_corpus(Path(scratch) / "corpus", captions)
                flags_ = ("--engine", "service", "--url", address)
                seconds, memory = job(corpus, Path(scratch) / "triplets", *flags_)
                numbers["job"] = told("job", seconds, captions)
                numbers["job_memory_gib"] = memory
                print(f"job / service: {numbers['job'] / numbers['service']:.2f}")
        print(f"service / raw: {numbers['service'] / numbers['raw']:.2f}", flush=True)
        if importlib.util.find_spec("ray"):
            numbers["memory_gib"] = {}
            for size in config.corpora:
                corpus = write_corpus(Path(scratch) / f"corpus-{size}", drawn(size))
                seconds, memory = job(corpus, Path(scratch) / f"triplets-{size}")
                numbers["memory_gib"][size] = memory
                print(f"job with rules on {size:,} captions: {memory:.2f} GiB, {seconds:.1f} s", flush=True)
    if config.output:
        config.output.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    return 0


def drawn(count: int) -> list[str]:
    """Captions of both worlds, in turn."""
    rng, worlds = random.Random(0), [load_world(name) for name in ("wardrobe", "scenes")]
    return [(world := worlds[n % 2]).caption(world.sample(rng), rng) for n in range(count)]


def told(name: str, seconds: float, captions: Sequence[str]) -> float:
    """Print and return captions a second."""
    print(f"{name}: {len(captions) / seconds:,.1f} captions/s", flush=True)
    return len(captions) / seconds


def raw(config: EngineConfig, captions: Sequence[str]) -> float:
    """Seconds that the engine alone takes, loading aside."""
    if config.engine == "rules":
        engine, begun = RulesEngine(), time.perf_counter()
        for caption in captions:
            engine.edits(caption, count=COUNT, seed=0)
        return time.perf_counter() - begun

    async def ask() -> float:
        model, prompt = load_model(config), Prompt.load(config.prompt)
        places = asyncio.Semaphore(config.concurrency)

        async def one(caption: str) -> None:
            async with places:
                sampling = Sampling(prompt.temperature, TOKENS_PER_EDIT * COUNT + 32, seed=0)
                await model.complete(prompt.messages(caption, aspects_for(caption, COUNT, 0)), schema, sampling)

        schema = answer_schema(COUNT)
        await one(captions[0])  # the grammar is compiled and the prompt cached before the clock starts
        begun = time.perf_counter()
        await asyncio.gather(*map(one, captions))
        seconds = time.perf_counter() - begun
        await model.close()
        return seconds

    return asyncio.run(ask())


def load_model(config: EngineConfig) -> Any:
    """The engine of a config, without a writer around it."""
    if config.engine == "vllm":
        from scot.edits.engines.vllm import VllmEngine

        return VllmEngine(config)
    from scot.edits.engines.openai import OpenAIEngine

    return OpenAIEngine(config)


@contextmanager
def service(config: EngineConfig) -> Iterator[str]:
    """The edit service as a process of its own; HOST:PORT."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "services.edits",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--metrics-port",
        "0",
    ]
    for name in EngineConfig.__dataclass_fields__:
        if (value := getattr(config, name)) != EngineConfig.__dataclass_fields__[name].default:
            command += [f"--{name.replace('_', '-')}", str(value)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        if not any("is ready" in line for line in process.stdout):
            raise Unavailable("the edit service did not start")
        yield f"127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def through(address: str, captions: Sequence[str]) -> float:
    """Seconds that the service takes, as the job asks it."""

    async def ask() -> float:
        writer = load_writer(EngineConfig(engine="service", url=address))
        await writer.write(captions[:1], count=COUNT, seed=0)
        begun = time.perf_counter()
        await writer.write(captions, count=COUNT, seed=0)
        seconds = time.perf_counter() - begun
        await writer.close()
        return seconds

    return asyncio.run(ask())


def write_corpus(folder: Path, captions: Sequence[str]) -> Path:
    """A captioned folder; nothing looks at its pictures."""
    picture = Image.new("RGB", (4, 4))
    write_captioned(folder, ((f"i{n}", picture, list(captions[n : n + 10]), {}) for n in range(0, len(captions), 10)))
    return folder


def job(corpus: Path, output: Path, *flags_: str) -> tuple[float, float]:
    """Seconds that the job reports, and the most memory (GiB, proportional) of all its processes together."""
    command = [sys.executable, "ray_jobs/generate_edits.py", "--source", str(corpus), "--output", str(output), *flags_]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    most = 0
    while process.poll() is None:
        most = max(most, proportional_memory(process.pid))
        time.sleep(0.25)
    said = process.communicate()[0]
    if process.returncode:
        raise Unavailable(f"the job failed: {said.strip().splitlines()[-1:]}")
    seconds = float(said.rpartition(" (")[2].partition(" s)")[0])
    return seconds, most / 2**30


def proportional_memory(pid: int) -> int:
    """Bytes of a process and all that it started; shared pages are shared out (Linux)."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    family, ahead = {pid}, [pid]
    while ahead:
        parent = ahead.pop()
        born = {child for child, of in parents.items() if of == parent} - family
        family |= born
        ahead += born
    total = 0
    for member in family:
        try:
            lines = Path(f"/proc/{member}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


if __name__ == "__main__":
    sys.exit(flags.run("edits benchmark", main, EditsBenchmark))
