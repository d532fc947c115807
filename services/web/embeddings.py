"""``POST /v1/embeddings``: Encode in the shapes of OpenAI's and Jina's APIs, for clients that are written for those.

OpenAI: ``input`` is a text or a list of texts. Jina: a list of ``{"text": …}`` and ``{"image": BASE64 or data: URL}``.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import sys
from array import array
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from scot.v1 import search_pb2
from services.web.bodies import Bodies
from services.web.calls import CALL, Call
from services.web.json_messages import read_json
from services.web.methods import BY_NAME
from services.web.problems import Problem, invalid
from services.web.rpc import JSON, Endpoint, media_type, while_connected
from services.web.upstream import Upstream

PATH = "/v1/embeddings"
ANY_MODEL = ("", "scot")
"""Names of whatever encoder the service has."""
_FORMATS = ("float", "base64")
_IGNORED = ("user",)  # OpenAI's id of the end user
_KNOWN = frozenset(
    {"input", "model", "encoding_format", "embedding_type", "dimensions", "normalized", "truncate", *_IGNORED}
)
_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]{1,32};base64,", re.IGNORECASE)


def embeddings(upstream: Upstream, bodies: Bodies) -> Endpoint:
    """The endpoint."""
    method = BY_NAME["Encode"]

    async def endpoint(request: Request) -> Response:
        call: Call = request.scope[CALL]
        try:
            media_type(request, JSON)
            async with bodies.read(request) as body:
                asked = _checked(read_json(body))
                message = search_pb2.EncodeRequest(inputs=_inputs(asked.get("input")))
                response = await while_connected(request, upstream.call(method, message, call.metadata))
            return Response(json.dumps(_answer(asked, response)), media_type=JSON)
        except Problem as problem:
            raise _as_openai(problem) from problem

    return endpoint


def _checked(asked: Any) -> dict[str, Any]:
    if not isinstance(asked, dict):
        raise invalid("the body is a JSON object with input")
    if unknown := asked.keys() - _KNOWN:
        raise invalid(f"{min(unknown)}: there is no such field here")
    for name in ("encoding_format", "embedding_type"):
        if asked.get(name) not in (None, *_FORMATS):
            raise invalid(f"{name}: must be one of {', '.join(_FORMATS)}")
    if asked.get("normalized") not in (None, True):
        raise invalid("normalized: embeddings are of unit length always")
    if not isinstance(asked.get("truncate"), bool | None):
        raise invalid("truncate: must be true or false")
    if not isinstance(asked.get("model"), str | None):
        raise invalid("model: must be text")
    return asked


def _inputs(given: Any) -> list[search_pb2.EncodeInput]:
    if isinstance(given, str | dict):
        given = [given]
    if not isinstance(given, list) or not given:
        raise invalid("input: must be a text, or a list of texts and images")
    return [_input(f"input[{place}]", each) for place, each in enumerate(given)]


def _input(field: str, given: Any) -> search_pb2.EncodeInput:
    if isinstance(given, str):
        return _text(field, given)
    if isinstance(given, int | list):
        raise invalid(f"{field}: token ids of another model mean nothing here; send text")
    if not isinstance(given, dict) or len(given) != 1 or not isinstance(next(iter(given.values())), str):
        raise invalid(f'{field}: must be text, {{"text": …}} or {{"image": …}}')
    ((kind, value),) = given.items()
    if kind == "text":
        return _text(f"{field}.text", value)
    if kind != "image":
        raise invalid(f"{field}.{kind}: there is no such field; there are text and image")
    if re.match(r"https?:", value, re.IGNORECASE):
        raise invalid(f"{field}.image: the service fetches nothing; send the image as base64")
    try:
        image = base64.b64decode(_DATA_URL.sub("", value, count=1), validate=True)
    except (ValueError, binascii.Error):
        raise invalid(f"{field}.image: is not base64") from None
    return search_pb2.EncodeInput(image=image)


def _text(field: str, text: str) -> search_pb2.EncodeInput:
    try:
        return search_pb2.EncodeInput(text=text)
    except (UnicodeEncodeError, ValueError):
        raise invalid(f"{field}: is not UTF-8 text") from None


def _answer(asked: dict[str, Any], response: search_pb2.EncodeResponse) -> dict[str, Any]:
    model = asked.get("model") or ""
    if model not in (*ANY_MODEL, response.encoder):
        raise Problem("NOT_FOUND", f"model: this service has the encoder {response.encoder} alone; scot means it too")
    dimension = len(response.vectors[0].values)
    if asked.get("dimensions") not in (None, dimension):
        raise invalid(f"dimensions: the vectors of this encoder have {dimension}, and are not cut")
    if asked.get("truncate") is False and (cut := [place for place, each in enumerate(response.truncated) if each]):
        raise invalid(f"input[{cut[0]}]: is longer than the encoder reads")
    encoded = "base64" in (asked.get("encoding_format"), asked.get("embedding_type"))
    data = [
        {"object": "embedding", "index": place, "embedding": _base64(each.values) if encoded else list(each.values)}
        for place, each in enumerate(response.vectors)
    ]
    # Tokens are not counted; clients of OpenAI expect the field.
    return {
        "object": "list",
        "model": response.encoder,
        "data": data,
        "usage": {"prompt_tokens": 0, "total_tokens": 0},
    }


def _base64(values: Any) -> str:
    """Little-endian float32."""
    floats = array("f", values)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode("ascii")


def _as_openai(problem: Problem) -> Problem:
    """The same problem with OpenAI's ``error`` object as well, and the field by the name that it has here."""
    detail = re.sub(r"^inputs(?=[\[:])", "input", problem.detail)
    kind = "invalid_request_error" if problem.status < 500 and problem.status != 429 else "server_error"
    field = re.match(r"[a-z_]+(\[\d+\])?(?=[.:])", detail)
    error = {
        "message": detail,
        "type": kind,
        "param": field[0] if field else None,
        "code": problem.grpc_status.lower(),
    }
    return Problem(problem.grpc_status, detail, problem.status, problem.headers, {"error": error})
