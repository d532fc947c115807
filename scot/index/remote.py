"""A Qdrant server over gRPC: keys, TLS, deadlines, retries, and a circuit breaker for when it is unavailable.

gRPC itself retries (service config, gRFC A6): calls that are safe to repeat are sent again after UNAVAILABLE, with
exponential backoff and jitter, within the deadline of the call.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import warnings
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import grpc
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse

from scot import flags
from scot.channels import retrying
from scot.errors import Conflict, DeadlineExceeded, InvalidInput, NotFound, Overloaded, ScotError, Unavailable
from scot.index.circuit_breaker import CircuitBreaker
from scot.index.conditions import to_qdrant
from scot.index.config import CollectionConfig, SearchParams, ServerConfig
from scot.index.engine import Point, Search, Stored
from scot.index.filters import Filter, path_of
from scot.index.payload import SOURCE_FIELD
from scot.index.qdrant_models import (
    collection_settings,
    point_of,
    quantization_name,
    query_of,
    search_params,
    upsert_message,
)

logger = logging.getLogger("scot.index")

T = TypeVar("T")

_PROBE_S = 2.0
_POLL_S = 0.5
_NO_INDEX = re.compile(
    r'Index required but not found for "(?P<field>[^"]{1,256})"(?:.*types: \[(?P<kinds>[a-z, ]+)\])?'
)
# The messages of a full disk (INTERNAL) and of an exhausted quota (RESOURCE_EXHAUSTED).
_FULL = re.compile("No space left on device|Insufficient storage")

# Without alias changes and new collections: between two attempts, another client may have changed the same names.
_REPEATABLE = {
    "qdrant.Points": ("Query", "Get", "Count", "Facet", "Upsert", "Delete", "CreateFieldIndex"),
    "qdrant.Collections": ("Get", "List", "ListAliases"),
}
_METHODS = [{"service": service, "method": name} for service, names in _REPEATABLE.items() for name in names]
_CHANNEL = {
    "grpc.service_config": retrying(_METHODS, attempts=5, first_s=0.1, longest_s=1, growth=2),
    # By default, a channel that lost its server waits up to two minutes before it connects again.
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 1_000,
    # Detects within half a minute a server that disappeared without closing the connection.
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 5_000,
}


def connect(config: ServerConfig) -> RemoteEngine:
    """Connect to a Qdrant server; nothing is sent yet.

    Raises:
        InvalidInput: the address is missing, or the file of the API key or of the certificate cannot be read.
    """
    if config.qdrant_url is None:
        raise InvalidInput("qdrant_url is missing: an address like http://host:6333")
    options: dict[str, Any] = dict(_CHANNEL)
    if config.qdrant_ca is not None:
        try:
            options["root_certificates"] = config.qdrant_ca.read_bytes()
        except OSError as error:
            raise InvalidInput(f"qdrant_ca: the file {config.qdrant_ca} cannot be read") from error
    with warnings.catch_warnings():
        # Sending a key over http is the operator's choice, for private networks; docs/qdrant.md warns of it.
        warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
        client = AsyncQdrantClient(
            url=config.qdrant_url,
            grpc_port=config.qdrant_grpc_port,
            prefer_grpc=True,
            api_key=flags.secret("QDRANT_API_KEY", config.qdrant_api_key_file),
            timeout=math.ceil(config.qdrant_timeout_s),
            grpc_options=options,
            check_compatibility=False,  # over REST, in a thread of its own
        )
    return RemoteEngine(client, config.qdrant_timeout_s)


class RemoteEngine:
    """An :class:`~scot.index.engine.Engine` on a Qdrant server."""

    embedded = False

    def __init__(self, client: AsyncQdrantClient, timeout_s: float) -> None:
        self._client, self._timeout_s = client, timeout_s
        self._circuit = CircuitBreaker(self._alive)

    async def create(
        self, name: str, dim: int, config: CollectionConfig, metadata: Mapping[str, Any], *, graph: bool = True
    ) -> None:
        """See :class:`~scot.index.engine.Engine`, as all methods here."""
        settings = collection_settings(config, dim)
        if not graph:
            settings["hnsw_config"].m = 0
        work = self._client.create_collection(name, metadata=dict(metadata), **settings)
        await self._call(work, name, exist_ok=True)
        if (await self.describe(name)).points:
            return  # Qdrant's graph has links for filters only over fields that were indexed before it was built.
        for field, kind in [*config.indexes(), (SOURCE_FIELD, "keyword")]:
            schema = models.PayloadSchemaType(kind)
            await self._call(
                self._client.create_payload_index(name, field_name=field, field_schema=schema, wait=True), name
            )

    async def build_graph(self, name: str, config: CollectionConfig) -> None:
        edges = models.HnswConfigDiff(m=config.hnsw_m)
        await self._call(self._client.update_collection(name, hnsw_config=edges), name)

    async def describe(self, name: str) -> Stored:
        found: models.CollectionInfo = await self._call(self._client.get_collection(name), name)
        return Stored(
            int(found.points_count or 0),
            found.config.metadata or {},
            {
                key: str(schema.data_type.value)
                for key, schema in (found.payload_schema or {}).items()
                if key != SOURCE_FIELD
            },
            quantization_name(found.config.quantization_config),
            found.status is models.CollectionStatus.GREEN and found.config.hnsw_config.m != 0,
        )

    async def names(self) -> list[str]:
        found: models.CollectionsResponse = await self._call(self._client.get_collections())
        return sorted(each.name for each in found.collections)

    async def aliases(self) -> dict[str, str]:
        found: models.CollectionsAliasesResponse = await self._call(self._client.get_aliases())
        return dict(sorted((each.alias_name, each.collection_name) for each in found.aliases))

    async def set_aliases(self, changes: Mapping[str, str | None]) -> None:
        known = await self.aliases()
        operations: list[models.AliasOperations] = []
        for alias, collection in changes.items():
            if alias in known:
                operations.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
            if collection is not None:
                made = models.CreateAlias(alias_name=alias, collection_name=collection)
                operations.append(models.CreateAliasOperation(create_alias=made))
        if operations:
            await self._call(self._client.update_collection_aliases(operations))

    async def drop(self, name: str) -> None:
        await self._call(self._client.delete_collection(name), name)

    async def upsert(self, name: str, points: Sequence[Point]) -> None:
        await self._call(self._upsert(upsert_message(name, points)), name)

    async def _upsert(self, request: Any) -> None:
        await self._client.grpc_points.Upsert(request, timeout=math.ceil(self._timeout_s))

    async def delete(self, name: str, ids: Sequence[str]) -> None:
        selector = models.PointIdsList(points=list(ids))
        await self._call(self._client.delete(name, selector, wait=True), name)

    async def retrieve(self, name: str, ids: Sequence[str], *, with_vectors: bool = False) -> list[Point]:
        work = self._client.retrieve(name, list(ids), with_payload=True, with_vectors=with_vectors)
        return [point_of(each) for each in await self._call(work, name)]

    async def query(self, name: str, search: Search, params: SearchParams) -> list[Point]:
        found: models.QueryResponse = await self._call(
            self._client.query_points(
                name,
                query=query_of(search),
                query_filter=to_qdrant(search.filter, search.exclude),
                search_params=search_params(params),
                limit=search.limit,
                offset=search.offset,
                score_threshold=search.score_threshold,
                with_payload=search.with_payload,
                with_vectors=search.with_vectors,
            ),
            name,
        )
        return [point_of(each) for each in found.points]

    async def count(self, name: str, filter: Filter | None = None) -> int:
        found: models.CountResult = await self._call(
            self._client.count(name, count_filter=to_qdrant(filter), exact=True), name
        )
        return found.count

    async def facet(
        self, name: str, field: str, kind: str, *, filter: Filter | None, limit: int
    ) -> list[tuple[str | int | bool, int]]:
        work = self._client.facet(name, path_of(field), facet_filter=to_qdrant(filter), limit=limit, exact=True)
        found: models.FacetResponse = await self._call(work, name)
        return [(each.value, each.count) for each in found.hits]

    async def scroll(
        self,
        name: str,
        *,
        after: str | None,
        limit: int,
        filter: Filter | None = None,
        keys: Sequence[str] | None = None,
    ) -> tuple[list[Point], str | None]:
        payload = True if keys is None else list(keys)
        work = self._client.scroll(name, to_qdrant(filter), limit=limit, offset=after, with_payload=payload)
        found, following = await self._call(work, name)
        return [point_of(each) for each in found], None if following is None else str(following)

    async def optimize(self, name: str) -> None:
        while not (await self.describe(name)).ready:
            await asyncio.sleep(_POLL_S)

    async def close(self) -> None:
        await self._client.close()

    async def _call(self, work: Coroutine[Any, Any, T], collection: str = "", *, exist_ok: bool = False) -> T | Any:
        try:
            await self._circuit.enter()
        except BaseException:
            work.close()
            raise
        try:
            # The client's own deadline has a resolution of one second, and some of its calls do not have one.
            async with asyncio.timeout(self._timeout_s):
                answer = await work
        except TimeoutError as error:
            self._circuit.failed()
            raise DeadlineExceeded("the vector store did not answer in time") from error
        except ResourceExhaustedResponse as error:
            self._circuit.succeeded()
            raise Overloaded("the vector store is overloaded; try again later") from error
        except grpc.RpcError as error:
            code = error.code()
            if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                self._circuit.failed()
            else:
                self._circuit.succeeded()
            if code is grpc.StatusCode.ALREADY_EXISTS and exist_ok:
                return None
            raise _refusal(code, str(error.details()), collection) from error
        self._circuit.succeeded()
        return answer

    async def _alive(self) -> None:
        async with asyncio.timeout(min(_PROBE_S, self._timeout_s)):
            await self._client.info()


def _refusal(code: grpc.StatusCode, details: str, collection: str) -> ScotError:
    codes = grpc.StatusCode
    if code is codes.UNAVAILABLE:
        return Unavailable("the vector store cannot be reached")
    if code is codes.DEADLINE_EXCEEDED:
        return DeadlineExceeded("the vector store did not answer in time")
    if code is codes.NOT_FOUND:
        return NotFound(f"there is no collection {collection!r}")
    if code is codes.ALREADY_EXISTS:
        return Conflict(f"there is a collection or an alias {collection!r} already")
    if code in (codes.INTERNAL, codes.RESOURCE_EXHAUSTED) and _FULL.search(details):
        logger.error("the vector store has no room left: %s", details)
        return Overloaded("the vector store has no room left")
    if code is codes.RESOURCE_EXHAUSTED:
        return Overloaded("the vector store is overloaded; try again later")
    # The details are for the operator of the store: they go to the log, not to the caller.
    logger.warning("the vector store refused a call on %r with %s: %s", collection, code.name, details)
    if missing := _NO_INDEX.search(details):
        kinds = f" ({missing['kinds']})" if missing["kinds"] else ""
        return InvalidInput(
            f"filter: the field {missing['field']!r} has no index{kinds} in collection {collection!r}, "
            "whose strict mode refuses such filters"
        )
    if code in (codes.UNAUTHENTICATED, codes.PERMISSION_DENIED):
        return Unavailable("the vector store refused SCOT's API key")
    if code in (codes.INVALID_ARGUMENT, codes.FAILED_PRECONDITION):
        return InvalidInput("the vector store refused the request")
    return Unavailable("the vector store failed")
