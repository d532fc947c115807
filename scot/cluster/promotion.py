"""Release a composer in a running system: gate, registry, service; everything is reverted if it is not served.

The registry's pointer decides which composer is released. ``user_config.default`` of the RayService follows it: this
makes the running replicas load the version in place. A replica that cannot load it keeps the old version and reports
that only in ``ListComposers``, so this module asks the service as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from scot.cluster.api import Cluster, Json
from scot.cluster.helm_release import APPLICATION, default_composer, serve_config, with_default_composer
from scot.cluster.remote_gate import Gate
from scot.cluster.service_client import GetReleased
from scot.errors import Conflict, NotPromoted, ScotError, Unavailable

_PATCHES = 20  # tries, each from a fresh read: every status update changes the object's version
_ANSWERS = 5  # in a row, so that several replicas answer
_POLL_S = 2.0  # KubeRay's own interval
_HEALS_S = 120.0  # replicas of a lost pod or node are back by then
_POLLS = 3  # statuses that must agree: the first one after a change may describe the state before it
_NO_ANSWER = "the service does not answer"


@dataclass(frozen=True, slots=True)
class Applied:
    """Whether KubeRay has applied a Serve config."""

    state: Literal["waiting", "serving", "unhealthy", "failed"]
    """Unhealthy: a replica is lost, or cannot run; failed: Ray Serve has given up."""
    reason: str = ""


def applied(service: Json, generation: int) -> Applied:
    """Whether a RayService serves the config of this generation."""
    status = service.get("status") or {}
    if int(status.get("observedGeneration", 0)) < generation:
        return Applied("waiting", "KubeRay has not read the new config yet")
    app = ((status.get("activeServiceStatus") or {}).get("applicationStatuses") or {}).get(APPLICATION)
    if not app:
        return Applied("waiting", "KubeRay does not report the search application")
    deployments = app.get("serveDeploymentStatuses") or {}
    failed = [
        f"{name}: {each.get('message') or 'unhealthy'}"
        for name, each in deployments.items()
        if each.get("status") in ("UNHEALTHY", "DEPLOY_FAILED")
    ]
    if app.get("status") in ("DEPLOY_FAILED", "UNHEALTHY") or failed:
        reasons = filter(None, [str(app.get("message") or ""), *failed])
        given_up = "DEPLOY_FAILED" in (app.get("status"), *(each.get("status") for each in deployments.values()))
        reason = ": ".join([f"the search application is {app.get('status')}", *reasons])
        return Applied("failed" if given_up else "unhealthy", reason)
    if app.get("status") == "RUNNING" and all(each.get("status") == "HEALTHY" for each in deployments.values()):
        return Applied("serving")
    return Applied("waiting", f"the search application is {app.get('status') or 'missing'}")


def promote(
    cluster: Cluster,
    name: str,
    version: str,
    gate: Gate,
    get_released: GetReleased,
    *,
    timeout_s: float,
    report: Callable[[str], None],
    require_answer: bool = False,
) -> None:
    """Release ``version`` in RayService ``name``.

    Args:
        cluster: where it runs.
        name: the RayService.
        version: a version of the registry.
        gate: the registry's gate.
        get_released: asks the service for its released composer.
        timeout_s: seconds for the service to serve it.
        report: receives lines about each step.
        require_answer: whether it fails when the service does not answer; otherwise KubeRay's status is enough.

    Raises:
        NotPromoted: the gate refused, or the service did not serve it and everything is reverted.
        ScotError: the release, the registry or the cluster cannot be used.
    """
    before = default_composer(serve_config(cluster.get("rayservices", name)))
    decision = gate.promote()
    if decision.outcome == "refused":
        raise NotPromoted(f"{decision.summary}; --force promotes it all the same")
    report(f"gate: {decision.outcome}: {decision.summary}")
    if before == version and decision.promoted:  # set by a promotion that was interrupted
        before = decision.released or ""
    try:
        generation = set_default(cluster, name, version)
    except ScotError as error:
        reverted = f"; {_roll_back(gate)}" if decision.promoted else ""
        raise NotPromoted(f"{version} cannot be made the default of RayService {name}: {error}{reverted}") from error
    report(f"RayService {name}: Composer's default is {version} now (was {before or 'the released one'})")
    reason = _wait_until_served(
        lambda: applied(cluster.get("rayservices", name), generation),
        lambda: _answer(get_released, version),
        version,
        timeout_s=timeout_s,
        report=report,
        require_answer=require_answer,
    )
    if reason:
        reverted = _revert(cluster, name, version, before, gate if decision.promoted else None)
        raise NotPromoted(f"{version} is not served: {reason}; {reverted}")


def set_default(cluster: Cluster, name: str, version: str, *, instead_of: str | None = None) -> int:
    """Set ``user_config.default``; returns the generation of the change.

    Raises:
        Conflict: the default is no longer ``instead_of``, or the object keeps changing.
    """
    for _ in range(_PATCHES):
        service = cluster.get("rayservices", name)
        config = serve_config(service)
        if instead_of is not None and default_composer(config) != instead_of:
            raise Conflict(f"the default was changed to {default_composer(config) or 'the released one'} meanwhile")
        metadata = {"resourceVersion": service["metadata"]["resourceVersion"]}
        body = {"metadata": metadata, "spec": {"serveConfigV2": with_default_composer(config, version)}}
        try:
            return int(cluster.patch("rayservices", name, body)["metadata"]["generation"])
        except Conflict:
            continue
    raise Conflict(f"RayService {name} keeps changing: try again")


def _wait_until_served(
    get_applied: Callable[[], Applied],
    get_answer: Callable[[], str],
    version: str,
    *,
    timeout_s: float,
    report: Callable[[str], None],
    require_answer: bool,
) -> str:
    """Wait until the version is served. Returns why it is not served, empty when it is."""
    end = time.monotonic() + timeout_s
    state, in_a_row, since = Applied("waiting"), 0, time.monotonic()
    reported = answer = ""
    while True:
        previous = state.state
        try:
            state = get_applied()
        except Unavailable as error:
            state = Applied("waiting", str(error))
        if state.state != previous:
            in_a_row, since = 0, time.monotonic()
        in_a_row += 1
        if state.reason and state.reason != reported:
            reported = state.reason
            report(reported)
        settled = in_a_row >= _POLLS
        lasting = state.state == "unhealthy" and time.monotonic() - since > _HEALS_S
        if settled and (state.state == "failed" or lasting):
            return state.reason
        if settled and state.state == "serving":
            answer = get_answer()
            if answer == version:
                report(f"the service answers with {version}")
                return ""
            if answer.startswith(_NO_ANSWER) and not require_answer:
                report(f"{answer}; KubeRay reports that the new config is applied and healthy")
                return ""
        if time.monotonic() > end:
            break
        time.sleep(_POLL_S)
    if not (settled and state.state == "serving"):
        return f"after {timeout_s:.0f} s {state.reason or 'the new config is not settled'}"
    if answer.startswith(_NO_ANSWER):
        return f"after {timeout_s:.0f} s {answer}"
    return f"after {timeout_s:.0f} s the service still answers with {answer}, its log has the reason"


def _answer(get_released: GetReleased, version: str) -> str:
    """The version if it answers several times in a row, else the version that answers, or why there is no answer."""
    answer = ""
    try:
        for _ in range(_ANSWERS):
            answer = get_released()
            if answer != version:
                break
    except ScotError as error:
        return f"{_NO_ANSWER} ({error})"
    return answer


def _revert(cluster: Cluster, name: str, version: str, before: str, gate: Gate | None) -> str:
    """Restore the default and the pointer; returns what was done, in words."""
    try:
        set_default(cluster, name, before, instead_of=version)
        done = f"Composer's default is {before or 'the released one'} again"
    except ScotError as error:
        done = f"Composer's default could not be restored ({error})"
    return f"{done} and {_roll_back(gate)}" if gate is not None else done


def _roll_back(gate: Gate) -> str:
    try:
        gate.rollback()
    except ScotError as error:
        return f"the registry's pointer could not be rolled back ({error})"
    return "the registry's pointer is rolled back"
