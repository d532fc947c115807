"""The program of examples/go: its stubs are generated, it is built, and it runs against a real service."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.examples.conftest import EXAMPLES, REFUSED, ROOT, Service, run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed"),
]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built as its first lines say in a copy of the repository's part that it reads."""
    folder = tmp_path_factory.mktemp("go")
    shutil.copytree(ROOT / "protos", folder / "protos")
    copy = shutil.copytree(EXAMPLES / "go", folder / "examples" / "go", ignore=shutil.ignore_patterns("scotv1"))
    protoc = {"PROTOC": f"{sys.executable} -m grpc_tools.protoc"}
    for command in (["go", "generate"], ["go", "vet", "."], ["go", "build", "-mod=readonly", "-o", "search", "."]):
        done = run(command, environment=protoc, folder=copy)
        assert done.returncode == 0, done.stderr
    return copy / "search"


def test_grpc(service: Service, program: Path, tmp_path: Path) -> None:
    done = run([program, service.picture, service.upload.edit], environment=service.environment, folder=tmp_path)
    assert (done.stderr, done.stdout.splitlines()) == ("", service.printed())


def test_what_the_service_refuses_is_an_error(service: Service, program: Path, tmp_path: Path) -> None:
    done = run([program, service.picture, ""], environment=service.environment, folder=tmp_path)
    assert (done.returncode, done.stderr) == (1, f"InvalidArgument {REFUSED}\n")
