"""Every command and import that the documentation shows is one that the project understands."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from tests.support.doc_commands import ROOT, blocks, check, commands

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "k8s" / "README.md",
    ROOT / "examples" / "README.md",
]
COMMANDS = [
    pytest.param(argv, id=f"{page.relative_to(ROOT)}: {' '.join(argv)[:80]}")
    for page in PAGES
    for argv in commands(page.read_text(encoding="utf-8"))
]
SENTENCES = sorted(
    {
        command
        for folder in ("scot", "services", "ray_jobs")
        for file in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for command in re.findall(r"`((?:scot|make) [a-z][^`{}]* --?[^`{}]+)`", node.value.replace("\n", " "))
    }
)
"""Commands with flags that help, errors and docstrings name."""


@pytest.mark.parametrize("argv", COMMANDS)
def test_a_command_of_the_documentation_is_understood(argv: list[str]) -> None:
    assert check(argv) is None


@pytest.mark.parametrize("command", SENTENCES)
def test_a_command_that_a_sentence_names_is_understood(command: str) -> None:
    """It may leave out what its reader knows, such as a path."""
    said = check(command.split())
    assert said is None or "Required options" in said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_of_the_documentation_imports_what_exists(page: Path) -> None:
    for body in blocks(page.read_text(encoding="utf-8"), "python"):
        for node in ast.walk(ast.parse(body)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in ("scot", "services"):
                module = importlib.import_module(str(node.module))
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if not re.match(r"\w+:", link)]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_commands_are_found_in_blocks_of_every_style() -> None:
    page = """
```bash
# a comment
git clone https://example.org/scot && cd scot  # and another
SCOT_ENCODER=tiny scot index "my pictures" \\
  --batch-size 8 > log.txt 2>&1 &
cat > values.yaml <<EOF
not: a command
EOF
python - <<'PY'
print("nor this")
PY
(make demo | tail -n 3)
```
```console
$ scot search --edit "make it red;
> and wide"
hits 3
$ make \\
    test
```
```python
make = "nothing"
```
- in a list

  ```bash
  make lint
  ```
"""
    assert list(commands(page)) == [
        ["git", "clone", "https://example.org/scot"],
        ["cd", "scot"],
        ["scot", "index", "my pictures", "--batch-size", "8"],
        ["cat"],
        ["python", "-"],
        ["make", "demo"],
        ["tail", "-n", "3"],
        ["make", "lint"],
        ["scot", "search", "--edit", "make it red;\nand wide"],
        ["make", "test"],
    ]


@pytest.mark.parametrize(
    "command",
    [
        "make",
        "make demo ONCE=1",
        "make PYTHON=python3.12 test",
        ".ci/run",
        "python ray_jobs/encode.py --source a b --triplets t --output o",
        "ray job submit --working-dir . -- python ray_jobs/encode.py --source a --triplets t --output o",
        "python -m pytest tests/unit -k images",
        "cd scot",
    ],
)
def test_a_right_command_passes(command: str) -> None:
    assert check(command.split()) is None


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("make dmeo", "no target 'dmeo'"),
        ("make demo TWICE=1", "no variable 'TWICE'"),
        ("python ray_jobs/encode.py --sauce a", "--sauce"),
        ("python ray_jobs/encode.py --num-workers many", "--num-workers"),
        ("python ray_jobs/decode.py", "no script"),
        ("python -m scot.nothing", "no module"),
        ("ray job submit --working-dir . python ray_jobs/encode.py", "needs --"),
        ("ray job submit --wrk-dir . -- python ray_jobs/encode.py", "--wrk-dir"),
        ("ray job submit -- python ray_jobs/encode.py --sauce a", "--sauce"),
        ("helm install scot ./helm/nowhere", "no 'helm/nowhere'"),
        ("scott serve", "no test knows"),
    ],
)
def test_a_wrong_command_is_told(command: str, said: str) -> None:
    assert said in (check(command.split()) or "")


@pytest.mark.parametrize("command", ["scot surch", "scot search --no-such-flag 1", "scot serve --no-such-flag"])
def test_a_wrong_scot_command_is_told(command: str) -> None:
    assert check(command.split()) is not None


def test_every_scot_command_is_in_the_documentation() -> None:
    cli = importlib.import_module("scot.cli")
    known = set(cli.COMMANDS)
    words = [argv for page in PAGES for argv in commands(page.read_text(encoding="utf-8")) if len(argv) > 1]
    scot = [argv[1:] for argv in words if argv[0].removeprefix(".venv/bin/") == "scot"]
    shown = {" ".join(words[: cli.words_of(words)]) for words in scot}
    shown |= {argv[1] for argv in words if argv[0] == "make"}  # make demo is scot demo
    assert known - shown == set()
