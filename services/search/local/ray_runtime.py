"""A Ray of this process's own, with Serve on it.

The one place that uses private parts of Ray: ``serve._run`` deploys without waiting (``serve.run`` would return only
when the application is ready), Serve's controller is found by the name of its actor, and ``ray.init`` takes the node's
address and the metrics port as ``_node_ip_address`` and ``_metrics_export_port``; ``_init`` gives a handle an event
loop of its own. A test names them.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from scot.bundled import python_path
from scot.child_processes import wait_or_kill
from scot.local_ray import LOCAL_RAY, start_private_ray, temporary_folder
from scot.ports import free_port
from services.search import tracing
from services.search.local import lean_serve
from services.search.local.config import LocalConfig
from services.search.rpc.limits import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from ray.serve import Application

APP = "search"
_POLL_S = 0.05
_RELOAD_S = 120.0


def environment(config: LocalConfig) -> dict[str, str]:
    """The variables that Ray and Serve need before they are imported. Raises InvalidInput."""
    return {
        **LOCAL_RAY,
        **temporary_folder(os.environ),
        **lean_serve.HOOK,
        "PYTHONPATH": python_path(),  # Ray's workers must find services
        "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", LOCAL_RAY["RAY_AUTH_MODE"]),
        "RAY_agent_register_timeout_ms": "120000",
        "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(MAX_MESSAGE_BYTES),
        # Proxies and replicas start at the same time; after five seconds, the default, Serve would replace the proxy.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        # One event loop in each replica, and gRPC between replicas.
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",  # a line is in the log when its request has ended
        "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0",  # which throughput mode turns on; see direct_ingress
        "GRPC_VERBOSITY": os.environ.get("GRPC_VERBOSITY", "ERROR"),  # it reports every process that Ray starts
        **tracing.environment(),
    }


def direct_ingress(port: int) -> dict[str, str]:
    """The variables with which the gateway itself listens on the port, without a proxy in front (docs/adr/0006).

    Ray's server sets ``so_reuseport`` in a way that gRPC ignores, so that it can listen beside
    :mod:`services.search.local.starting`.
    """
    return {
        "RAY_SERVE_ENABLE_DIRECT_INGRESS": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(port),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(port + 1),  # which is not used
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
        "RAY_SERVE_PORT_QUARANTINE_S": "0",  # the next gateway needs the same port
    }


def import_application() -> ModuleType:
    """Import Serve, which takes seconds, and the application; from now on Serve logs errors only."""
    lean_serve.install()
    module = importlib.import_module("services.search.app")
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    return module


def start_ray(config: LocalConfig, install_signals: Callable[[], None], stop: threading.Event) -> None:
    """Start Ray; ``install_signals`` is called after it, since Ray replaces SIGTERM's handler. Raises Unavailable."""
    start_private_ray(
        stop=stop_ray,
        stopped=stop.is_set,
        attempted=install_signals,
        num_cpus=8,  # logical: enough for every replica, on any machine
        object_store_memory=128 * 2**20,
        _node_ip_address="127.0.0.1",
        _metrics_export_port=config.metrics_port or None,
    )


def start_serve(grpc_port: int) -> None:
    """Start Serve; its proxies listen on the port, which for a gateway with direct ingress must be another than its."""
    from ray import serve

    servicers = import_application().SERVICERS
    serve.start(
        http_options={"host": "127.0.0.1", "port": free_port()},
        grpc_options={"port": grpc_port, "grpc_servicer_functions": servicers},
        logging_config={"enable_access_log": False},
    )


def start_application(application: Application) -> None:
    """Start Serve, and the application's replicas while Serve's proxy starts; returns when the proxy answers.

    Its proxy, which Serve needs, is on a port of its own: callers reach the gateway (:func:`direct_ingress`).
    """
    import ray
    from ray import serve
    from ray.exceptions import RayActorError
    from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE

    with ThreadPoolExecutor(1) as pool:
        proxies = pool.submit(start_serve, free_port())
        while not proxies.done():
            try:
                ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
                break
            except ValueError:
                time.sleep(_POLL_S)
        else:
            proxies.result()  # Serve ended before its controller was there: this raises why
        serve._run(application, _blocking=False, name=APP, route_prefix="/")
        with suppress(RayActorError):  # a proxy that was late on a busy machine: the controller starts another
            proxies.result()


def reload_composers() -> str:
    """Make the service read its registry again; returns the composer that answers now."""
    from ray import serve

    handle = serve.get_deployment_handle("Composer", APP)
    if not handle.is_initialized:  # in throughput mode it would need an event loop of this thread
        handle._init(_run_router_in_separate_loop=True)
    return str(handle.reload.remote().result(timeout_s=_RELOAD_S))


def stop_ray() -> None:
    """Stop the application, then Ray, then all their remaining processes."""
    if "ray" not in sys.modules:
        return
    import ray
    from ray import serve

    # Ray's messages during its shutdown ("Task ServeController.graceful_shutdown failed …") help nobody.
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            if ray.is_initialized():
                serve.shutdown()
        finally:
            ray.shutdown()
            wait_or_kill(patience_s=5)
