"""What the project's own modules import, read from their source."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ("scot", "services", "ray_jobs")


def modules(*folders: str) -> dict[str, Path]:
    """The dotted name of every module below these folders of the repository, with its file."""
    found = {}
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, *, functions: bool = True) -> Iterator[tuple[str, str | None]]:
    """Each import of a file as (module, name): ``from a import b`` is ("a", "b"), ``import a.b`` is ("a.b", None).

    Args:
        path: the file.
        functions: include the imports inside of functions, and those that only a type checker sees.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif functions or not (_is_function(node) or _is_for_type_checkers(node)):
            pending += ast.iter_child_nodes(node)


def import_graph(*folders: str) -> dict[str, set[str]]:
    """Each module below these folders, with those of them that it imports anywhere."""
    known = modules(*folders)
    graph: dict[str, set[str]] = {}
    for module, path in known.items():
        pairs = imported(path)
        names = {f"{source}.{name}" if f"{source}.{name}" in known else source for source, name in pairs}
        graph[module] = (names & known.keys()) - {module}
    return graph


def cycles(graph: Mapping[str, set[str]]) -> list[set[str]]:
    """The groups of nodes that reach each other."""
    reach = {node: _reachable(graph, node) for node in graph}
    groups = {frozenset(other for other in reach[node] if node in reach[other]) for node in graph}
    return [set(group) for group in groups if group]


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    pending = list(graph[start])
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending += graph[node]
    return found


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def _is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
