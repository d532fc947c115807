"""Ask a release's search service which composer answers, from wherever this runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from scot.client import ScotClient
from scot.cluster.api import Cluster, Json
from scot.cluster.port_forward import forwarded
from scot.errors import ScotError

PORT = 9000
_TIMEOUT_S = 10.0

Ask = Callable[[], str]
"""The name of the composer that answers when a request names none. Raises ScotError when nobody can be asked."""


def admin_key(cluster: Cluster, service: Json) -> str | None:
    """The key that the chart made for its own jobs, if the RayService asks for keys and the account may read it."""
    pod = service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]
    for volume in pod.get("volumes") or ():
        if volume["name"] == "keys" and "secret" in volume:
            return cluster.secret(volume["secret"]["secretName"], "admin-key")
    return None


@contextlib.contextmanager
def asking(cluster: Cluster, service: Json, address: str, *, api_key: str | None, tls: bool) -> Iterator[Ask]:
    """How to ask: at ``address``; in a pod of the cluster, at the release's Service; else through the API server."""
    place = address or (f"{service['metadata']['name']}-search.{cluster.namespace}:{PORT}" if cluster.in_pod else "")
    if place:
        with ScotClient(place, timeout=_TIMEOUT_S, api_key=api_key, tls=tls) as client:
            yield lambda: released(client)
        return

    def through_the_api_server() -> str:
        # A pod of the moment for each question: pods come and go while a composer is rolled out.
        with (
            forwarded(cluster, _ready_pod(cluster, service), PORT) as local,
            ScotClient(local, timeout=_TIMEOUT_S, api_key=api_key) as client,
        ):
            return released(client)

    yield through_the_api_server


def released(client: ScotClient) -> str:
    """The composer that a service says is released. Raises ScotError."""
    return next((composer.name for composer in client.composers() if composer.released), "")


def _ready_pod(cluster: Cluster, service: Json) -> str:
    status = cluster.get("rayservices", str(service["metadata"]["name"])).get("status") or {}
    ray = (status.get("activeServiceStatus") or {}).get("rayClusterName")
    for pod in cluster.pods(f"ray.io/cluster={ray},ray.io/serve=true"):
        conditions = pod.get("status", {}).get("conditions") or ()
        if any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
            return str(pod["metadata"]["name"])
    raise ScotError("no pod of the service is ready")
