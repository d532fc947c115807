"""The release gate: what passes, what is refused with its numbers, what is kept, and the commands around it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from scot.cli import main
from scot.cluster import job_result
from scot.composers import Registry, save_composer
from scot.composers.combiner import Combiner, CombinerConfig
from scot.encoders import Encoder, load_encoder
from scot.evaluation.gate import Check, Decision, decide
from scot.evaluation.scoring import Estimate
from scot.worlds.drawing import DrawConfig, draw
from tests.support.random_encoder import save_random_encoder

Run = Callable[..., tuple[int, str, str]]
"""A command and its words to exit code, stdout and stderr."""

RELEASED = Estimate(0.60, 0.55, 0.65)


def check(value: float, other: Estimate | None = RELEASED, metric: str = "recall@1", world: str = "scenes") -> Check:
    return Check(world, "abc", 100, 50, metric, Estimate(value, value - 0.05, value + 0.05), other)


@pytest.mark.parametrize(
    ("value", "winner", "outcome"),
    [
        (0.66, "candidate", "passed"),
        (0.65, "neither", "passed"),
        (0.55, "neither", "passed"),
        (0.549, "other", "refused"),
    ],
)
def test_a_candidate_may_be_as_low_as_the_interval_reaches(value: float, winner: str, outcome: str) -> None:
    assert check(value).winner == winner
    assert decide("v2", "v1", "e", [check(value)]).outcome == outcome


def test_one_metric_of_one_world_is_enough_to_refuse_and_the_sentence_has_the_numbers() -> None:
    worse = check(0.4, Estimate(0.5, 0.45, 0.56), "recall_subset@1", "wardrobe")
    decision = decide("v2", "v1", "e", [check(0.9), check(0.9, metric="recall_subset@1"), worse])
    assert decision.outcome == "refused"
    assert decision.summary == (
        "v2 is worse than the released v1: recall_subset@1 0.400 on wardrobe is below 0.450 to 0.560, "
        "the 95 % interval of v1"
    )
    assert decide("v2", "v1", "e", [worse], force=True).outcome == "forced"


def test_a_decision_is_read_back_from_its_json() -> None:
    for other in (RELEASED, None):
        decision = decide("v2", "v1", "e", [check(0.9, other)])
        assert Decision.from_json(json.loads(json.dumps(decision.to_json()))) == decision


def test_the_first_release_passes_and_force_is_not_said_where_it_was_not_needed() -> None:
    assert decide("v1", None, "e", [check(0.1, None)]).outcome == "first release"
    assert decide("v2", "v1", "e", [check(0.6)], force=True).outcome == "passed"


def test_a_first_release_says_how_the_packaged_composer_did() -> None:
    def said(value: float) -> str:
        decision = decide("v1", None, "e", [check(value), check(0.6, metric="recall_subset@1")], packaged="tiny-1")
        assert decision.outcome == "first release"
        assert Decision.from_json(json.loads(json.dumps(decision.to_json()))) == decision
        return decision.summary.partition("scenes: ")[2]

    before = "nothing was released before"
    assert said(0.7) == f"{before}; measured better than the packaged tiny-1 on 1 of 2 numbers"
    assert said(0.6) == f"{before}; not below the interval of the packaged tiny-1"
    assert said(0.5) == (
        f"{before}, but the packaged tiny-1, which answered, measured better: "
        "recall@1 0.500 on scenes is below its 0.600"
    )


def test_what_cannot_be_compared_is_refused_unless_forced() -> None:
    arguments = ("v2", "v1", "e", [check(0.9, None)])
    assert decide(*arguments, objection="another encoder").outcome == "refused"
    assert decide(*arguments, objection="another encoder", force=True).outcome == "forced"


def save(registry: Registry, folder: Path, encoder: Encoder, share: float) -> str:
    """Publish a Combiner that gives ``share`` to the edit and the rest to the reference."""
    torch.manual_seed(0)
    module = Combiner(CombinerConfig(dim=encoder.dim, projection=4, hidden=4, centre=False))
    with torch.no_grad():
        for weight in (module.mix[-1].weight, module.mix[-1].bias, module.gate[-1].weight):
            weight.zero_()
        module.gate[-1].bias.fill_(torch.logit(torch.tensor(share)).item())
    name = f"{encoder.id}-{share}"
    if not (folder / name).exists():
        save_composer(
            folder / name, module, encoder_id=encoder.id, dim=encoder.dim, metrics={"recall@1": 0.25 + share / 2}
        )
    return registry.publish(folder / name, release=False)


@pytest.fixture(scope="module")
def galleries(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    home = tmp_path_factory.mktemp("galleries")
    for world in ("wardrobe", "scenes"):
        draw(DrawConfig(world, home / world, "eval", 200, 99, num_workers=1))
    return [home / "wardrobe", home / "scenes"]


@pytest.fixture(scope="module")
def tiny() -> Encoder:
    return load_encoder("tiny")


@pytest.fixture
def registry(tmp_path: Path, tiny: Encoder) -> Registry:
    """v1 mixes reference and edit, v2 looks at the edit alone (worse), v3 is v1 again."""
    registry = Registry(tmp_path / "composers")
    for share in (0.3, 0.99, 0.3):
        save(registry, tmp_path, tiny, share)
    return registry


@pytest.fixture
def run(registry: Registry, galleries: list[Path], capsys: pytest.CaptureFixture[str]) -> Run:
    def run(command: str, *words: str, gallery: bool = True) -> tuple[int, str, str]:
        shared = ["--composers", registry.root]
        if gallery:
            shared += ["--gallery", *map(str, galleries), "--cache", str(galleries[0].parent / "cache")]
        code = main(["composers", command, *words, *shared])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_the_decision_may_be_one_line_of_json(run: Run, registry: Registry) -> None:
    run("promote", "v1")
    for version, outcome, expected in (("v2", "refused", 3), ("v3", "passed", 0), ("v3", "already released", 0)):
        code, out, err = run("promote", version, "--json")
        assert (code, "recall@1" in err) == (expected, outcome != "already released")
        (line,) = out.splitlines()
        result = job_result.read(line)
        assert result is not None
        decision = Decision.from_json(result)
        assert (decision.candidate, decision.outcome) == (version, outcome)
    assert registry.released() == "v3"


def test_promote_refuse_force_and_roll_back(run: Run, registry: Registry) -> None:
    code, out, _ = run("promote", "v1")
    assert (code, registry.released()) == (0, "v1")
    assert "promoted v1 (first release" in out
    assert (
        "nothing was released before, but the packaged tiny-1, which answered, measured better: recall@1 0."
        in " ".join(out.split())
    )
    (decision,) = registry.decisions("v1")
    assert decision["packaged"] == "tiny-1"
    assert all(made["winner"] == "other" for made in decision["checks"])

    code, _, err = run("promote", "v2")
    assert (code, registry.released()) == (3, "v1")
    assert err.startswith("scot composers promote: v2 is worse than the released v1: recall@1 0.")
    assert "the 95 % interval of v1" in err
    assert err.endswith("; --force promotes it all the same\n")
    assert err.count("\n") == 1

    assert run("promote", "v3")[0] == 0
    assert run("promote", "v3") == (0, "v3 is the released composer already\n", "")
    assert run("promote", "v2", "--force")[0] == 0
    assert registry.released() == "v2"

    code, out, _ = run("rollback", gallery=False)
    assert (code, registry.released()) == (0, "v3")
    assert "rolled back from v2 to v3" in out
    run("rollback", gallery=False)
    code, _, err = run("rollback", gallery=False)
    assert (code, registry.released()) == (1, "v1")
    assert "before v1 nothing was released" in err

    outcomes = {version: [made["outcome"] for made in registry.decisions(version)] for version in ("v1", "v2", "v3")}
    assert outcomes == {
        "v1": ["first release"],
        "v2": ["refused", "forced", "rolled back"],
        "v3": ["passed", "rolled back"],
    }


def test_the_decision_holds_every_number(run: Run, registry: Registry, tiny: Encoder) -> None:
    run("promote", "v1")
    run("promote", "v3")
    (decision,) = registry.decisions("v3")
    assert (decision["candidate"], decision["released"], decision["encoder"]) == ("v3", "v1", tiny.id)
    assert [(c["world"], c["metric"]) for c in decision["checks"]] == [
        (world, metric) for world in ("wardrobe", "scenes") for metric in ("recall@1", "recall_subset@1")
    ]
    for made in decision["checks"]:
        assert made["candidate"] == made["other"]  # the same weights
        assert made["winner"] == "neither"
        assert (made["pictures"], made["queries"]) == (200, 99)
        assert made["candidate"]["low"] <= made["candidate"]["value"] <= made["candidate"]["high"]
    text = json.dumps(decision) + (Path(registry.path("v3")) / "README.md").read_text()
    assert str(registry.root) not in text
    assert "**passed**. v3: recall@1 0." in text


def test_list_shows_what_there_is(run: Run, registry: Registry, tiny: Encoder) -> None:
    run("promote", "v1")
    (Path(registry.path("v2")) / "metrics.json").write_text("{")
    code, out, _ = run("list", gallery=False)
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert code == 0
    assert "released" in lines["v1"]
    assert "first release" in lines["v1"]
    assert all(part in lines["v3"] for part in (tiny.id, "combiner", "0.400"))
    assert "released" not in lines["v3"]
    assert "composer v2 is damaged: metrics.json is missing or not JSON" in out
    code, out, _ = run("list", "--json", gallery=False)
    found = json.loads(out)
    assert found["composers"][0]["version"] == "v1"
    assert found["composers"][0]["state"] == "released"
    assert found["broken"] == ["composer v2 is damaged: metrics.json is missing or not JSON"]


def test_compare_shows_both_with_intervals(run: Run) -> None:
    code, out, _ = run("compare", "v2", "v1")
    assert code == 0
    (line,) = [line for line in out.splitlines() if "wardrobe" in line and "recall@10" in line]
    assert line.split()[-1] == "v1"
    assert line.count("[0.") == 2
    assert "scenes" in out


def test_another_encoder_is_refused_without_force(run: Run, registry: Registry, tmp_path: Path) -> None:
    name = save_random_encoder(tmp_path / "model")
    other = load_encoder(name)
    run("promote", "v1")
    assert save(registry, tmp_path, other, 0.3) == "v4"

    code, _, err = run("promote", "v4", "--encoder", name)
    assert (code, registry.released()) == (3, "v1")
    assert f"v4 was trained on the encoder {other.id}" in err
    assert "--force" in err
    assert err.count("\n") == 1
    code, _, err = run("promote", "v4", "--force")
    assert (code, registry.released()) == (1, "v1")
    assert "name its encoder with --encoder" in err
    assert run("compare", "v1", "v4")[0] == 1

    code, out, _ = run("promote", "v4", "--force", "--encoder", name)
    assert (code, registry.released()) == (0, "v4")
    assert "promoted v4 (forced" in out
    (decision,) = registry.decisions("v4")
    assert [made["other"] for made in decision["checks"]] == [None] * 4
    assert "it needs the encoder tiny@" in run("rollback", gallery=False)[1]


def test_a_released_composer_that_is_damaged_can_be_replaced(run: Run, registry: Registry) -> None:
    run("promote", "v1")
    (Path(registry.path("v1")) / "composer.safetensors").write_bytes(b"")
    code, _, err = run("promote", "v3")
    assert code == 3
    assert "the released v1 cannot be measured: composer v1 is damaged" in err
    assert run("promote", "v3", "--force")[0] == 0
    assert registry.released() == "v3"


def test_a_damaged_pointer_is_mended_by_force(run: Run, registry: Registry) -> None:
    registry.release("v1")
    (Path(registry.root) / "released.json").write_text("v1")
    for words, expected in ((["promote", "v3"], 3), (["rollback"], 1)):
        code, _, err = run(*words, gallery=len(words) > 1)
        assert code == expected
        assert "released.json is damaged: release a version again" in err
    assert run("promote", "v3", "--force")[0] == 0
    assert registry.released() == "v3"


def test_a_release_meanwhile_is_not_overwritten(run: Run, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.release("v1")

    def record(self: Registry, version: str, decision: object) -> None:
        self.release("v2")  # somebody else, between measuring and releasing

    monkeypatch.setattr(Registry, "record", record)
    code, _, err = run("promote", "v3")
    assert (code, registry.released()) == (1, "v2")
    assert "v2 was released meanwhile" in err


def test_a_promotion_killed_before_the_pointer_moves_leaves_the_old_release_and_can_be_repeated(
    run: Run, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.release("v1")
    with monkeypatch.context() as killed:
        killed.setattr(Registry, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert run("promote", "v3")[0] == 130
    assert registry.released() == "v1"
    assert run("promote", "v3")[0] == 0
    assert registry.released() == "v3"
    assert [made["outcome"] for made in registry.decisions("v3")] == ["passed", "passed"]


@pytest.mark.parametrize(
    ("command", "words", "gallery", "message"),
    [
        ("promote", ["v1"], False, "--gallery is missing"),
        ("compare", ["v1", "v2"], False, "--gallery is missing"),
        ("promote", ["v9"], True, "there is no composer version 'v9'; published: v1, v2, v3"),
        ("compare", ["v1", "v9"], True, "there is no composer version 'v9'"),
        ("rollback", [], False, "has no released composer"),
    ],
)
def test_wrong_arguments_are_one_sentence(
    run: Run, command: str, words: list[str], gallery: bool, message: str
) -> None:
    code, _, err = run(command, *words, gallery=gallery)
    assert code == (2 if message.startswith("--") else 1)
    assert message in err
    assert err.count("\n") == 1


def test_an_empty_registry_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["composers", "list", "--composers", str(tmp_path / "nowhere")]) == 1
    assert "holds no composer yet" in capsys.readouterr().err
