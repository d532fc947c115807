"""The page's files: their types, policy and caching, and that every import of a module leads to one."""

from __future__ import annotations

import re

import pytest

from services.web import page
from tests.support.served_web import ask
from tests.support.source_imports import ROOT

STATIC = ROOT / "services/web/static"
MODULES = sorted(each.relative_to(STATIC).as_posix() for each in STATIC.rglob("*") if each.suffix in (".js", ".mjs"))


@pytest.mark.parametrize(
    ("path", "kind"), [("/", "text/html"), ("/static/page.css", "text/css"), ("/static/icon.svg", "image/svg+xml")]
)
def test_a_file_has_its_type_and_the_policy(url: str, path: str, kind: str) -> None:
    answer = ask(url, path)
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, kind)
    assert answer.headers["content-security-policy"] == page.CSP
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = ask(url, path, if_none_match=answer.headers["etag"])
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("module", MODULES)
def test_what_a_module_imports_is_served(url: str, module: str) -> None:
    answer = ask(url, f"/static/{module}")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    folder = module.rpartition("/")[0]
    text = answer.body.decode()
    names = re.findall(r"""^(?:import|export)\b[^;'"]*?\bfrom ?["']([^"']+)["']""", text, re.MULTILINE)
    assert bool(names) == bool(re.search(r"^import\b", text, re.MULTILINE))
    for name in names:
        assert name.startswith("./")
        assert (STATIC / folder / name).is_file(), name


def test_the_document_has_no_inline_script_or_style_and_names_no_other_host(url: str) -> None:
    text = ask(url, "/").body.decode()
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=|https?:", text) == []
