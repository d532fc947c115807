"""A gRPC server that speaks Qdrant's protocol, for what a Qdrant server does to a client: keys, TLS, faults, refusals.

What it stores and finds is the work of the client's own embedded engine, so that it answers truly. Tests of the store's
contract run against a real server too, when there is one (SCOT_TEST_QDRANT_URL).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from qdrant_client import AsyncQdrantClient
from qdrant_client import grpc as wire
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc

Fault = Callable[[grpc.ServicerContext], None]
"""What happens in place of an answer; returning lets the answer come."""
NO_SPACE = "No space left on device: WAL buffer size exceeds available disk space"
"""What a Qdrant 1.19 says when its disk is full (qdrant, lib/collection/src/shards/local_shard/shard_ops.rs)."""


@dataclass(frozen=True)
class Received:
    """One call as it arrived."""

    method: str
    request: Any
    metadata: dict[str, str]


@dataclass
class QdrantServer:
    """What a test sees of the server: where it is, what it received, and what it shall do wrong."""

    url: str = ""
    grpc_port: int = 0
    received: list[Received] = field(default_factory=list)
    faults: deque[Fault] = field(default_factory=deque)
    """Each is used up by one call; a health check uses none."""
    always: Fault | None = None
    """Done to every call, health checks included."""
    indexes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The kinds of the indexed fields of each collection."""
    edges: dict[str, int] = field(default_factory=dict)
    """The edges of the graph of each collection; 0: it builds none."""
    full: bool = False
    """Whether its disk is full."""
    engine: AsyncQdrantClient = field(
        default_factory=lambda: AsyncQdrantClient(":memory:", force_disable_check_same_thread=True)
    )
    """What is stored; it outlives a server that goes and comes back with the same state."""
    one_call: threading.Lock = field(default_factory=threading.Lock)
    """Held during each call to the engine, which is not thread-safe."""

    def methods(self) -> list[str]:
        """The names of the calls that arrived."""
        return [call.method for call in self.received]

    def last(self, method: str) -> Any:
        """The newest request to a method."""
        return next(call.request for call in reversed(self.received) if call.method == method)


def refuse(code: grpc.StatusCode, details: str = "", trailing: Sequence[tuple[str, str]] = ()) -> Fault:
    """Answer with a status."""

    def fault(context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata(tuple(trailing))
        context.abort(code, details)

    return fault


def hang(released: threading.Event) -> Fault:
    """Answer once ``released`` is set."""
    return lambda context: bool(released.wait(60)) and None  # type: ignore[func-returns-value]


@contextmanager
def qdrant_server(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str | None = None,
    tls: tuple[Path, Path] | None = None,
    state: QdrantServer | None = None,
) -> Iterator[QdrantServer]:
    """Run one, by default on a free port of 127.0.0.1; ``tls`` is a certificate and its key.

    Several with one ``state`` answer alike, as the members of a cluster that has all data in each.
    """
    seen = state or QdrantServer()
    server = grpc.server(ThreadPoolExecutor(16), interceptors=[_Gate(seen, api_key)])
    wire.add_PointsServicer_to_server(_Points(seen.engine, seen.indexes), server)
    wire.add_CollectionsServicer_to_server(_Collections(seen.engine, seen.indexes, seen.edges), server)
    wire.add_QdrantServicer_to_server(_Health(), server)
    if tls is None:
        seen.grpc_port = server.add_insecure_port(f"{host}:{port}")
    else:
        credentials = grpc.ssl_server_credentials([(tls[1].read_bytes(), tls[0].read_bytes())])
        seen.grpc_port = server.add_secure_port(f"{host}:{port}", credentials)
    seen.url = f"{'https' if tls else 'http'}://{host}:6333"
    server.start()
    try:
        yield seen
    finally:
        server.stop(None).wait()


class _Gate(grpc.ServerInterceptor):
    """Notes each call, checks its key, and does what the test ordered; calls to the engine come one at a time."""

    def __init__(self, seen: QdrantServer, api_key: str | None) -> None:
        self._seen, self._api_key = seen, api_key

    def intercept_service(self, continuation: Callable[[Any], Any], details: grpc.HandlerCallDetails) -> Any:
        inner, name = continuation(details), details.method.rpartition("/")[2]
        metadata = {key: str(value) for key, value in details.invocation_metadata}

        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            self._seen.received.append(Received(name, request, metadata))
            if self._api_key is not None and metadata.get("api-key") != self._api_key:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "Invalid API key")
            if self._seen.always is not None:
                self._seen.always(context)
            if name != "HealthCheck" and self._seen.faults:
                self._seen.faults.popleft()(context)
            if name == "Upsert" and self._seen.full:
                context.abort(grpc.StatusCode.INTERNAL, f"Service internal error: {NO_SPACE}")
            try:
                with self._seen.one_call:
                    return inner.unary_unary(request, context)
            except ValueError as error:
                text = str(error)
                missing, there = "not found" in text, "already exists" in text
                codes = grpc.StatusCode
                code = codes.NOT_FOUND if missing else codes.ALREADY_EXISTS if there else codes.INVALID_ARGUMENT
                context.abort(code, text)

        return grpc.unary_unary_rpc_method_handler(
            handle, request_deserializer=inner.request_deserializer, response_serializer=inner.response_serializer
        )


class _Health(wire.QdrantServicer):
    def HealthCheck(self, request: Any, context: Any) -> Any:
        return wire.HealthCheckReply(title="qdrant - vector search engine", version="1.19.0")


class _Collections(wire.CollectionsServicer):
    def __init__(self, engine: AsyncQdrantClient, indexes: dict[str, dict[str, Any]], edges: dict[str, int]) -> None:
        self._engine, self._indexes, self._edges = engine, indexes, edges

    def Update(self, request: Any, context: Any) -> Any:
        _drive(self._engine.get_collection(request.collection_name))
        self._edges[request.collection_name] = request.hnsw_config.m
        return wire.CollectionOperationResponse(result=True)

    def Create(self, request: Any, context: Any) -> Any:
        self._edges.setdefault(request.collection_name, request.hnsw_config.m)
        vectors = GrpcToRest.convert_vectors_config(request.vectors_config)
        made = self._engine.create_collection(
            request.collection_name, vectors_config=vectors, metadata=GrpcToRest.convert_payload(request.metadata)
        )
        return wire.CollectionOperationResponse(result=_drive(made))

    def Get(self, request: Any, context: Any) -> Any:
        info = _drive(self._engine.get_collection(request.collection_name))
        aliases = {each.alias_name: each.collection_name for each in _drive(self._engine.get_aliases()).aliases}
        result = RestToGrpc.convert_collection_info(info)
        name = aliases.get(request.collection_name, request.collection_name)
        result.config.hnsw_config.m = self._edges.get(name, 16)
        for indexed, kind in self._indexes.get(name, {}).items():
            result.payload_schema[indexed].data_type = kind
        return wire.GetCollectionInfoResponse(result=result)

    def List(self, request: Any, context: Any) -> Any:
        found = _drive(self._engine.get_collections())
        return wire.ListCollectionsResponse(
            collections=[RestToGrpc.convert_collection_description(each) for each in found.collections]
        )

    def Delete(self, request: Any, context: Any) -> Any:
        return wire.CollectionOperationResponse(result=_drive(self._engine.delete_collection(request.collection_name)))

    def ListAliases(self, request: Any, context: Any) -> Any:
        found = _drive(self._engine.get_aliases())
        return wire.ListAliasesResponse(aliases=[RestToGrpc.convert_alias_description(each) for each in found.aliases])

    def UpdateAliases(self, request: Any, context: Any) -> Any:
        operations = [GrpcToRest.convert_alias_operations(each) for each in request.actions]
        return wire.CollectionOperationResponse(result=_drive(self._engine.update_collection_aliases(operations)))


class _Points(wire.PointsServicer):
    def __init__(self, engine: AsyncQdrantClient, indexes: dict[str, dict[str, Any]]) -> None:
        self._engine, self._indexes = engine, indexes

    def Upsert(self, request: Any, context: Any) -> Any:
        points = [GrpcToRest.convert_point_struct(each) for each in request.points]
        return _updated(_drive(self._engine.upsert(request.collection_name, points)))

    def Delete(self, request: Any, context: Any) -> Any:
        selector = GrpcToRest.convert_points_selector(request.points)
        return _updated(_drive(self._engine.delete(request.collection_name, selector)))

    def Scroll(self, request: Any, context: Any) -> Any:
        offset = GrpcToRest.convert_point_id(request.offset) if request.HasField("offset") else None
        found, following = _drive(
            self._engine.scroll(
                request.collection_name,
                GrpcToRest.convert_filter(request.filter) if request.HasField("filter") else None,
                limit=request.limit,
                offset=offset,
                with_payload=GrpcToRest.convert_with_payload_selector(request.with_payload),
            )
        )
        return wire.ScrollResponse(
            result=[RestToGrpc.convert_record(each) for each in found],
            next_page_offset=None if following is None else RestToGrpc.convert_extended_point_id(following),
        )

    def CreateFieldIndex(self, request: Any, context: Any) -> Any:
        _drive(self._engine.get_collection(request.collection_name))
        # Points and collections have an enumeration of the kinds each, in different order.
        kind = wire.PayloadSchemaType.Value(wire.FieldType.Name(request.field_type).removeprefix("FieldType"))
        self._indexes.setdefault(request.collection_name, {})[request.field_name] = kind
        return wire.PointsOperationResponse(result=wire.UpdateResult(status=wire.UpdateStatus.Completed))

    def Get(self, request: Any, context: Any) -> Any:
        found = _drive(
            self._engine.retrieve(
                request.collection_name,
                [GrpcToRest.convert_point_id(each) for each in request.ids],
                with_payload=GrpcToRest.convert_with_payload_selector(request.with_payload),
                with_vectors=GrpcToRest.convert_with_vectors_selector(request.with_vectors),
            )
        )
        return wire.GetResponse(result=[RestToGrpc.convert_record(each) for each in found])

    def Count(self, request: Any, context: Any) -> Any:
        wanted = GrpcToRest.convert_filter(request.filter) if request.HasField("filter") else None
        found = _drive(self._engine.count(request.collection_name, count_filter=wanted))
        return wire.CountResponse(result=RestToGrpc.convert_count_result(found))

    def Facet(self, request: Any, context: Any) -> Any:
        wanted = GrpcToRest.convert_filter(request.filter) if request.HasField("filter") else None
        work = self._engine.facet(request.collection_name, request.key, facet_filter=wanted, limit=request.limit)
        return wire.FacetResponse(hits=[RestToGrpc.convert_facet_value_hit(each) for each in _drive(work).hits])

    def Query(self, request: Any, context: Any) -> Any:
        found = _drive(
            self._engine.query_points(
                request.collection_name,
                query=GrpcToRest.convert_query(request.query),
                query_filter=GrpcToRest.convert_filter(request.filter) if request.HasField("filter") else None,
                limit=request.limit,
                offset=request.offset,
                score_threshold=request.score_threshold if request.HasField("score_threshold") else None,
                with_payload=GrpcToRest.convert_with_payload_selector(request.with_payload),
                with_vectors=GrpcToRest.convert_with_vectors_selector(request.with_vectors),
            )
        )
        return wire.QueryResponse(result=[RestToGrpc.convert_scored_point(each) for each in found.points])


def _updated(result: Any) -> Any:
    return wire.PointsOperationResponse(result=wire.UpdateResult(status=wire.UpdateStatus.Completed))


def _drive(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits, as none of the embedded client's does, without an event loop."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    work.close()
    raise RuntimeError("the embedded client waited for something")
