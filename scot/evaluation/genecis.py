"""GeneCIS (Vaze et al. 2023, arXiv 2306.07969): four tasks, each query with a small gallery of its own.

Recall@1, 2 and 3 within a template's gallery, the target among it and the reference not; quoted is the mean R@1 of the
four tasks. The two attribute tasks show objects: their box, dilated by 0.7, cut out and padded with black to a square.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from scot.errors import InvalidInput, NotFound
from scot.evaluation.annotations import check_split, find, read_entries, some
from scot.evaluation.base import Benchmark, Part, Query, size_deviation
from scot.evaluation.config import BenchmarkConfig
from scot.evaluation.images import Box, ImageFile, find_images
from scot.evaluation.scoring import mean_over, recalls

TASKS = ("focus_attribute", "change_attribute", "focus_object", "change_object")
OBJECT_TEMPLATES = 1_960
"""Templates of each object task."""
RECALL_AT = (1, 2, 3)

_COCO = ("val2017", "COCO_val2017", "coco/val2017", "COCO/val2017", "")
_VISUAL_GENOME = ("VG_100K_all", "VG_All", "VG_100K", "VG_100K_2", "vg/VG_100K", "vg/VG_100K_2", "")


@dataclass(frozen=True)
class GenecisConfig(BenchmarkConfig):
    """GeneCIS: score a ranking file, or run a model on the images (COCO val2017 and Visual Genome in one folder).

    Example: scot evaluate genecis --annotations genecis --rankings genecis.json
    """


def load(config: GenecisConfig) -> Benchmark:
    """Read and check the tasks whose annotations exist.

    Raises:
        NotFound, InvalidInput: no task has annotations, or a file is incomplete.
    """
    check_split("genecis", config.split, ["val"])
    parts: list[Part] = []
    images: dict[str, dict[str, tuple[str, Box | None]]] = {}
    aliases: dict[str, dict[str, str]] = {}
    deviations: list[str] = []
    for task in TASKS:
        try:
            file = find(config.folder(), f"{task}.json", ("genecis",))
        except NotFound:
            continue
        part, images[task] = _part(file, task, aliases)
        parts.append(part)
        if task.endswith("object"):
            deviations += size_deviation(f"templates of {task}", len(part.queries), OBJECT_TEMPLATES)
    if not parts:
        raise NotFound(f"{config.folder()} has none of {', '.join(f'{task}.json' for task in TASKS)}")
    names = [part.name for part in parts]
    if len(parts) < len(TASKS):
        deviations.insert(0, f"tasks: {len(parts)} of 4, the published mean is over four")
    return Benchmark(
        name="genecis",
        split=config.split,
        parts=tuple(parts),
        protocol={
            "tasks": names,
            "gallery": "each template's own, the target among it",
            "reference": "is not in the gallery",
            "pictures": "object tasks whole; attribute tasks the box, dilated by 0.7, padded with black to a square",
            "edit": "the condition as written",
            "mean": f"unweighted over {len(parts)} tasks",
            "ties": "the smaller image id first",
            "duplicates": "a picture that a template names twice competes once",
        },
        measure=partial(recalls, whole_at=RECALL_AT),
        headline=partial(mean_over, parts=names, names=["recall@1"]),
        locate=partial(_locate, wanted=images),
        deviations=tuple(deviations),
        depth=RECALL_AT[-1],
        integers=True,
        nested=True,
        aliases=aliases,
    )


def _part(file: Path, task: str, aliases: dict[str, dict[str, str]]) -> tuple[Part, dict[str, tuple[str, Box | None]]]:
    """A task's queries, and its images: name to file stem and box, in the order in which ties are settled."""
    entries = read_entries(file, {"condition": str, "reference": dict, "target": dict, "gallery": list})
    found: dict[str, tuple[str, Box | None]] = {}
    queries, broken = [], []
    for number, entry in enumerate(entries):
        try:
            reference, target, *gallery = [
                _named(each, task) for each in (entry["reference"], entry["target"], *entry["gallery"])
            ]
        except (KeyError, TypeError, ValueError):
            broken.append(number)
            continue
        found |= {name: (stem, box) for name, stem, box in (reference, target, *gallery)}
        candidates = sorted({target, *gallery}, key=lambda each: (int(each[1]), each[0]))
        stems = [stem for _, stem, _ in candidates]
        aliases[f"{task}/{number}"] = {stem: name for name, stem, _ in candidates if stems.count(stem) == 1}
        queries.append(
            Query(
                query_id=str(number),
                reference=reference[0],
                edits=(entry["condition"],),
                texts=(entry["condition"],),
                targets=(target[0],),
                candidates=tuple(name for name, _, _ in candidates),
            )
        )
    if broken:
        raise InvalidInput(f"{file} has {len(broken):,} templates with an incomplete picture entry: {some(broken)}")
    # Sorted: else the target would win ties because its template names it first.
    found = dict(sorted(found.items(), key=lambda item: (int(item[1][0]), item[0])))
    return Part(task, tuple(found), tuple(queries)), found


def _named(entry: Mapping[str, Any], task: str) -> tuple[str, str, Box | None]:
    """Name, image id and box. An object is named by its image and box, as one image shows several."""
    if task.endswith("object"):
        name = str(int(entry["val_image_id"]))
        return name, name, None
    x, y, width, height = (float(each) for each in entry["instance_bbox"])
    stem = str(int(entry["image_id"]))
    return f"{stem}:{x:.9g},{y:.9g},{width:.9g},{height:.9g}", stem, (x, y, width, height)


def _locate(
    images: Path, *, wanted: Mapping[str, Mapping[str, tuple[str, Box | None]]]
) -> dict[str, dict[str, ImageFile]]:
    located: dict[str, dict[str, ImageFile]] = {}
    for task, names in wanted.items():
        objects = task.endswith("object")
        found = find_images(images, _COCO if objects else _VISUAL_GENOME)
        files = {name: found.get(f"{int(stem):012d}" if objects else stem) for name, (stem, _) in names.items()}
        located[task] = {name: ImageFile(file, names[name][1]) for name, file in files.items() if file is not None}
    return located
