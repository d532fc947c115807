"""The project's own files: what is pinned, what the Makefile promises."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
REQUIREMENTS = ROOT / "requirements"
SETS = sorted(REQUIREMENTS.glob("*.txt"))


def pins(file: Path) -> dict[str, set[str]]:
    """Name to versions (several where markers choose between them)."""
    found: dict[str, set[str]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, version = line.partition(";")[0].strip().split("==")
            found.setdefault(canonical(name), set()).add(version)
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


@pytest.mark.parametrize("file", SETS, ids=lambda file: file.name)
def test_requirements_are_pins_and_nothing_else(file: Path) -> None:
    pin = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+( ; [a-z_ .'\"()=<>!0-9A-Z-]+)?")
    assert [line for line in file.read_text(encoding="utf-8").splitlines() if not pin.fullmatch(line)] == []


@pytest.mark.parametrize("file", SETS, ids=lambda file: file.name)
def test_requirements_hold_the_constraints(file: Path) -> None:
    wanted, found = pins(REQUIREMENTS / "constraints.in"), pins(file)
    assert {name: found[name] for name in wanted if name in found} == {n: v for n, v in wanted.items() if n in found}


def test_the_development_set_holds_all_of_the_demo_set() -> None:
    demo, dev = pins(REQUIREMENTS / "demo.txt"), pins(REQUIREMENTS / "dev.txt")
    assert {name: versions for name, versions in demo.items() if dev.get(name) != versions} == {}


def requirements_of(extras: list[str]) -> set[str]:
    """The names that the package with these extras wants; an extra may name others as scot-search[OTHER]."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines, names = list(project["dependencies"]), set[str]()
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    for line in lines:
        if inner := re.fullmatch(r"scot-search\[(.+)\]", line):
            names |= requirements_of(inner[1].split(","))
        else:
            names.add(canonical(re.split(r"[<>=!~;\[ ]", line)[0]))
    return names


@pytest.mark.parametrize(
    ("file", "extras"),
    [
        ("demo", ["demo"]),
        ("dev", ["demo", "edits", "heic", "k8s", "otel", "s3", "gcs", "hf", "http", "bench", "test", "dev"]),
        ("search", ["serve", "train", "edits", "k8s", "otel", "heic", "s3", "gcs", "hf", "http"]),
        ("edits", ["edits"]),
        ("web", ["web"]),
        ("vllm", ["edits", "encoders", "test"]),
    ],
)
def test_requirements_were_compiled_after_the_last_dependency_was_added(file: str, extras: list[str]) -> None:
    assert requirements_of(extras) - pins(REQUIREMENTS / f"{file}.txt").keys() == set()


def test_these_tests_run_on_the_pinned_set() -> None:
    wanted = pins(REQUIREMENTS / "constraints.in")
    installed = {dist.metadata["Name"]: dist.version for dist in metadata.distributions()}
    found = {canonical(name): version for name, version in installed.items()}
    assert {name: found[name] for name in wanted if name in found and found[name] not in wanted[name]} == {}


def test_make_alone_lists_every_target() -> None:
    listed = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert phony is not None
    assert re.findall(r"^  make (\S+)", listed, re.M) == phony[1].split()


@pytest.mark.parametrize(
    "script", [".ci/run", "requirements/install", "requirements/sync", "requirements/compile", "requirements/audit"]
)
def test_scripts_are_executable_and_parse(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / script], check=True)


def test_a_python_that_is_too_old_is_told(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    environment = os.environ | {"PYTHON": str(old)}
    done = subprocess.run(
        ["bash", ROOT / "requirements" / "install", "demo"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "needs Python 3.11" in done.stderr


def test_a_torch_index_replaces_the_build_of_torch_and_its_cuda_packages(tmp_path: Path) -> None:
    uv = tmp_path / "uv"
    uv.write_text('#!/bin/sh\necho "$@"; for file; do :; done; cat "$file"\n', encoding="utf-8")
    uv.chmod(0o755)
    command = [REQUIREMENTS / "sync", uv, "python", REQUIREMENTS / "demo.txt"]

    def installed(**environment: str) -> list[str]:
        done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    torch = pins(REQUIREMENTS / "constraints.in")
    whole = (REQUIREMENTS / "demo.txt").read_text(encoding="utf-8").splitlines()
    assert installed(TORCH_INDEX="")[1:] == whole
    first, *lines = installed(TORCH_INDEX="https://example.org/cpu")
    assert "--default-index https://example.org/cpu" in first
    assert [line.split(" ")[0] for line in lines[:2]] == [
        f"{name}=={next(iter(torch[name]))}" for name in ("torch", "torchvision")
    ]
    assert "--default-index" not in lines[2]
    left_out = set(whole) - set(lines)
    assert left_out
    assert all(re.match(r"(nvidia|cuda)-|triton=", line) for line in left_out)
