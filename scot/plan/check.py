"""The plan beside what finished jobs report: the same counts, planned for the machine that ran them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from scot.errors import InvalidInput
from scot.plan.stages import STAGES, Planner
from scot.plan.workload import Engine, Workload


@dataclass(frozen=True, slots=True)
class Comparison:
    """One number of a job: what the plan says for its counts, and what the job reported."""

    job: str
    what: str
    unit: str
    planned: float
    reported: float
    machine: str
    """What ran it, and how busy it was when it ended."""

    @property
    def ratio(self) -> float | None:
        """Reported ÷ planned."""
        return self.reported / self.planned if self.planned else None


def compare(places: Sequence[str], work: Workload) -> list[Comparison]:
    """Compare the reports below some folders with plans of the same size.

    The counts, the engine, the encoder and the CPU cores are those of a report; the GPUs are those of ``work``.

    Raises:
        NotFound: a place has no report.
        InvalidInput: a report cannot be read, or none is of a kind that is planned.
    """
    from scot.data.run_report import read_reports  # fsspec and pyarrow, which a plan alone does not need

    found = [line for place in places for report in read_reports(place) for line in _lines(report, work)]
    if not found:
        raise InvalidInput(f"no report in {', '.join(places)} has work that is planned")
    return found


def _lines(report: Any, work: Workload) -> Iterator[Comparison]:
    counts: Mapping[str, float] = report.counts
    settings: Mapping[str, Any] = report.settings
    work = replace(work, cores=report.cores, captions=1)
    triplets, texts = counts.get("triplets", 0.0), counts.get("texts", 0.0)
    if "encoder" in settings:
        work = replace(work, encoder=_encoder_name(str(settings["encoder"])))
    match report.job:
        case "edits":
            if settings.get("engine") not in get_args(Engine):
                return
            work = replace(work, images=int(counts["captions"]), engine=settings["engine"])
            work = replace(work, edits_per_caption=int(settings["edits_per_caption"]))
            what = f"{counts['captions']:,.0f} captions"
        case "encoding":
            work = replace(work, images=max(1, int(counts["images"])), states=settings["states"])
            what = f"{counts['images']:,.0f} images and {texts:,.0f} texts"
        case "pretraining":
            work = replace(work, steps=int(counts["steps"]), batch_size=int(counts["batch_size"]), images=1)
            what = f"{counts['steps']:,.0f} steps of {counts['batch_size']:,.0f} triplets"
        case "indexing":
            work = replace(work, images=max(1, int(counts["images"])), store=settings["store"])
            what = f"{counts['images']:,.0f} images"
        case _:
            return
    planner = Planner(work, triplets=0.0 if report.job == "edits" else triplets, texts=texts)
    stage = STAGES[report.job](planner)
    if stage.hours is not None:
        yield Comparison(report.job, what, "hours", stage.hours, report.seconds / 3_600, report.machine)
    if bytes_ := counts.get("bytes", 0.0):
        yield Comparison(report.job, what, "GB on the disk", stage.gb, bytes_ / 1e9, report.machine)
    if tokens := counts.get("prompt_tokens", 0.0) + counts.get("completion_tokens", 0.0):
        yield Comparison(report.job, what, "million tokens", stage.tokens / 1e6, tokens / 1e6, report.machine)
    if report.job == "edits":
        yield Comparison(report.job, what, "triplets", planner.triplets, triplets, report.machine)


def _encoder_name(encoder_id: str) -> str:
    """The name of an encoder of which only the id of its weights is known."""
    return encoder_id.partition("@")[0]
