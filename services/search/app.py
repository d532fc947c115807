"""The search application: ``serve run services.search.app:build store=./data/qdrant encoder=tiny``, or a Serve config.

In a Serve config: ``import_path: services.search.app:build``, with ``args`` as in :class:`SearchSettings` and
``grpc_options: {port: 9000, grpc_servicer_functions: [...]}`` as in :data:`SERVICERS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.serve import Application

from services.search.composer.encoder_replica import EncoderDeployment
from services.search.composer.replica import ComposerDeployment
from services.search.gateway.gateway import GatewayDeployment
from services.search.gateway.shared_rates import RatesDeployment
from services.search.settings import SearchSettings, from_args

SERVICERS = [f"services.search.servicers.{name}" for name in ("add_search", "add_index", "add_health")]
"""The gRPC services that the Gateway answers; Serve adds reflection for them."""

_FOREVER_S = 1e9


def build(args: Mapping[str, object]) -> Application:
    """The application for these settings.

    Raises:
        InvalidInput: a setting is unknown, or they contradict each other.
    """
    settings = from_args(args)
    rollout = settings.service.rollout.user_config
    # The gateway's own line of a request says more than Serve's, of which there would be one in each replica.
    options: dict[str, Any] = {
        "graceful_shutdown_wait_loop_s": settings.drain_s,
        "logging_config": {"enable_access_log": False},
    }
    composer = ComposerDeployment.options(num_replicas=settings.composer_replicas, user_config=rollout, **options)
    encoder = EncoderDeployment.options(**_encoder_replicas(settings), **options)
    gateway = GatewayDeployment.options(num_replicas=settings.gateways, **options)
    parts = [composer.bind(settings), encoder.bind(settings)]
    # With the embedded store there is one gateway; with a server there may be several, whatever the settings say.
    if settings.service.api_keys and settings.store is None:
        parts.append(RatesDeployment.options(**options).bind())
    return gateway.bind(settings, *parts)


def _encoder_replicas(settings: SearchSettings) -> dict[str, Any]:
    if not settings.encoder_on_demand:
        return {"num_replicas": settings.encoder_replicas}
    # None until the first call, which starts them; from then on they stay.
    replicas = {"min_replicas": 0, "initial_replicas": 0, "max_replicas": settings.encoder_replicas}
    return {"autoscaling_config": {**replicas, "downscale_delay_s": _FOREVER_S}}
