"""The jobs of ``ray_jobs/``: their names, their default flags in a cluster, and an early check of flags."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from scot import flags
from scot.bundled import code_root
from scot.errors import InvalidFlag, InvalidInput, install_hint

JobName = Literal["generate_edits", "encode", "pretrain", "evaluate", "index"]

ARTIFACTS = "/artifacts"
SINGLE_PROCESS: tuple[JobName, ...] = ("evaluate",)  # workers would be idle
WORLDS = ("wardrobe", "scenes")  # that a release's bootstrap draws

# Named, not imported: scot does not depend on ray_jobs. scot.bundled knows where they are.
_CONFIGS: Mapping[JobName, str] = {
    "generate_edits": "ray_jobs.generate_edits:GenerateEditsConfig",
    "encode": "ray_jobs.encode:EncodeConfig",
    "pretrain": "ray_jobs.pretrain:PretrainConfig",
    "evaluate": "scot.evaluation.run:EvaluateConfig",
    "index": "ray_jobs.index:IndexConfig",
}

# Where a job reads and writes by default; {root}, {qdrant} and {encoder} are the release's.
_DEFAULTS: Mapping[JobName, Mapping[str, tuple[str, ...]]] = {
    "generate_edits": {
        "--source": tuple(f"{{root}}/catalogue/{world}" for world in WORLDS),
        "--output": ("{root}/triplets",),
    },
    "encode": {
        "--source": tuple(f"{{root}}/catalogue/{world}" for world in WORLDS),
        "--triplets": ("{root}/triplets",),
        "--output": ("{root}/embeddings",),
        "--encoder": ("{encoder}",),
    },
    "pretrain": {
        "--embeddings": ("{root}/embeddings",),
        "--composers": ("{root}/composers",),
        "--runs": ("{root}/runs",),
    },
    "evaluate": {
        "--gallery": tuple(f"{{root}}/gallery/{world}" for world in WORLDS),
        "--composers": ("{root}/composers",),
        "--output": ("{root}/evaluation",),
        "--encoder": ("{encoder}",),
    },
    "index": {
        "--source": ("{root}/gallery/wardrobe",),
        "--qdrant-url": ("{qdrant}",),
        "--encoder": ("{encoder}",),
    },
}
_ALTERNATIVES = {"--qdrant-url": ("--store",)}  # flags that replace a default


def command(
    job: JobName,
    given: Sequence[str],
    *,
    root: str = ARTIFACTS,
    qdrant: str = "",
    encoder: str = "tiny",
    num_workers: int = 0,
    use_gpu: bool = False,
) -> list[str]:
    """A job's command line: the flags ``given``, checked, and the cluster's defaults for the others.

    Args:
        job: which job.
        given: the flags after ``python ray_jobs/JOB.py``.
        root: where the release's artifacts are, a folder in the pods or a URL.
        qdrant: the address of the release's Qdrant, for ``index``.
        encoder: the release's encoder.
        num_workers: the number of workers of its cluster.
        use_gpu: whether the workers, or a head without workers, have GPUs.

    Raises:
        InvalidInput: a flag is unknown or malformed.
    """
    words = [*given, *_defaults(job, given, {"root": root.rstrip("/"), "qdrant": qdrant, "encoder": encoder})]
    if num_workers and job in SINGLE_PROCESS:
        raise InvalidInput(f"{job} runs in one process: give it --cpus and --memory, not --num-workers")
    if job == "index" and _present(words).isdisjoint(("--store", "--qdrant-url")):
        raise InvalidInput("this release has an embedded store, which only its service can open: use `scot index`")
    known, present = _known(config_of(job)), _present(given)
    if num_workers and "--num-workers" in known - present:
        words += ["--num-workers", str(num_workers)]
    if use_gpu and "--use-gpu" in known and present.isdisjoint(("--use-gpu", "--no-use-gpu")):
        words.append("--use-gpu")
    check(job, words)
    return ["python", f"ray_jobs/{job}.py", *words]


def check(job: JobName, words: Sequence[str]) -> None:
    """Check the flags of a job, without this machine's environment.

    Raises:
        InvalidInput: a flag is unknown, malformed or missing, or a package of the job is not installed.
    """
    config = config_of(job)
    known = _known(config)
    if not {"--help", "-h"}.isdisjoint(words):
        raise InvalidFlag(f"--help belongs before the job's name: scot cluster submit --help ({job})")
    for flag in sorted(_present(words) - known):
        near = difflib.get_close_matches(flag, known, n=1)
        raise InvalidInput(f"{job} has no flag {flag}" + (f"; did you mean {near[0]}?" if near else ""))
    try:
        flags.check(config, words, prog=job)
    except InvalidInput as error:
        raise InvalidInput(f"the flags of {job}: {error}") from None


def config_of(job: JobName) -> type[Any]:
    """The config class of a job. Raises InvalidInput when a package of the job is not installed."""
    module, name = _CONFIGS[job].split(":")
    if (root := str(code_root())) not in sys.path:
        sys.path.insert(0, root)
    try:
        config: type[Any] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"the flags of {job} cannot be checked, because {error.name} is not installed: {install_hint('train')}"
        ) from error
    return config


def _defaults(job: JobName, given: Sequence[str], places: Mapping[str, str]) -> list[str]:
    present = _present(given)
    words: list[str] = []
    for flag, values in _DEFAULTS[job].items():
        filled = [value.format(**places) for value in values]
        if present.isdisjoint((flag, *_ALTERNATIVES.get(flag, ()))) and all(filled):
            words += [flag, *filled]
    return words


def _present(words: Sequence[str]) -> set[str]:
    return {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}


def _known(config: type[Any]) -> set[str]:
    words = [name.replace("_", "-") for name in flags.names(config)]
    return {f"--{no}{word}" for word in words for no in ("", "no-")}
