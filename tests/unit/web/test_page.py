"""The page's files: their types, policy and caching, and that every import of a module leads to one."""

from __future__ import annotations

import gzip
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


def test_a_file_is_compressed_for_who_reads_it(url: str) -> None:
    plain, packed = ask(url, "/static/page.js"), ask(url, "/static/page.js", accept_encoding="gzip, br")
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 2
    assert plain.headers["vary"] == packed.headers["vary"] == "accept-encoding"
    assert plain.headers["etag"] != packed.headers["etag"]
    again = ask(url, "/static/page.js", accept_encoding="gzip", if_none_match=packed.headers["etag"])
    assert (again.status, again.body) == (304, b"")


def test_every_module_is_named_in_the_document(url: str) -> None:
    """Else the browser would ask for a module only when it has read the one that imports it."""
    text = ask(url, "/").body.decode()
    named = re.findall(r'<link rel="modulepreload" href="/static/([^"]+)">', text)
    assert sorted([*named, "page.js"]) == MODULES
