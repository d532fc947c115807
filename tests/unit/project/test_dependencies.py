"""What the package declares is what its source imports, and each command needs no more than its extra has."""

from __future__ import annotations

import re
import sys
import tomllib
from typing import Any

import pytest

from scot import cli
from tests.support.source_imports import LIBRARY, ROOT, imported, modules

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RUNTIME_EXTRAS = (
    "data",
    "encoders",
    "embedders",
    "index",
    "serve",
    "web",
    "train",
    "demo",
    "edits",
    "k8s",
    "otel",
    "heic",
)
URL_EXTRAS = ("s3", "gcs", "hf", "http")

# The distribution of a module, where its name is another one.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "google": "protobuf",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "huggingface_hub": "huggingface-hub",
    "open_clip": "open_clip_torch",
    "prometheus_client": "prometheus-client",
    "python_multipart": "python-multipart",
    "qdrant_client": "qdrant-client",
    "qdrant_edge": "qdrant-edge-py",
    "sentence_transformers": "sentence-transformers",
    "textual_image": "textual-image",
    "yaml": "pyyaml",
}
IMPORTED_BY_OTHERS = {
    "httptools": "uvicorn.protocols.http.httptools_impl imports it",
    "tensorboard": "torch.utils.tensorboard imports it",
    "torchvision": "open_clip imports it; its version must be the one built for torch's",
}
IMPORTED_BY_NAME = {
    "aiohttp": "fsspec imports it for https://",
    "gcsfs": "fsspec imports it for gs://",
    "kubernetes": "scot/cluster imports it when a command needs it",
    "pillow-heif": "scot/data/image_formats.py imports it for a HEIC image",
    "s3fs": "fsspec imports it for s3://",
}
INSTALLED_APART = {"vllm": "it brings a torch of its own: requirements/edits.in"}
OPENTELEMETRY = {"opentelemetry-exporter-otlp-proto-grpc", "opentelemetry-sdk"}


def declared(*extras: str) -> set[str]:
    """The distributions of the base package and of these extras."""
    lines = list(PROJECT["dependencies"])
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    found: set[str] = set()
    for line in lines:
        own = re.fullmatch(r"scot-search\[(.+)\]", line)
        found |= declared(*own[1].split(",")) if own else {re.split(r"[\[<>=]", line)[0]}
    return found


def distributions(module: str, *, functions: bool = True) -> set[str]:
    """The distributions that a module of the project imports."""
    tops = {source.split(".")[0] for source, _ in imported(KNOWN[module], functions=functions)}
    return {DISTRIBUTIONS.get(top, top) for top in tops - set(sys.stdlib_module_names) - set(LIBRARY)}


def loaded(module: str) -> set[str]:
    """The project's modules that an import of this one runs, its parent packages among them."""
    found: set[str] = set()
    pending = [module]
    while pending:
        name = pending.pop()
        if name in found or name not in KNOWN:
            continue
        found.add(name)
        pending.append(name.rpartition(".")[0])
        for source, member in imported(KNOWN[name], functions=False):
            pending += [source, f"{source}.{member}"]
    return found


KNOWN = modules(*LIBRARY)


def test_every_import_is_declared_and_everything_declared_is_imported() -> None:
    used = set.union(*(distributions(module) for module in KNOWN)) - INSTALLED_APART.keys()
    if "opentelemetry" in used:  # a namespace of several distributions
        used = (used - {"opentelemetry"}) | OPENTELEMETRY
    assert used | IMPORTED_BY_OTHERS.keys() | IMPORTED_BY_NAME.keys() == declared(*RUNTIME_EXTRAS, *URL_EXTRAS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_loads_no_more_than_its_extra_has(name: str) -> None:
    config, function, _ = cli.COMMANDS[name]
    entries = {config.partition(":")[0], *([function.partition(":")[0]] if ":" in function else [])}
    extra = cli._EXTRAS.get(name.split(maxsplit=1)[0])
    needed = {
        found for entry in entries for module in loaded(entry) for found in distributions(module, functions=False)
    }
    assert needed - declared(*([extra] if extra else [])) == set()


@pytest.mark.parametrize(
    ("module", "extras"),
    [
        ("scot.client", []),
        ("scot.cli", []),
        ("services.search.app", ["serve"]),
        ("services.edits.__main__", ["edits"]),
        ("services.web.__main__", ["web"]),
        ("ray_jobs.encode", ["train"]),
        ("ray_jobs.pretrain", ["train"]),
        ("ray_jobs.index", ["train"]),
        ("ray_jobs.evaluate", ["train"]),
        ("ray_jobs.generate_edits", ["train", "edits"]),
    ],
)
def test_a_process_loads_no_more_than_its_extras_have(module: str, extras: list[str]) -> None:
    needed = {found for name in loaded(module) for found in distributions(name, functions=False)}
    assert needed - declared(*extras) == set()
