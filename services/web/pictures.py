"""``GET /v1/pictures/ITEM_ID``: the thumbnail of an item, for an image element and its cache.

An id may hold slashes and dots; what a URL cannot carry in its path goes into the query: ``/v1/pictures?item_id=..``.
"""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qs, unquote

from starlette.requests import Request
from starlette.responses import Response

from services.web.calls import CALL, Call
from services.web.problems import Problem, invalid
from services.web.rpc import Endpoint, while_connected
from services.web.thumbnails import Thumbnails
from services.web.upstream import Upstream

PATH = "/v1/pictures"
_CSP = "default-src 'none'; sandbox"  # should a picture be opened as a page
_TYPES = ("image/webp", "image/png", "image/jpeg", "image/avif", "image/gif")


def picture(upstream: Upstream, max_age_s: int) -> Endpoint:
    """The endpoint; browsers keep a picture for ``max_age_s`` seconds and then ask whether it has changed."""
    thumbnails = Thumbnails(upstream)

    async def endpoint(request: Request) -> Response:
        call: Call = request.scope[CALL]
        item_id, collection = _asked(request)
        found = await while_connected(request, thumbnails.get(item_id, collection, call))
        if found is None:
            raise Problem("NOT_FOUND", "there is no such item, or no picture of it is stored")
        if found.content_type not in _TYPES:
            raise Problem("INTERNAL", "the stored picture is of a type that is not shown")
        etag = f'"{hashlib.sha256(found.image).hexdigest()[:32]}"'
        headers = {
            "etag": etag,
            # private: what one key may see, a shared cache must not give to another
            "cache-control": f"private, max-age={max_age_s}, must-revalidate",
            "vary": "authorization",
            "content-security-policy": _CSP,
        }
        if _matches(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)
        return Response(found.image, headers=headers, media_type=found.content_type)

    return endpoint


def _asked(request: Request) -> tuple[str, str]:
    """The id and the collection, decoded strictly. Raises Problem."""
    raw: bytes = request.scope["raw_path"].partition(b"?")[0]
    try:
        in_path = unquote(raw.decode("ascii").removeprefix(PATH).removeprefix("/"), errors="strict")
        query = parse_qs(request.scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise invalid("the address is not UTF-8 text with percent-encoding") from None
    if unknown := query.keys() - {"item_id", "collection"}:
        raise invalid(f"{min(unknown)}: there is no such parameter; there are item_id and collection")
    ids = [*([in_path] if in_path else []), *query.get("item_id", ())]
    collections = query.get("collection", [""])
    if len(ids) != 1 or len(collections) != 1:
        raise invalid("give one item id, in the path or as item_id, and at most one collection")
    return ids[0], collections[0]


def _matches(if_none_match: str, etag: str) -> bool:
    """RFC 9110, 13.1.2: the comparison is weak."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]
