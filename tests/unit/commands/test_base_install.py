"""What works with the base package alone, and what each other command says is missing."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

HIDDEN = {
    *("braceexpand", "cachetools", "fsspec", "grpc_health", "grpc_reflection", "kubernetes", "matplotlib"),
    *("numpy", "open_clip", "openai", "opentelemetry", "portalocker", "prometheus_client", "py3langid"),
    *("pyarrow", "python_multipart", "qdrant_client", "qdrant_edge", "ray", "safetensors", "starlette"),
    *("tokenizers", "torch", "torchvision", "transformers", "uvicorn", "uvloop", "yaml"),
}
HIDE = f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HIDDEN}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HIDE + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def scot(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run("from scot.cli import main; sys.exit(main(sys.argv[1:]))", *arguments)


@pytest.mark.parametrize(
    "words",
    ["--help", "search --help", "status --help", "profile --help", "keys new --help", "keys new --name shop"],
)
def test_these_need_the_base_package_only(words: str) -> None:
    done = scot(*words.split())
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


@pytest.mark.parametrize("words", ["search --edit red", "status", "profile"])
def test_these_reach_for_a_service(words: str) -> None:
    done = scot(*words.split(), "--address", "localhost:1")
    assert done.returncode == 1
    assert re.fullmatch(r"scot \w+: no SCOT service (answers|is serving) at localhost:1\n", done.stderr)


def test_the_client_imports_the_base_package_only() -> None:
    done = run("import scot.client; print(*{name.partition('.')[0] for name in sys.modules})")
    assert done.returncode == 0
    assert HIDDEN.isdisjoint(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        ("demo", "demo"),
        ("serve", "serve"),
        ("edits serve", "edits"),
        ("web", "web"),
        ("edits report triplets", "edits"),
        ("index images", "data"),
        ("draw --output images", "data"),
        ("evaluate", "encoders"),
        ("evaluate cirr", "encoders"),
        ("composers list", "encoders"),
        ("collections list", "index"),
        ("cluster submit pretrain", "k8s"),
    ],
)
def test_the_others_name_the_extra_to_install(words: str, extra: str) -> None:
    done = scot(*words.split())
    assert done.returncode == 1
    assert done.stderr.endswith(f", which is not installed: pip install 'scot-search[{extra}]'\n")
    assert done.stderr.count("\n") == 1
