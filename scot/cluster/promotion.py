"""Release a composer in a running system: gate, registry, service; and all the way back if it is not served.

The registry's pointer is the truth. ``user_config.default`` of the RayService follows it, since that is what makes the
running replicas load the version in place; a replica that cannot load it stays on the old one and says so only in
``ListComposers``, which is why the service is asked too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from scot.cluster.api import Cluster, Json
from scot.cluster.helm_release import APPLICATION, default_composer, serve_config, with_default_composer
from scot.cluster.service_client import Ask
from scot.errors import Conflict, NotPromoted, ScotError, Unavailable

_PATCHES = 20  # tries, each from a fresh read, since every status update changes the object's version
_IN_A_ROW = 5  # answers, so that with several replicas more than one was heard
_LOOK_S = 2.0  # as often as KubeRay looks
_LOOKS = 3  # of KubeRay that must agree: the first after a change may be of the state before


class Gate(Protocol):
    """The registry's gate, wherever the registry can be reached."""

    def promote(self) -> bool:
        """Measure and move the pointer; whether it moved. Raises NotPromoted, or what stopped it."""

    def rollback(self) -> None:
        """Move the pointer back. Raises ScotError."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What KubeRay says of a Serve config."""

    state: Literal["waiting", "serving", "unhealthy"]
    said: str = ""


def applied(service: Json, generation: int) -> Applied:
    """Whether a RayService serves the config of this generation."""
    status = service.get("status") or {}
    if int(status.get("observedGeneration", 0)) < generation:
        return Applied("waiting", "KubeRay has not read the new config yet")
    app = ((status.get("activeServiceStatus") or {}).get("applicationStatuses") or {}).get(APPLICATION)
    if not app:
        return Applied("waiting", "KubeRay does not report the search application")
    deployments = app.get("serveDeploymentStatuses") or {}
    ill = [f"{name}: {each.get('message') or 'unhealthy'}" for name, each in deployments.items() if _ill(each)]
    if app.get("status") in ("DEPLOY_FAILED", "UNHEALTHY") or ill:
        said = filter(None, [str(app.get("message") or ""), *ill])
        return Applied("unhealthy", ": ".join([f"the search application is {app.get('status')}", *said]))
    if app.get("status") == "RUNNING" and all(each.get("status") == "HEALTHY" for each in deployments.values()):
        return Applied("serving")
    return Applied("waiting", f"the search application is {app.get('status') or 'not there'}")


def promote(
    cluster: Cluster,
    name: str,
    version: str,
    gate: Gate,
    ask: Ask,
    *,
    timeout_s: float,
    say: Callable[[str], None],
    must_ask: bool = False,
) -> None:
    """Release ``version`` in RayService ``name``.

    Args:
        cluster: where it runs.
        name: the RayService.
        version: a version of the registry.
        gate: the registry's gate.
        ask: which composer answers.
        timeout_s: seconds for the service to take it.
        say: gets lines about what is done.
        must_ask: a service that cannot be asked counts as one that does not serve it.

    Raises:
        NotPromoted: the gate refused, or the service did not take it and all is as before.
        ScotError: the release, the registry or the cluster cannot be used.
    """
    before = default_composer(serve_config(cluster.get("rayservices", name)))
    moved = gate.promote()
    try:
        generation = set_default(cluster, name, version)
    except ScotError as error:
        undone = f"; {_rolled_back(gate)}" if moved else ""
        raise NotPromoted(f"{version} cannot be made the default of RayService {name}: {error}{undone}") from error
    say(f"RayService {name}: Composer's default is {version} now (was {before or 'the released one'})")
    because = _wait(cluster, name, version, ask, generation=generation, timeout_s=timeout_s, say=say, must_ask=must_ask)
    if not because:
        return
    undone = _undo(cluster, name, version, before, gate if moved else None)
    raise NotPromoted(f"{version} is not served: {because}; {undone}")


def set_default(cluster: Cluster, name: str, version: str, *, instead_of: str | None = None) -> int:
    """Set ``user_config.default``; the generation that the change made.

    Raises:
        Conflict: the default is no longer ``instead_of``, or others keep changing the object.
    """
    for _ in range(_PATCHES):
        service = cluster.get("rayservices", name)
        config = serve_config(service)
        if instead_of is not None and default_composer(config) != instead_of:
            raise Conflict(f"somebody else has made {default_composer(config) or 'the released one'} the default")
        metadata = {"resourceVersion": service["metadata"]["resourceVersion"]}
        body = {"metadata": metadata, "spec": {"serveConfigV2": with_default_composer(config, version)}}
        try:
            return int(cluster.patch("rayservices", name, body)["metadata"]["generation"])
        except Conflict:
            continue
    raise Conflict(f"RayService {name} is being changed all the time: try again")


def _wait(
    cluster: Cluster,
    name: str,
    version: str,
    ask: Ask,
    *,
    generation: int,
    timeout_s: float,
    say: Callable[[str], None],
    must_ask: bool,
) -> str:
    """Wait until it is served; why it is not, empty when it is."""
    end = time.monotonic() + timeout_s
    looks = {"serving": 0, "unhealthy": 0, "waiting": 0}
    heard, shown = Applied("waiting"), ""
    answer = ""
    while True:
        try:
            heard = applied(cluster.get("rayservices", name), generation)
        except Unavailable as error:
            heard = Applied("waiting", str(error))
        looks = {state: looks[state] + 1 if state == heard.state else 0 for state in looks}
        if heard.said and heard.said != shown:
            shown = heard.said
            say(shown)
        if looks["unhealthy"] >= _LOOKS:
            return heard.said
        if looks["serving"] >= _LOOKS:
            answer = _answers(ask, version)
            if answer == version:
                say(f"the service answers with {version}")
                return ""
            if answer.startswith(_UNKNOWN) and not must_ask:
                say(f"{answer}; KubeRay says that the new config is applied and healthy")
                return ""
        if time.monotonic() > end:
            break
        time.sleep(_LOOK_S)
    if looks["serving"] < _LOOKS:
        return f"after {timeout_s:.0f} s {heard.said or 'the new config is not settled'}"
    stays = answer if answer.startswith(_UNKNOWN) else f"the service stays on {answer}, its log says why"
    return f"after {timeout_s:.0f} s {stays}"


_UNKNOWN = "the service cannot be asked"


def _answers(ask: Ask, version: str) -> str:
    """The version if that is what answers several times in a row, else what does, or why nobody can be asked."""
    answer = ""
    try:
        for _ in range(_IN_A_ROW):
            answer = ask()
            if answer != version:
                break
    except ScotError as error:
        return f"{_UNKNOWN} ({error})"
    return answer


def _undo(cluster: Cluster, name: str, version: str, before: str, gate: Gate | None) -> str:
    """Put the default and the pointer back; what was done, in words."""
    done: list[str] = []
    try:
        set_default(cluster, name, before, instead_of=version)
        done.append(f"Composer's default is {before or 'the released one'} again")
    except ScotError as error:
        done.append(f"Composer's default could not be put back ({error})")
    if gate is not None:
        done.append(_rolled_back(gate))
    return " and ".join(done)


def _rolled_back(gate: Gate) -> str:
    try:
        gate.rollback()
    except ScotError as error:
        return f"the registry's pointer could not be rolled back ({error})"
    return "the registry's pointer is rolled back"


def _ill(deployment: Json) -> bool:
    return deployment.get("status") in ("UNHEALTHY", "DEPLOY_FAILED")
