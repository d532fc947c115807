"""What edit generation costs: the service beside the raw engine, the job beside the service, the job's memory.

    python benchmarks/edits.py --output edits.json
    .venv-vllm/bin/python benchmarks/edits.py --engine vllm --model MODEL --captions 500
    python benchmarks/edits.py --endpoint-s 2 --captions 2000
    python benchmarks/edits.py --mined 1000000

All parts answer the same captions in one run, the raw engine and the service in turn (the median of three rounds is
told). *Raw* is the engine alone: the same chats, without parsing, filters or gRPC. The job is measured where Ray is
installed, its memory with the rules engine. ``--endpoint-s`` puts an OpenAI endpoint in the place of the model, which
takes as long for each answer and no processor: what is left is what the service and the job add. ``--mined`` measures
the pairs engine alone, in processor time: finding the pairs of drawn captions, and writing the edits of some of them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import json
import random
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image

from scot import flags
from scot.data.captioned_writer import write_captioned
from scot.edits.engines import EngineConfig
from scot.edits.engines.base import Completion
from scot.edits.filters import TextFilters
from scot.edits.generators import load_generator
from scot.edits.generators.base import ModelGenerator
from scot.edits.generators.pairs import PairsGenerator
from scot.edits.pairs import mine
from scot.edits.prompt import Prompt
from scot.edits.rules import RulesEngine
from scot.errors import Unavailable
from scot.machine import machine
from scot.worlds import load_world
from tests.support.rules_endpoint import MODEL, rules_endpoint

Alone = Callable[[int], Awaitable[None]]
ROOT = Path(__file__).resolve().parents[1]
COUNT = 4
ROUNDS = 3
WARM = 64  # captions before the clock starts: what is compiled or cached at first use


@dataclass(frozen=True, slots=True)
class EditsBenchmark(EngineConfig):
    """Measure edit generation.

    Example: python benchmarks/edits.py --captions 20000
    """

    captions: int = 20_000
    """Captions of the throughput measurements."""
    corpora: tuple[int, ...] = (10_000, 100_000)
    """Sizes of the corpora on which the job's memory is compared; none: not measured."""
    endpoint_s: float = 0.0
    """Seconds that an endpoint over the rules takes to answer a chat; 0: no endpoint."""
    mined: int = 0
    """Measure the pairs engine alone, on a corpus of this size; 0: the others."""
    output: Path | None = None
    """Also write the numbers as JSON."""


def main(config: EditsBenchmark) -> int:
    """Measure and print."""
    if config.mined:
        return mined(config)
    engine = EngineConfig(**{name: getattr(config, name) for name in EngineConfig.__dataclass_fields__})
    if not config.endpoint_s:
        return measure(config, engine)
    with rules_endpoint(config.endpoint_s) as url:
        return measure(config, dataclasses.replace(engine, engine="openai", model=MODEL, url=url))


def measure(config: EditsBenchmark, engine: EngineConfig) -> int:
    """Measure one engine and print."""
    numbers: dict[str, Any] = {"machine": machine(), "engine": engine.engine, "captions": config.captions}
    print(numbers["machine"], flush=True)
    captions = drawn(config.captions)
    with tempfile.TemporaryDirectory() as scratch:
        with service(engine) as address:
            alone, served = asyncio.run(in_turn(engine, address, captions))
            numbers["raw"] = told("raw engine", statistics.median(alone), captions)
            numbers["service"] = told("service", statistics.median(served), captions)
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
                seconds, memory = job(corpus, Path(scratch) / f"triplets-{size}", "--engine", "rules")
                numbers["memory_gib"][size] = memory
                print(f"job with rules on {size:,} captions: {memory:.2f} GiB, {seconds:.1f} s", flush=True)
    if config.output:
        config.output.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    return 0


def mined(config: EditsBenchmark) -> int:
    """Measure the pairs engine and print."""
    captions = drawn(config.mined)
    rows = [(f"i{n}", caption) for n, caption in enumerate(captions)]
    begun = time.process_time()
    index = mine(rows, seed=0)
    seconds = time.process_time() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(machine())
    numbers = {"machine": machine(), "mining": told("mining", seconds, captions), "memory_gib": memory}
    print(
        f"{index.share_with_pairs():.1%} of {config.mined:,} captions have a pair; at most {memory:.2f} GiB", flush=True
    )
    generator, some = PairsGenerator(index, TextFilters()), captions[: config.captions]
    begun = time.process_time()
    asyncio.run(generator.generate(some, count=COUNT, seed=0))
    numbers["writing"] = told("writing", time.process_time() - begun, some)
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


async def in_turn(config: EngineConfig, address: str, captions: Sequence[str]) -> tuple[list[float], list[float]]:
    """Seconds that the engine alone takes, and the service as the job asks it; in turn, as often as the rounds."""
    alone = raw(config, await chats_of(config, captions)) if config.engine != "rules" else rules(captions)
    generator = load_generator(EngineConfig(engine="service", url=address))
    await alone(WARM)
    await generator.generate(captions[:WARM], count=COUNT, seed=0)
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        await alone(len(captions))
        seconds[0].append(time.perf_counter() - begun)
        begun = time.perf_counter()
        await generator.generate(captions, count=COUNT, seed=0)
        seconds[1].append(time.perf_counter() - begun)
    await generator.close()
    return seconds


def rules(captions: Sequence[str]) -> Alone:
    """The rules engine alone, on the first captions."""
    engine = RulesEngine()

    async def answer(first: int) -> None:
        for caption in captions[:first]:
            engine.edits(caption, count=COUNT, seed=0)

    return answer


def raw(config: EngineConfig, chats: Sequence[tuple[Any, ...]]) -> Alone:
    """A model alone, on the first chats."""
    model, places = load_model(config), asyncio.Semaphore(config.concurrency)

    async def one(chat: tuple[Any, ...]) -> None:
        async with places:
            await model.complete(*chat)

    async def answer(first: int) -> None:
        await asyncio.gather(*map(one, chats[:first]))

    return answer


async def chats_of(config: EngineConfig, captions: Sequence[str]) -> list[tuple[Any, ...]]:
    """The chats, schemas and sampling that the service sends its engine for those captions that it does not refuse."""
    heard: list[tuple[Any, ...]] = []

    class Listener:
        id = "listener"

        async def complete(self, *chat: Any) -> Completion:
            heard.append(chat)
            return Completion("", 0, 0, cut_off=False)

        async def check(self) -> None:
            pass

        async def close(self) -> None:
            pass

    await ModelGenerator(Listener(), Prompt.load(config.prompt), TextFilters()).generate(captions, count=COUNT, seed=0)
    return heard


def load_model(config: EngineConfig) -> Any:
    """The engine of a config, without a generator around it."""
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
