"""The programs of examples/node, run by Node against a real service; ``npm ci`` fetches the packages of gRPC."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.examples.conftest import EXAMPLES, REFUSED, ROOT, Service, run

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
HTTP = EXAMPLES / "node" / "http.js"


def test_http_needs_nothing_but_node(service: Service, tmp_path: Path) -> None:
    done = run(["node", HTTP, service.picture, service.upload.edit], environment=service.environment, folder=tmp_path)
    assert (done.stderr, done.stdout.splitlines()) == ("", service.printed())
    assert (tmp_path / "best.webp").read_bytes()[8:12] == b"WEBP"


def test_what_the_service_refuses_is_an_error_over_http(service: Service, tmp_path: Path) -> None:
    done = run(["node", HTTP, service.picture, ""], environment=service.environment, folder=tmp_path)
    assert (done.returncode, done.stderr) == (1, f"400 INVALID_ARGUMENT {REFUSED}\n")


@pytest.fixture(scope="session")
def grpc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gRPC program in a copy of the repository's part that it reads, with its packages."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("node")
    shutil.copytree(ROOT / "protos", folder / "protos")
    copy = shutil.copytree(
        EXAMPLES / "node", folder / "examples" / "node", ignore=shutil.ignore_patterns("node_modules")
    )
    done = run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], environment={}, folder=copy)
    assert done.returncode == 0, done.stderr
    return copy / "grpc.js"


@pytest.mark.slow
def test_grpc(service: Service, grpc: Path, tmp_path: Path) -> None:
    done = run(["node", grpc, service.picture, service.upload.edit], environment=service.environment, folder=tmp_path)
    assert (done.stderr, done.stdout.splitlines()) == ("", service.printed())


@pytest.mark.slow
def test_what_the_service_refuses_is_an_error_over_grpc(service: Service, grpc: Path, tmp_path: Path) -> None:
    done = run(["node", grpc, service.picture, ""], environment=service.environment, folder=tmp_path)
    assert (done.returncode, done.stderr) == (1, f"INVALID_ARGUMENT {REFUSED}\n")
