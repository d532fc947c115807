"""``/``: the page. Its files are read and compressed at the start; no path that a request names is opened."""

from __future__ import annotations

import gzip
import hashlib
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.web.rpc import Endpoint

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    # https: and data: are pictures whose address a person gives; the browser fetches them, never the service
    "connect-src 'self' https: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def routes() -> list[BaseRoute]:
    """The page, its modules and its style sheet."""
    folder = resources.files("services.web").joinpath("static")
    found: list[BaseRoute] = []
    for name, file in _files(folder):
        kind = _TYPES.get(name[name.rfind(".") :])
        if kind is not None:
            path = "/" if name == "index.html" else f"/static/{name}"
            found.append(Route(path, _file(file.read_bytes(), kind)))
    return found


def _files(folder: Traversable, prefix: str = "") -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for each in sorted(folder.iterdir(), key=lambda each: each.name):
        name = prefix + each.name
        found += _files(each, f"{name}/") if each.is_dir() else [(name, each)]
    return found


def _file(content: bytes, kind: str) -> Endpoint:
    digest = hashlib.sha256(content).hexdigest()[:32]
    shared = {
        "cache-control": "no-cache",
        "content-type": kind,
        "content-security-policy": CSP,
        "vary": "accept-encoding",
    }
    plain = content, {**shared, "etag": f'"{digest}"'}
    packed = gzip.compress(content, mtime=0), {**shared, "etag": f'"{digest}-gzip"', "content-encoding": "gzip"}

    async def endpoint(request: Request) -> Response:
        body, headers = packed if "gzip" in request.headers.get("accept-encoding", "") else plain
        if headers["etag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers)

    return endpoint
