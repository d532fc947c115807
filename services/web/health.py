"""Health: whether this process runs, and whether the search service behind it answers."""

from __future__ import annotations

import asyncio
import json
import time

from starlette.requests import Request
from starlette.responses import Response

from services.web.problems import Problem
from services.web.rpc import JSON, Endpoint
from services.web.upstream import Upstream

_CACHED_S = 1.0


async def alive(_: Request) -> Response:
    """``/healthz``: this process answers."""
    return _ok()


def ready(upstream: Upstream) -> Endpoint:
    """``/readyz``: the search service serves; asked at most once a second, since it needs no key."""
    checked, serving, lock = -_CACHED_S, False, asyncio.Lock()

    async def endpoint(_: Request) -> Response:
        nonlocal checked, serving
        async with lock:
            if time.monotonic() - checked >= _CACHED_S:
                serving = await upstream.serving()
                checked = time.monotonic()
        if not serving:
            raise Problem("UNAVAILABLE", "the search service does not answer, or reports that it is not serving")
        return _ok()

    return endpoint


def _ok() -> Response:
    return Response(json.dumps({"status": "ok"}), media_type=JSON)
