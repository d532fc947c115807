"""The ASGI application: routes of every gRPC method, pictures, embeddings, health, and their description."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp

from scot.channels import is_loopback
from services.web import docs_page, embeddings, health, openapi, page, pictures
from services.web.bodies import Bodies
from services.web.config import WebConfig
from services.web.envelope import Envelope
from services.web.methods import METHODS
from services.web.origins import Origins
from services.web.rpc import streaming, unary
from services.web.upstream import Upstream


def build(config: WebConfig) -> ASGIApp:
    """The application; its connection to the search service opens when the server starts it, and closes at its end.

    Raises:
        InvalidInput: an origin of ``cors_origin`` is malformed.
    """
    upstream = Upstream(config.address, tls=config.tls, timeout_s=config.timeout_s)
    bodies = Bodies(config.max_body_mb * 2**20, config.max_bodies_mb * 2**20, config.body_timeout_s)

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await upstream.close()

    router = Router(routes(config, upstream, bodies), redirect_slashes=False, lifespan=lifespan)
    origins = Origins(config.cors_origin, loopback=is_loopback(f"{config.host}:{config.port}"))
    return Envelope(router, origins, max_in_flight=config.max_in_flight, log_all=not config.no_request_log)


def routes(config: WebConfig, upstream: Upstream, bodies: Bodies) -> list[BaseRoute]:
    """The addresses that there are."""
    found: list[BaseRoute] = [
        Route(
            method.path,
            (streaming if method.server_streaming else unary)(method, upstream, bodies),
            methods=["POST"],
            name=method.full_name,
        )
        for method in METHODS
    ]
    picture = pictures.picture(upstream, config.picture_max_age_s)
    return [
        *found,
        Route(embeddings.PATH, embeddings.embeddings(upstream, bodies), methods=["POST"]),
        Route(pictures.PATH, picture),
        Route(pictures.PATH + "/{item_id:path}", picture),
        Route("/healthz", health.alive),
        Route("/readyz", health.ready(upstream)),
        Route("/openapi.json", openapi.endpoint),
        *docs_page.routes(),
        *page.routes(),
    ]
