"""``scot plan``: what a job of a given size needs, and how well an earlier plan described a finished run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from scot.plan.check import Comparison, compare
from scot.plan.stages import Planner, Stage
from scot.plan.workload import Prices, Workload
from scot.results import print_json


@dataclass(frozen=True)
class PlanConfig:
    """Tell in advance what edits, encoding, pretraining, indexing and serving need: hours, disk, machines and money.

    Example: scot plan --images 10000000 --gpu L4 --gpus 8 --quantization int8 --vectors-memory cold
    """

    work: Workload = field(default_factory=Workload)
    """The data and the machines."""
    prices: Prices = field(default_factory=Prices)
    """Your prices."""
    check: tuple[str, ...] = ()
    """Compare with finished runs instead: folders or files of reports (`_report.json`) that the jobs wrote."""
    json: bool = False
    """Print one line of JSON."""


def plan(config: PlanConfig) -> int:
    """Print the plan, or the comparison.

    Raises:
        InvalidInput: a number is out of its range, the encoder or the GPU is unknown, or there is no report.
    """
    if config.check:
        return _check(config)
    planner = Planner(config.work)
    stages = planner.stages()
    if config.json:
        rows = [_row(stage, config.prices) for stage in stages]
        print_json({"workload": asdict(config.work), "stages": rows, "sources": planner.sources()})
        return 0
    for line in _lines(stages, config.prices):
        print(line)
    print("\nsources")
    for name, each in planner.sources().items():
        print(f"  {name} = {each['value']:,.6g} {each['unit']}\n    {each['source']}")
    return 0


def _row(stage: Stage, prices: Prices) -> dict[str, Any]:
    return asdict(stage) | {"price": stage.price(prices) if prices.given else None}


def _lines(stages: Sequence[Stage], prices: Prices) -> Iterator[str]:
    """A table, the price of all, and the notes."""
    head = ("", "hours", "core hours", "GPU hours", "GB", "M tokens", "price")
    rows = [
        (
            stage.name,
            "" if stage.hours is None else number(stage.hours),
            *(number(value) for value in (stage.core_hours, stage.gpu_hours, stage.gb, stage.tokens / 1e6)),
            number(stage.price(prices)),
        )
        for stage in stages
    ]
    shown = len(head) if prices.given else len(head) - 1
    widths = [max(len(row[place]) for row in (head, *rows)) for place in range(shown)]
    for row in (head, *rows):
        name, *cells = row[:shown]
        rest = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        yield "  ".join((name.ljust(widths[0]), *rest)).rstrip()
    yield ""
    for stage in stages:
        yield f"{stage.name}: " + "; ".join((*([stage.machines] if stage.machines else []), *stage.notes))


def number(value: float) -> str:
    """Three significant digits with separators; nothing for zero."""
    if not value:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _check(config: PlanConfig) -> int:
    found = compare(config.check, config.work)
    if config.json:
        print_json({"compared": [asdict(each) for each in found]})
        return 0
    for each in found:
        print(_sentence(each))
    return 0


def _sentence(found: Comparison) -> str:
    times = f"{found.ratio:.2f} times the plan" if found.ratio is not None else "the plan has none"
    numbers = f"{number(found.reported)} {found.unit}, planned {number(found.planned)}"
    return f"{found.job}: {numbers}: {times} ({found.what}; {found.machine})"
