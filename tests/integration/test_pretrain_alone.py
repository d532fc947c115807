"""`pretrain.py` without a flag: it makes its own edits and embeddings, and what it learned goes through the gate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ray_jobs import pretrain
from ray_jobs.learning import pass_gate
from scot import flags
from scot.composers import Registry, load_composer, save_composer
from scot.embeddings.cache import read_info
from scot.errors import InvalidFlag, NotPromoted
from scot.worlds import WORLDS
from scot.worlds.drawing import DrawConfig, draw
from scot.worlds.workspace import DEMO, Workspace

FEW = ["--num-workers", "0", "--steps", "40", "--eval-every", "20", "--batch-size", "128", "--held-out", "0.2"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `make demo` has drawn, and done nothing else."""
    root = tmp_path_factory.mktemp("laptop")
    space = Workspace(root / DEMO)
    for world in WORLDS:
        draw(DrawConfig(world, space.train(world), "train", 60, num_workers=1))
        draw(DrawConfig(world, space.gallery(world), "eval", 40, 20, num_workers=1))
    return root


def run(*arguments: str) -> int:
    return flags.run("pretrain.py", pretrain.main, pretrain.PretrainConfig, [*FEW, *arguments])


def test_without_a_flag_it_learns_from_the_demo(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(drawn)
    space, registry = Workspace(DEMO), Registry(DEMO / "composers")
    assert run() == 0
    out = capsys.readouterr().out
    steps = ["generating them", "encoding", "published v1 (not released)", "released v1 (first release)"]
    assert [out.index(each) for each in steps] == sorted(out.index(each) for each in steps)
    assert read_info(space.embeddings).encoder_id.startswith("tiny")
    assert registry.released() == "v1"
    (decision,) = registry.decisions("v1")
    assert {check["world"] for check in decision["checks"]} == set(WORLDS)

    assert run() == 0  # nothing is made, trained or measured again
    out = capsys.readouterr().out
    assert "is finished" in out
    assert "encoding" not in out
    assert len(registry.decisions("v1")) == 1

    # A composer of random weights is measurably worse: it is published, and the released one stays.
    info = read_info(space.embeddings)
    module = load_composer(registry.path("v1"), encoder_id=info.encoder_id, dim=info.dim).module
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=10.0, generator=torch.Generator().manual_seed(0))
    save_composer(tmp_path / "worse", module, encoder_id=info.encoder_id, dim=info.dim)
    registry.publish(tmp_path / "worse", release=False)
    with pytest.raises(NotPromoted, match="v2 is published and not released: v2 is worse than the released v1"):
        pass_gate(registry, "v2", [*map(str, space.galleries)], "tiny")
    assert registry.released() == "v1"
    pass_gate(registry, "v2", [], "tiny")  # it is not measured again
    assert "the gate has decided about v2: refused" in capsys.readouterr().out


def test_the_places_of_a_release_are_its_pods_environment(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = Workspace(drawn / DEMO)
    monkeypatch.chdir(tmp_path)
    places = {name: str(tmp_path / name.lower()) for name in ("EMBEDDINGS", "TRIPLETS", "COMPOSERS", "RUNS")}
    places |= {"SOURCE": f"'{demo.trains[0]}' '{demo.trains[1]}'", "GALLERY": str(demo.galleries[0]), "ENCODER": "tiny"}
    for name, value in places.items():
        monkeypatch.setenv(f"SCOT_{name}", value)
    assert run("--architecture", "token_combiner", "--steps", "10") == 0
    assert read_info(places["EMBEDDINGS"]).states  # which that architecture reads
    assert Registry(places["COMPOSERS"]).versions() == ["v1"]
    assert list(tmp_path.glob("scot-demo*")) == []


def test_with_nothing_to_learn_from_it_says_what_to_run_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidFlag, match="nothing to learn from: run `make demo` first"):
        pretrain.main(pretrain.PretrainConfig())
