"""Which web pages may call: those of this service, and those of the configured origins (CORS).

A browser sends some requests of other pages without asking first, and a service on a laptop without keys would obey
them. So a request of another origin is refused, not only its answer hidden. A service that listens on the loopback
interface answers to that host alone, or a page could reach it by a name of its own that resolves to 127.0.0.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from scot.channels import is_loopback
from scot.errors import InvalidInput
from services.web.problems import Problem

_ALLOWED = "authorization, content-type, if-none-match, traceparent, tracestate, x-request-id"
_EXPOSED = "etag, retry-after, traceparent, x-request-id"
_MAX_AGE_S = 600


class Origins:
    """Checks the origin of requests.

    Args:
        allowed: origins, such as ``https://shop.example``; ``*`` allows all.
        loopback: the service listens on the loopback interface.

    Raises:
        InvalidInput: an origin is malformed.
    """

    def __init__(self, allowed: Sequence[str] = (), *, loopback: bool = False) -> None:
        for origin in allowed:
            parts = urlsplit(origin)
            if origin != "*" and (origin != f"{parts.scheme}://{parts.netloc}" or not parts.netloc):
                raise InvalidInput(f"cors_origin: {origin!r} is no origin, such as https://shop.example")
        self._allowed, self._loopback = frozenset(allowed), loopback

    def headers(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """The CORS headers of an answer."""
        origin = headers.get("origin", "")
        if not self._allowed:
            return []
        vary = [(b"vary", b"origin")]
        if not self._allows(origin):
            return vary
        return [
            *vary,
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", _EXPOSED.encode()),
            (b"cross-origin-resource-policy", b"cross-origin"),
        ]

    async def answered(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> bool:
        """Answer a preflight request; False: it is another request, and allowed. Raises Problem."""
        host = headers.get("host", "")
        has_port = ":" in host.rpartition("]")[2]
        if self._loopback and not is_loopback(host if has_port else f"{host}:80"):
            raise Problem("PERMISSION_DENIED", "this service answers to the name localhost only", 421)
        origin = headers.get("origin")
        if origin is None or _is_ours(origin, host, headers):
            return False
        if not self._allows(origin):
            raise Problem("PERMISSION_DENIED", "pages of another origin may not call this service")
        if scope["method"] != "OPTIONS" or "access-control-request-method" not in headers:
            return False
        preflight = {
            "access-control-allow-methods": "GET, POST",
            "access-control-allow-headers": _ALLOWED,
            "access-control-max-age": str(_MAX_AGE_S),
        }
        await Response(status_code=204, headers=preflight)(scope, receive, send)
        return True

    def _allows(self, origin: str) -> bool:
        return bool(origin) and (origin in self._allowed or "*" in self._allowed)


def _is_ours(origin: str, host: str, headers: Headers) -> bool:
    """Whether it is a page of this service; a proxy may have changed the host, but no page can set sec-fetch-site."""
    return headers.get("sec-fetch-site") == "same-origin" or (bool(host) and urlsplit(origin).netloc == host)
