"""Answers on the service's port while Ray and the application are loaded: every call is told that it is too early."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc

from scot.ports import check_port

SENTENCE = "the service is starting; try again when it says that it listens"
_HEALTH = "/grpc.health.v1.Health/Check"
_NOT_SERVING = b"\x08\x02"  # HealthCheckResponse{status: NOT_SERVING}


@contextmanager
def answering(port: int) -> Iterator[None]:
    """Answer ``UNAVAILABLE`` on a port of this machine, and ``NOT_SERVING`` to health checks; free it at the end.

    The gateway listens there too once it is ready; the system then divides new connections between both.

    Raises:
        Conflict: the port is in use.
    """
    server = grpc.server(ThreadPoolExecutor(1, "starting"), handlers=[_Starting()])
    try:
        server.add_insecure_port(f"[::]:{port}")
    except RuntimeError:
        check_port(port)
        raise
    server.start()
    try:
        yield
    finally:
        server.stop(None).wait()


class _Starting(grpc.GenericRpcHandler):
    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        answer: Callable[..., Any] = _not_serving if details.method == _HEALTH else _too_early
        return grpc.stream_stream_rpc_method_handler(answer)


def _not_serving(requests: object, context: grpc.ServicerContext) -> Iterator[bytes]:
    yield _NOT_SERVING


def _too_early(requests: object, context: grpc.ServicerContext) -> NoReturn:
    context.abort(grpc.StatusCode.UNAVAILABLE, SENTENCE)
    raise AssertionError("abort raises")
