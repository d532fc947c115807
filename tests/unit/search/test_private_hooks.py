"""The private parts of Ray and grpc that the services use: an upgrade that removes one fails here by its name."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import ray
from ray import serve
from ray._private.ray_constants import WORKER_PROCESS_SETUP_HOOK_ENV_VAR
from ray.experimental import internal_kv
from ray.serve import context as serve_context
from ray.serve._private import constants
from ray.serve._private.constants import GRPC_CONTEXT_ARG_NAME, SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve._private.grpc_util import gRPCGenericServer, start_grpc_server
from ray.serve._private.handle_options import InitHandleOptions
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle

from services.calls import Envelope
from services.search import servicers
from services.search.local import lean_serve, ray_runtime


def test_serve_makes_handlers_with_service_handler_factory() -> None:
    """services/search/rpc/handler_tables.py replaces it."""
    assert "service_handler_factory" in inspect.signature(gRPCGenericServer.__init__).parameters
    assert "self.service_handler_factory(" in inspect.getsource(gRPCGenericServer)


def test_generic_handlers_have_method_handlers() -> None:
    """services/search/rpc/handler_tables.py replaces them, as named tuples."""
    method = grpc.unary_unary_rpc_method_handler(lambda request, context: request)
    assert hasattr(method, "_replace")
    handler = grpc.method_handlers_generic_handler("scot.v1.Any", {"Call": method})
    assert list(handler._method_handlers) == ["/scot.v1.Any/Call"]  # type: ignore[attr-defined]


def test_serve_passes_the_context_by_the_name_of_the_envelopes_argument() -> None:
    async def method(context: object, request: object) -> None: ...

    assert GRPC_CONTEXT_ARG_NAME in inspect.signature(Envelope.__new__(Envelope).unary(method, str)).parameters


def test_serve_reports_a_full_queue_in_the_known_words() -> None:
    """services/search/servicers.py replaces them."""
    message = BackPressureError(num_queued_requests=1, max_queued_requests=1).message
    assert message.startswith(servicers._BACKPRESSURE)


@pytest.mark.parametrize("name", ["_blocking", "name", "route_prefix"])
def test_serve_run_deploys_without_waiting(name: str) -> None:
    """services/search/local/ray_runtime.py calls it."""
    assert name in inspect.signature(serve._run).parameters


def test_the_controller_has_a_known_name() -> None:
    """services/search/local/ray_runtime.py waits for the actor of this name, and deploys while the proxies start."""
    assert (SERVE_CONTROLLER_NAME, SERVE_NAMESPACE) == ("SERVE_CONTROLLER_ACTOR", "serve")
    assert "SERVE_CONTROLLER_NAME" in inspect.getsource(serve_context._get_global_client) + inspect.getsource(
        serve_context._connect
    )


@pytest.mark.parametrize("name", ["_node_ip_address", "_metrics_export_port"])
def test_ray_init_takes_private_arguments(name: str) -> None:
    """services/search/local/ray_runtime.py passes them; others are refused."""
    assert f'"{name}"' in inspect.getsource(ray.init) or f"'{name}'" in inspect.getsource(ray.init)


@pytest.mark.parametrize("name", ["_internal_kv_get", "_internal_kv_initialized", "_internal_kv_put"])
def test_ray_has_a_key_value_store(name: str) -> None:
    """services/search/composer/last_rollout.py uses it."""
    assert callable(getattr(internal_kv, name, None)), name


def test_rays_workers_run_a_hook() -> None:
    """services/search/local/lean_serve.py is imported by it."""
    assert list(lean_serve.HOOK) == [WORKER_PROCESS_SETUP_HOOK_ENV_VAR]


def test_serves_grpc_servers_take_their_options_from_a_list() -> None:
    """services/search/gateway/short_queue.py appends to it."""
    assert "options=DEFAULT_GRPC_SERVER_OPTIONS + " in inspect.getsource(gRPCGenericServer)
    assert isinstance(constants.DEFAULT_GRPC_SERVER_OPTIONS, list)


def test_serve_reads_the_variables_of_direct_ingress() -> None:
    """services/search/local/ray_runtime.py sets them."""
    source = inspect.getsource(constants)
    assert [name for name in ray_runtime.direct_ingress(9000) if f'"{name}"' not in source] == []


def test_grpc_lets_a_second_server_listen_where_one_with_serves_options_does() -> None:
    """The gateway begins to listen beside services/search/local/starting.py."""
    assert 'extra_options=[("grpc.so_reuseport", str(' in inspect.getsource(start_grpc_server)
    first = grpc.server(ThreadPoolExecutor(1))
    port = first.add_insecure_port("127.0.0.1:0")
    first.start()
    second = grpc.server(ThreadPoolExecutor(1), options=[("grpc.so_reuseport", str(0))])
    try:
        assert second.add_insecure_port(f"127.0.0.1:{port}") == port
    finally:
        first.stop(None)


def test_a_handle_can_have_an_event_loop_of_its_own() -> None:
    """services/search/local/ray_runtime.py reloads composers with one."""
    assert "_run_router_in_separate_loop" in inspect.signature(InitHandleOptions).parameters
    assert callable(DeploymentHandle._init)
    assert isinstance(DeploymentHandle.is_initialized, property)
