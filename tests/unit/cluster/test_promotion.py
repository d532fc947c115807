"""Promotion in a running release: the Serve config, what KubeRay and the service report, and the revert."""

from __future__ import annotations

import copy
import itertools
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from scot.client import ScotClient
from scot.cluster import promotion
from scot.cluster.helm_release import default_composer, serve_config, with_default_composer
from scot.cluster.job_status import Outcome
from scot.cluster.port_forward import relayed
from scot.cluster.promotion import applied, promote, set_default
from scot.cluster.remote_gate import GateHere, GateInCluster, GateRequest, readable_here
from scot.cluster.service_client import admin_key, released
from scot.composers import Registry, save_composer
from scot.composers.combiner import Combiner, CombinerConfig
from scot.encoders import load_encoder
from scot.errors import Conflict, InvalidInput, NotPromoted, ScotError, Unavailable
from scot.evaluation.gate import Decision
from scot.evaluation.gate import Outcome as GateOutcome
from scot.v1 import search_pb2, search_pb2_grpc
from scot.worlds.drawing import DrawConfig, draw

CONFIG = """\
grpc_options: {port: 9000, grpc_servicer_functions: [a.b, c.d]}
applications:
- name: search
  import_path: services.search.app:build
  route_prefix: /
  args: {encoder: tiny, composers: /artifacts/composers}
  deployments:
  - name: Gateway
    num_replicas: 2
  - name: Composer
    user_config: {default: '', kept: [1, 2]}
    ray_actor_options: {num_cpus: 1}
- name: other
  import_path: x:y
"""


def test_only_the_default_changes_in_a_serve_config() -> None:
    before = yaml.safe_load(CONFIG)
    after = yaml.safe_load(with_default_composer(yaml.safe_load(CONFIG), "v2"))
    assert default_composer(before) == ""
    assert default_composer(after) == "v2"
    assert list(after) == list(before)  # in the same order
    after["applications"][0]["deployments"][1]["user_config"]["default"] = ""
    assert after == before


def test_a_composer_that_has_no_settings_yet_gets_them() -> None:
    config = {"applications": [{"name": "search", "import_path": "m:f"}]}
    after = yaml.safe_load(with_default_composer(config, "v2"))
    assert after["applications"][0]["deployments"] == [{"name": "Composer", "user_config": {"default": "v2"}}]


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "applications: []"])
def test_a_serve_config_without_the_application_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="serveConfigV2"):
        with_default_composer(serve_config({"spec": {"serveConfigV2": text}}), "v2")


def status(app: str = "RUNNING", composer: str = "HEALTHY", observed: int = 5, message: str = "") -> dict[str, Any]:
    deployments = {"Gateway": {"status": "HEALTHY"}, "Composer": {"status": composer, "message": message}}
    search = {"status": app, "message": "", "serveDeploymentStatuses": deployments}
    return {
        "status": {"observedGeneration": observed, "activeServiceStatus": {"applicationStatuses": {"search": search}}}
    }


@pytest.mark.parametrize(
    ("service", "state", "words"),
    [
        ({}, "waiting", "has not read"),
        (status(observed=4), "waiting", "has not read"),
        ({"status": {"observedGeneration": 5}}, "waiting", "does not report"),
        (status(), "serving", ""),
        (status("DEPLOYING", "UPDATING"), "waiting", "DEPLOYING"),
        (status("RUNNING", "UPDATING"), "waiting", "RUNNING"),
        (status("DEPLOY_FAILED"), "failed", "DEPLOY_FAILED"),
        (status("DEPLOYING", "DEPLOY_FAILED", message="no module"), "failed", "Composer: no module"),
        (status("RUNNING", "UNHEALTHY", message="no memory"), "unhealthy", "Composer: no memory"),
    ],
)
def test_what_kuberay_reports_about_a_config(service: dict[str, Any], state: str, words: str) -> None:
    found = applied(service, 5)
    assert found.state == state
    assert words in found.reason


class Server:
    """One RayService as an API server keeps it: a patch with an old version is refused, each other one is counted."""

    namespace = "n"

    def __init__(self, *, taken: Callable[[dict[str, Any]], dict[str, Any]] = lambda _: status()) -> None:
        self.service = {
            "metadata": {"name": "scot", "resourceVersion": "1", "generation": 4},
            "spec": {"serveConfigV2": CONFIG},
        }
        self._taken = taken
        self.others: Iterator[Callable[[dict[str, Any]], None]] = iter(())
        self.defaults: list[str] = []

    def get(self, plural: str, name: str) -> dict[str, Any]:
        assert (plural, name) == ("rayservices", "scot")
        answer = {**copy.deepcopy(self.service), **self._taken(self.service)}
        if other := next(self.others, None):
            other(self.service)
            self._count()
        answer["status"] = {**answer.get("status", {})}
        return answer

    def patch(self, plural: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        if body["metadata"]["resourceVersion"] != self.service["metadata"]["resourceVersion"]:
            raise Conflict("changed")
        self.service["spec"] = body["spec"]
        self._count()
        self.service["metadata"]["generation"] += 1
        self.defaults.append(default_composer(serve_config(self.service)))
        return copy.deepcopy(self.service)

    def _count(self) -> None:
        self.service["metadata"]["resourceVersion"] = str(int(self.service["metadata"]["resourceVersion"]) + 1)


def decision(outcome: GateOutcome, objection: str = "") -> Decision:
    return Decision("2026-01-01T00:00:00+00:00", outcome, "v2", "v1", "tiny", objection, ())


class Pointer:
    """A gate that counts."""

    def __init__(self, outcome: GateOutcome = "passed") -> None:
        self._outcome, self.rolled_back = outcome, 0

    def promote(self) -> Decision:
        return decision(self._outcome)

    def rollback(self) -> None:
        self.rolled_back += 1


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotion, "_POLL_S", 0.0)


def go(
    server: Any,
    gate: Pointer,
    get_released: Callable[[], str],
    *,
    require_answer: bool = False,
    timeout_s: float = 0.2,
) -> list[str]:
    reported: list[str] = []
    promote(
        server,
        "scot",
        "v2",
        gate,
        get_released,
        timeout_s=timeout_s,
        report=reported.append,
        require_answer=require_answer,
    )
    return reported


def test_a_version_that_is_served_stays() -> None:
    server, gate = Server(), Pointer()
    assert go(server, gate, lambda: "v2")[-1] == "the service answers with v2"
    assert server.defaults == ["v2"]
    assert gate.rolled_back == 0


def test_replicas_that_still_answer_with_the_old_version_are_waited_for() -> None:
    answers = itertools.chain(["v2", "v1", "v2", "v2", "v1"], itertools.repeat("v2"))
    server = Server()
    go(server, Pointer(), lambda: next(answers), timeout_s=30)
    assert server.defaults == ["v2"]


def test_a_service_that_keeps_the_old_version_is_put_back() -> None:
    """Composer refuses a version that it cannot load, while KubeRay calls everything healthy."""
    server, gate = Server(), Pointer()
    with pytest.raises(NotPromoted, match=r"still answers with v1.*default is the released one again and the registry"):
        go(server, gate, lambda: "v1")
    assert server.defaults == ["v2", ""]
    assert gate.rolled_back == 1


@pytest.mark.parametrize(("app", "heals_s"), [("DEPLOY_FAILED", 300.0), ("UNHEALTHY", 0.1)])
def test_an_application_that_failed_or_does_not_heal_is_put_back(
    app: str, heals_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promotion, "_HEALS_S", heals_s)
    server = Server(taken=lambda service: status(app) if "v2" in service["spec"]["serveConfigV2"] else status())
    gate = Pointer()
    with pytest.raises(NotPromoted, match=f"v2 is not served: the search application is {app}"):
        go(server, gate, lambda: "v2", timeout_s=300)
    assert server.defaults == ["v2", ""]
    assert gate.rolled_back == 1


def test_a_replica_that_is_lost_meanwhile_is_waited_for() -> None:
    states = itertools.chain(["UNHEALTHY"] * 10, itertools.repeat("RUNNING"))
    server, gate = Server(taken=lambda _: status(next(states))), Pointer()
    assert go(server, gate, lambda: "v2", timeout_s=30)[-1] == "the service answers with v2"
    assert server.defaults == ["v2"]


def test_a_config_that_nobody_applies_is_put_back_after_the_timeout() -> None:
    server, gate = Server(taken=lambda _: status(observed=4)), Pointer("already released")
    with pytest.raises(NotPromoted, match="KubeRay has not read the new config yet"):
        go(server, gate, lambda: "v2")
    assert server.defaults == ["v2", ""]
    assert gate.rolled_back == 0  # the version had been released before: the pointer never moved


def unreachable() -> str:
    raise Unavailable("no service")


def test_kuberays_status_is_enough_when_the_service_does_not_answer_unless_an_address_was_given() -> None:
    assert "does not answer (no service)" in go(Server(), Pointer(), unreachable)[-1]
    with pytest.raises(NotPromoted, match=r"does not answer \(no service\)"):
        go(Server(), Pointer(), unreachable, require_answer=True)


def test_a_concurrent_change_of_the_config_stays() -> None:
    server = Server()

    def scaled(service: dict[str, Any]) -> None:
        service["spec"]["serveConfigV2"] = CONFIG.replace("num_replicas: 2", "num_replicas: 7")

    server.others = iter([scaled])
    assert set_default(server, "scot", "v2") == 5  # type: ignore[arg-type]
    assert "num_replicas: 7" in server.service["spec"]["serveConfigV2"]
    assert server.defaults == ["v2"]


def test_a_default_that_others_changed_is_not_restored() -> None:
    server = Server()
    set_default(server, "scot", "v3")  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="the default was changed to v3 meanwhile"):
        set_default(server, "scot", "v1", instead_of="v2")  # type: ignore[arg-type]


class Refusing(Server):
    def patch(self, plural: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        raise InvalidInput("the cluster rejects it")


def test_a_pointer_that_moved_for_nothing_is_moved_back() -> None:
    gate = Pointer()
    with pytest.raises(NotPromoted, match="the cluster rejects it; the registry's pointer is rolled back"):
        go(Refusing(), gate, lambda: "v2")
    assert gate.rolled_back == 1


REQUEST = GateRequest(
    "v2", "/artifacts/composers", ("/artifacts/gallery/wardrobe",), "tiny", cache="/artifacts/evaluation/cache"
)


def gate_of(result: Decision | None, *, succeeded: bool) -> GateInCluster:
    def run(title: str, words: Sequence[str]) -> Outcome:
        assert list(words[:7]) == ["python", "-m", "scot.cli", "composers", "promote", "v2", "--json"]
        assert list(words[-2:]) == ["--cache", "/artifacts/evaluation/cache"]
        return Outcome(succeeded, "failed (AppFailed)", result and result.to_json())

    return GateInCluster(REQUEST, run)


@pytest.mark.parametrize(
    ("outcome", "objection"),
    [("passed", ""), ("already released", ""), ("forced", "v2 is worse"), ("refused", "v2 is worse")],
)
def test_a_gate_in_the_cluster_returns_the_decision_of_its_job(outcome: GateOutcome, objection: str) -> None:
    made = decision(outcome, objection)
    assert gate_of(made, succeeded=outcome != "refused").promote() == made


def test_a_gate_in_the_cluster_without_a_decision_has_failed() -> None:
    with pytest.raises(Unavailable, match=r"the job that measures v2 failed \(AppFailed\); see its log"):
        gate_of(None, succeeded=False).promote()
    with pytest.raises(Unavailable, match="its log ended before the decision"):
        gate_of(None, succeeded=True).promote()


@pytest.mark.parametrize(("decides_at", "retries", "runs"), [(2, 3, 2), (1, 3, 1), (3, 1, 2)])
def test_a_gate_in_the_cluster_is_run_again_until_it_decides(decides_at: int, retries: int, runs: int) -> None:
    """A refusal is a decision, too: measured again, it would be the same."""
    ran: list[str] = []

    def run(title: str, words: Sequence[str]) -> Outcome:
        ran.append(title)
        result = decision("refused", "v2 is worse").to_json() if len(ran) == decides_at else None
        return Outcome(False, "failed (AppFailed)", result)

    gate = GateInCluster(REQUEST, run, retries)
    if decides_at <= 1 + retries:
        assert gate.promote().outcome == "refused"
    else:
        with pytest.raises(Unavailable, match="the job that measures v2 failed"):
            gate.promote()
    assert len(ran) == runs


def test_a_promotion_that_goes_on_where_another_was_interrupted_reverts_to_the_version_before() -> None:
    server, gate = Server(), Pointer()
    set_default(server, "scot", "v2")  # type: ignore[arg-type]  # the interrupted one
    with pytest.raises(NotPromoted, match="default is v1 again and the registry's pointer is rolled back"):
        go(server, gate, lambda: "v1")
    assert server.defaults == ["v2", "v2", "v1"]


def test_a_version_that_the_gate_refuses_changes_nothing() -> None:
    server, gate = Server(), Pointer("refused")
    with pytest.raises(NotPromoted, match="--force promotes it all the same"):
        go(server, gate, lambda: "v2")
    assert server.defaults == []
    assert gate.rolled_back == 0


def test_a_registry_is_read_here_only_with_its_galleries(tmp_path: Path) -> None:
    assert not readable_here(REQUEST)
    registry, gallery = tmp_path / "composers", tmp_path / "gallery"
    (registry / "v1").mkdir(parents=True)
    (registry / "v1" / "config.json").write_text("{}", encoding="utf-8")
    here = GateRequest("v1", str(registry), (str(gallery),), "tiny")
    assert not readable_here(here)
    gallery.mkdir()
    assert readable_here(here)


class Answers(search_pb2_grpc.SearchServiceServicer):
    def ListComposers(self, request: Any, context: Any) -> Any:
        return search_pb2.ListComposersResponse(
            composers=[
                search_pb2.ComposerInfo(name="v1"),
                search_pb2.ComposerInfo(name="v2", released=True),
                search_pb2.ComposerInfo(name="sum"),
            ]
        )


def test_a_service_is_asked_through_a_relay() -> None:
    """As through the API server's port-forward, whose streams are sockets too."""
    server = grpc.server(ThreadPoolExecutor(2))
    search_pb2_grpc.add_SearchServiceServicer_to_server(Answers(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with relayed(lambda: socket.create_connection(("127.0.0.1", port))) as address, ScotClient(address) as client:
            assert [released(client) for _ in range(3)] == ["v2"] * 3
    finally:
        server.stop(None).wait()


def test_a_relay_to_nowhere_says_that_nobody_answers() -> None:
    def refused() -> Any:
        raise Unavailable("no such pod")

    with relayed(refused) as address, ScotClient(address, timeout=5) as client, pytest.raises(ScotError):
        released(client)


def test_a_gate_here_moves_the_pointer_once_and_writes_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_encoder("tiny")
    module = Combiner(CombinerConfig(dim=encoder.dim, projection=4, hidden=4))
    save_composer(tmp_path / "a", module, encoder_id=encoder.id, dim=encoder.dim, metrics={"recall@1": 0.5})
    registry = Registry(tmp_path / "composers")
    registry.publish(tmp_path / "a")
    registry.publish(tmp_path / "a", release=False)
    draw(DrawConfig("wardrobe", tmp_path / "gallery", "eval", 60, 20, num_workers=1))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    gate = GateHere(GateRequest("v2", registry.root, (str(tmp_path / "gallery"),), "tiny"))
    assert gate.promote().outcome == "passed"
    assert registry.released() == "v2"
    assert not gate.promote().promoted  # it is released already: nothing to roll back later
    gate.rollback()
    assert registry.released() == "v1"
    gate.rollback()  # of a first promotion: before v1 nothing was released
    assert registry.released() is None
    registry.release("v1")
    assert list(work.iterdir()) == []
    assert list(tmp_path.glob("scot-gate*")) == []  # the embeddings of the galleries, in a private folder

    cache = tmp_path / "cache"  # where an evaluation has left them
    cache.mkdir()
    shared = GateRequest("v2", registry.root, (str(tmp_path / "gallery"),), "tiny", cache=str(cache))
    assert GateHere(shared).promote().outcome == "passed"
    shards = {file: file.stat().st_mtime_ns for file in cache.iterdir()}
    assert shards
    registry.rollback()
    assert GateHere(shared).promote().outcome == "passed"
    assert {file: file.stat().st_mtime_ns for file in cache.iterdir()} == shards


def test_the_key_that_the_chart_made_is_found_where_its_pods_mount_it() -> None:
    class Keeper:
        def secret(self, name: str, key: str) -> str:
            return f"{key} of {name}"

    def service_with(volumes: list[dict[str, Any]]) -> dict[str, Any]:
        return {"spec": {"rayClusterConfig": {"headGroupSpec": {"template": {"spec": {"volumes": volumes}}}}}}

    cluster: Any = Keeper()
    mounted = service_with([{"name": "tmp", "emptyDir": {}}, {"name": "keys", "secret": {"secretName": "mine"}}])
    assert admin_key(cluster, mounted) == "admin-key of mine"
    assert admin_key(cluster, service_with([])) is None
