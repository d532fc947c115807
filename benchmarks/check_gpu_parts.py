"""The parts of check_gpu by name, and their order: each is an iterator of lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from benchmarks.check_gpu_rows import Line, Sizes, ceilings

Part = Callable[[Sizes], Iterator[Line]]


def part(name: str, sizes: Sizes) -> Iterator[Line]:
    """The lines of a part. What a part needs is imported here, so that a package that is missing fails it alone."""
    return _part(name)(sizes)


def _part(name: str) -> Part:
    if name == "device":
        return ceilings
    if name.startswith("ViT"):
        from benchmarks.check_gpu_towers import towers

        return partial(towers, name=name)
    if name in {"training", "nccl"}:
        from benchmarks import check_gpu_training

        return check_gpu_training.training if name == "training" else check_gpu_training.process_group
    from benchmarks import check_gpu_compose

    if name == "edits":
        return check_gpu_compose.edit_generation
    return partial(check_gpu_compose.compose_search, name="ViT-L-14")
