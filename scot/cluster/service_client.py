"""Ask a release's search service for its released composer, from inside or outside of the cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from scot.client import ScotClient
from scot.cluster.api import Cluster, Json
from scot.cluster.port_forward import forwarded
from scot.errors import ScotError

PORT = 9000
_TIMEOUT_S = 10.0

GetReleased = Callable[[], str]
"""Returns the composer that answers requests which name none. Raises ScotError when the service is unavailable."""


def admin_key(cluster: Cluster, service: Json) -> str | None:
    """The key that the chart made for its own jobs; None if the service needs none or this account must not read it."""
    pod = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
    for volume in pod.get("volumes") or ():
        if volume["name"] == "keys" and "secret" in volume:
            return cluster.secret(volume["secret"]["secretName"], "admin-key")
    return None


@contextlib.contextmanager
def released_composer(
    cluster: Cluster, service: Json, address: str, *, api_key: str | None, tls: bool
) -> Iterator[GetReleased]:
    """Connect to ``address``; without one, in a pod to the release's Service, elsewhere through the API server."""
    target = address or (f"{service['metadata']['name']}-search.{cluster.namespace}:{PORT}" if cluster.in_pod else "")
    if target:
        with ScotClient(target, timeout=_TIMEOUT_S, api_key=api_key, tls=tls) as client:
            yield lambda: released(client)
        return

    def through_the_api_server() -> str:
        # Each call chooses a pod that is ready now: pods come and go while a composer is rolled out.
        with (
            forwarded(cluster, _ready_pod(cluster, service), PORT) as local,
            ScotClient(local, timeout=_TIMEOUT_S, api_key=api_key) as client,
        ):
            return released(client)

    yield through_the_api_server


def released(client: ScotClient) -> str:
    """The released composer of a service. Raises ScotError."""
    return next((composer.name for composer in client.composers() if composer.released), "")


def _ready_pod(cluster: Cluster, service: Json) -> str:
    status = cluster.get("rayservices", str(service["metadata"]["name"])).get("status") or {}
    ray = (status.get("activeServiceStatus") or {}).get("rayClusterName")
    for pod in cluster.pods(f"ray.io/cluster={ray},ray.io/serve=true"):
        conditions = pod.get("status", {}).get("conditions") or ()
        if any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
            return str(pod["metadata"]["name"])
    raise ScotError("no pod of the service is ready")
