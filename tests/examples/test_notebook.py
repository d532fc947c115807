"""examples/composed_search.ipynb, its cells run one after the other as Jupyter does, against a real service."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest
from PIL import Image

from tests.examples.conftest import EXAMPLES, Service

NOTEBOOK = EXAMPLES / "composed_search.ipynb"
CELLS: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; the value of its last line if that is an expression, which Jupyter shows, else None."""
    tree = ast.parse(source)
    last = tree.body[-1]
    if not isinstance(last, ast.Expr):
        return exec(compile(tree, NOTEBOOK.name, "exec"), names)
    exec(compile(ast.Module(tree.body[:-1], []), NOTEBOOK.name, "exec"), names)
    return eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)


def test_its_cells_run(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOT_ADDRESS", service.address)
    names: dict[str, Any] = {}
    shown = [run_cell(source, names) for source in CODE]
    sheets = [each for each in shown if isinstance(each, Image.Image)]
    assert len(sheets) == 6
    for sheet in sheets:  # six thumbnails beside each other, not an empty row
        assert sheet.size == (6 * 128, 144)
        for place in range(6):
            tile = sheet.crop((place * 128 + 4, 4, place * 128 + 100, 100))
            assert len(tile.getcolors(96 * 96) or []) > 10
    assert names["changed"].hits != names["longer"].hits
    assert names["disliked"] not in [hit.item_id for hit in names["nearer"].hits]


def test_its_outputs_are_stripped() -> None:
    assert [cell["id"] for cell in CELLS if cell.get("outputs") or cell.get("execution_count")] == []
