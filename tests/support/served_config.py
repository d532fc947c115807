"""The search application from a Serve config that changes: ``python -m tests.support.served_config PORT ARGS``.

ARGS is the application's ``args`` as JSON. Each line of the standard input is a ``user_config`` as JSON; it goes to
Serve's controller as KubeRay or ``serve deploy`` send it, in a whole config, and is answered by a line once Serve has
applied it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

from ray.serve.schema import ServeDeploySchema

from scot.child_processes import adopt_orphans
from services.search.local.config import LocalConfig
from services.search.local.ray_runtime import APP, environment, start_ray, start_serve, stop_ray
from services.search.local.start import Signals
from services.search.rpc.limits import MAX_AT_WORK, MAX_WAITING, MAX_WATCHES


def config(args: dict[str, Any], user_config: dict[str, Any]) -> ServeDeploySchema:
    """As helm/templates/_serve.tpl writes it, in small."""
    cpus = {"ray_actor_options": {"num_cpus": 0.5}}
    application = {
        "name": APP,
        "import_path": "services.search.app:build",
        "route_prefix": "/",
        "args": args,
        "deployments": [
            {
                "name": "Gateway",
                "max_ongoing_requests": MAX_AT_WORK + MAX_WATCHES,
                "max_queued_requests": MAX_WAITING,
                **cpus,
            },
            {"name": "Composer", "num_replicas": 2, "user_config": user_config, **cpus},
            {"name": "Encoder", **cpus},
        ],
    }
    return ServeDeploySchema.model_validate({"applications": [application]})


def main(port: int, args: dict[str, Any]) -> None:
    """Until the input ends."""
    local, stop = LocalConfig(), threading.Event()
    os.environ.update(environment(local))
    adopt_orphans()
    with Signals(stop) as signals:
        start_ray(local, signals.install, stop)
        from ray.serve.context import _get_global_client

        start_serve(port)
        try:
            client: Any = _get_global_client()
            for line in sys.stdin:
                client.deploy_apps(config(args, json.loads(line)))
                print(applied(stop), flush=True)
        finally:
            stop_ray()


def applied(stop: threading.Event) -> str:
    """Wait until Serve is done with the config; how it is then."""
    from ray import serve

    while not stop.wait(0.1):
        app = serve.status().applications.get(APP)
        if app is None or app.status in ("DEPLOYING", "NOT_STARTED"):
            continue
        if app.status != "RUNNING" or all(each.status == "HEALTHY" for each in app.deployments.values()):
            return str(app.status.value)
        time.sleep(0.1)
    return "stopped"


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
