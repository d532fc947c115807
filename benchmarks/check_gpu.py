"""What this machine's GPU does with every part of SCOT, in one table against the roofline: ``make check-gpu``.

    python benchmarks/check_gpu.py --budget 150 --output check-gpu.json

Needs no network, no weights of others and one GPU; without one it rehearses with tiny sizes. Ray, gRPC and Qdrant need
not be installed. Each part is a process with a share of the time: one that fails, dies or takes too long is a line of
the table, and the others run. The exit code is 1 if a line failed.

*roofline* is the rate that the measured matrix product (bfloat16) and copy of this very device allow: the smaller of
FLOP/s ÷ FLOPs and bytes/s ÷ bytes (Williams et al., Roofline, 2009); *share* is the measured rate ÷ that.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scot import flags
from scot.errors import InvalidInput

_PRELOADED = ["benchmarks.check_gpu_parts", "scot.encoders.clip", "scot.training.loop", "torch.utils.flop_counter"]
_LONGEST = 540
_TO_CLOSE_S = 5.0  # of the budget, for the table's end


@dataclass(frozen=True, slots=True)
class CheckGpu:
    """Measure the parts of SCOT on a GPU, and print one table.

    Example: python benchmarks/check_gpu.py --budget 150
    """

    budget: int = 150
    """Seconds for all parts together; a longer budget measures longer, at most 540."""
    rehearse: bool = False
    """Rehearse on the CPU, also where there is a GPU."""
    parts: tuple[str, ...] = ()
    """Only these parts: device, ViT-B-32, ViT-L-14, training, nccl, search, edits; by default all."""
    output: Path | None = None
    """Also write the table as JSON."""

    def __post_init__(self) -> None:
        if not 20 <= self.budget <= _LONGEST:
            raise InvalidInput(f"budget must be from 20 to {_LONGEST} seconds, not {self.budget}")
        if unknown := sorted(set(self.parts) - {*PARTS}):
            raise InvalidInput(f"there is no part {', '.join(unknown)}; parts: {', '.join(PARTS)}")


PARTS = {"device": 1.0, "ViT-B-32": 5.0, "ViT-L-14": 6.0, "training": 5.0, "nccl": 3.0, "search": 5.0, "edits": 15.0}
"""The parts, in order, and their shares of the time; what one leaves is the next ones'."""
_NOTHING_TO_DO = 0.5  # the share of the edits where vLLM is not installed


def main(config: CheckGpu) -> int:
    """Measure and print a Markdown table."""
    until = time.monotonic() + config.budget - _TO_CLOSE_S
    spawn = multiprocessing.get_context("forkserver")
    spawn.set_forkserver_preload(_PRELOADED)  # imported once; no process that has used a GPU is ever forked
    chip, sizes = _describe(spawn, config)
    print(f"{chip}\n", flush=True)
    print("| part | line | rate | TFLOP/s | roofline | share | |\n|---|---|---|---|---|---|---|", flush=True)
    rows: list[dict[str, Any]] = []
    left = {name: share for name, share in PARTS.items() if not config.parts or name in config.parts}
    if "edits" in left and find_spec("vllm") is None:
        left["edits"] = _NOTHING_TO_DO
    for name in [*left]:
        share = left.pop(name)
        seconds = (until - time.monotonic()) * share / (share + sum(left.values()))
        for row in run_part(spawn, name, sizes, seconds):
            print(f"| {name} | {row.cells()} |", flush=True)
            rows.append({"part": name, **asdict(row)})
            sizes = replace(sizes, ceilings={**sizes.ceilings, **row.ceilings})
    failed = sum(row["failed"] for row in rows)
    print(f"\n{len(rows)} lines, {failed} failed, {config.budget - _TO_CLOSE_S - (until - time.monotonic()):.0f} s")
    if config.output is not None:
        config.output.parent.mkdir(parents=True, exist_ok=True)
        config.output.write_text(json.dumps({"chip": chip, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    return int(failed > 0)


def _describe(spawn: Any, config: CheckGpu) -> tuple[str, Any]:
    """The device's name and the sizes, asked in a process of its own: this one never starts CUDA."""
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_described, args=(config.rehearse, config.budget, theirs))
    process.start()
    theirs.close()
    try:
        found: tuple[str, Any] = ours.recv()
    except EOFError:
        raise InvalidInput(f"the device cannot be used: its process ended with {_exit(process)}") from None
    process.join()
    return found


def _described(rehearse: bool, budget: int, answer: Connection) -> None:
    import torch

    from benchmarks.check_gpu_rows import Sizes, chip

    real = torch.cuda.is_available() and not rehearse
    sizes = Sizes("cuda", budget / 300) if real else Sizes.rehearsal()
    answer.send((chip(sizes.device), sizes))


def run_part(spawn: Any, name: str, sizes: Any, seconds: float) -> Iterator[Any]:
    """The rows of a part as they come; a part that dies or is late ends with a row that says so."""
    from benchmarks.check_gpu_rows import Row

    until = time.monotonic() + seconds
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_measure, args=(name, sizes, theirs))
    process.start()
    theirs.close()
    doing = "starting"
    try:
        while ours.poll(max(0.0, until - time.monotonic())):
            told = ours.recv()
            if isinstance(told, Row):
                yield told
            elif told is None:
                process.join(_TO_CLOSE_S)
                return
            else:
                doing = told
        yield Row(doing, note=f"FAILED: not finished within the {seconds:.0f} s of its part", failed=True)
    except EOFError:
        yield Row(doing, note=f"FAILED: the process ended with {_exit(process)}", failed=True)
    finally:
        with contextlib.suppress(ProcessLookupError):  # with what it started: compilers, the engine of vLLM
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
        ours.close()


def _exit(process: Any) -> str:
    process.join(_TO_CLOSE_S)
    code = process.exitcode
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _measure(name: str, sizes: Any, answer: Connection) -> None:
    """Run a part in this process; every line's failure is a row."""
    from benchmarks.check_gpu_rows import Row

    def failed(line: str, error: Exception) -> Row:
        traceback.print_exc()
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return Row(line, note=f"FAILED: {type(error).__name__}: {reason[0][:200]}", failed=True)

    os.setsid()
    try:
        from benchmarks.check_gpu_parts import part

        for line, work in part(name, sizes):
            answer.send(line)
            try:
                row = replace(work(), line=line)
            except Exception as error:
                row = failed(line, error)
            answer.send(row)
    except Exception as error:
        answer.send(failed("preparing", error))
    answer.send(None)


if __name__ == "__main__":
    sys.exit(flags.run("check_gpu.py", main, CheckGpu))
