from __future__ import annotations

import dataclasses
import errno
import math
import re
from pathlib import Path

import pytest
import torch

from scot.composers.architectures import ARCHITECTURES
from scot.embeddings.cache import ROLES
from scot.errors import InvalidInput, Unavailable
from scot.training import held_out
from scot.training.checkpoint import checkpoint_name, checkpoints, keep_newest
from scot.training.config import TrainConfig
from scot.training.distributed import check_shares
from scot.training.divergence import Diverged
from scot.training.loop import Trainer
from scot.training.objectives import LossConfig
from scot.training.optimization import learning_rate
from scot.training.progress import Progress
from scot.training.run_folder import ProgressLog, progress_line
from scot.training.split import split
from tests.support.forked import run_workers
from tests.support.synthetic_triplets import synthetic_triplets

SMALL = TrainConfig(
    projection=64, hidden=64, batch_size=128, steps=120, lr=3e-3, eval_every=20, held_out=0.2, precision="float32"
)


def trainer(config: TrainConfig = SMALL) -> Trainer:
    return Trainer(synthetic_triplets(), config)


def test_training_learns_to_compose() -> None:
    run = trainer()
    before = held_out.evaluate(run.composer, run.data, run.measured_M)
    events = list(run.run())
    assert events[-1].done
    assert events[-1].step == 120
    assert before["recall@1"] < 0.2
    assert run.best["recall@1"] > 0.5
    assert run.best["recall@10"] > 0.95
    assert run.best["beats_caption"] > 0.9
    best = held_out.evaluate(run.best_composer(), run.data, run.measured_M)
    assert best == pytest.approx(run.best)


def test_a_run_repeats_exactly() -> None:
    def last() -> list[float]:
        run = trainer(dataclasses.replace(SMALL, steps=20))
        return [event.loss for event in run.run()] + [float(run.objective.composer.gate[0].weight.detach().sum())]

    assert last() == last()


EVERY_TERM = LossConfig(
    contrastive_weight=0.5, sigmoid_weight=0.1, retrieved_weight=0.5, direction_weight=0.5, preservation_weight=0.1,
    moved_weight=0.5, analogy_weight=0.5, edit_negatives=True, image_negatives=True, sibling_negatives=2, hardness=0.5,
    queue=3, edit_noise=0.02, target_noise=0.02,
)  # fmt: skip


@pytest.mark.parametrize("loss", [LossConfig(), EVERY_TERM], ids=["default", "every term"])
def test_a_resumed_run_ends_as_one_that_was_not_interrupted(tmp_path: Path, loss: LossConfig) -> None:
    config = dataclasses.replace(SMALL, steps=60, loss=loss)
    whole = trainer(config)
    list(whole.run())

    first = trainer(config)
    for event in first.run():
        if event.evaluated and event.step == 40:
            first.save(tmp_path / "step-40")
            break
    second = trainer(config)
    second.load(tmp_path / "step-40")
    assert second.step == 40
    events = list(second.run())
    assert events[-1].step == 60
    assert second.best == whole.best
    for name, weights in whole.objective.state_dict().items():
        torch.testing.assert_close(second.objective.state_dict()[name], weights, rtol=0, atol=0)


SHARED = dataclasses.replace(SMALL, steps=40, dropout=0.0, loss=EVERY_TERM, from_captions=0.3)


def terms_and_weights() -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    run = trainer(SHARED)
    return [dict(event.terms) for event in run.run()], run.objective.state_dict()


def test_two_workers_train_what_one_trains_with_every_term(tmp_path: Path) -> None:
    events, weights = run_workers(2, tmp_path / "group", terms_and_weights)[0]
    alone = trainer(SHARED)
    for event, terms in zip(alone.run(), events, strict=True):
        assert event.terms == pytest.approx(terms, rel=1e-3)
    for name, value in alone.objective.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-3)


def test_progress_tells_each_term_and_the_gradient_norm() -> None:
    run = trainer(dataclasses.replace(SMALL, steps=20, loss=EVERY_TERM))
    (event,) = run.run()
    weights = EVERY_TERM.weights()
    assert event.terms.keys() == weights.keys()
    assert event.loss == pytest.approx(sum(weights[name] * value for name, value in event.terms.items()), rel=1e-4)
    assert event.gradient_norm > 0.0


def test_every_term_is_a_curve(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    terms = {"contrastive": 2.0, "direction": 0.5}
    log = ProgressLog(tmp_path)
    log.write(Progress(20, 40, 2.25, 1e-3, 20.0, 1.0, {}, False, False, 50, terms=terms, gradient_norm=0.75))
    log.close()
    curves = EventAccumulator(str(tmp_path / "tensorboard"))
    curves.Reload()
    shown = {tag: curves.Scalars(tag)[0].value for tag in curves.Tags()["scalars"]}
    assert shown["train/contrastive"] == 2.0
    assert shown["train/direction"] == 0.5
    assert shown["train/gradient_norm"] == 0.75


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_architecture_learns_to_compose(architecture: str) -> None:
    config = dataclasses.replace(SMALL, architecture=architecture, projection=0, hidden=64, steps=100)
    run = trainer(config)
    before = held_out.evaluate(run.composer, run.data, run.measured_M)["recall@1"]
    list(run.run())
    assert run.best["recall@1"] > before + 0.3


def test_a_finished_run_has_nothing_left_to_do(tmp_path: Path) -> None:
    run = trainer(dataclasses.replace(SMALL, steps=20))
    list(run.run())
    run.save(tmp_path / "step-20")
    again = trainer(dataclasses.replace(SMALL, steps=20))
    again.load(tmp_path / "step-20")
    assert list(again.run()) == []
    assert again.best == run.best


def test_early_stop_keeps_the_best() -> None:
    run = trainer(dataclasses.replace(SMALL, lr=1e-9, patience=2, steps=1000, eval_every=5, dropout=0.0))
    events = list(run.run())
    assert run.stopped
    assert events[-1].done
    assert events[-1].step == run.best_step + 2 * 5


def test_a_diverging_run_stops_with_its_reason() -> None:
    run = trainer(dataclasses.replace(SMALL, steps=50))
    with torch.no_grad():
        run.composer.get_parameter("gate.3.bias").fill_(math.nan)
    first = ", ".join(run.data.triplet_ids[row] for row in run.batch_rows(0)[:3])
    with pytest.raises(Diverged, match=f"not finite at step 1, whose batch has the triplets {first} and 125 more"):
        list(run.run())


def test_a_vector_that_is_not_a_number_is_named_with_its_step() -> None:
    run = trainer(dataclasses.replace(SMALL, steps=50))
    bad = int(run.batch_rows(7)[5])
    run.data.image_UD[run.data.image_N[bad], 3] = math.nan
    run.composer.fit_statistics(run.data.edit_ND, run.data.edit_ND)
    with pytest.raises(Diverged) as raised:
        list(run.run())
    step = next(s for s in range(50) if (run.data.image_N[run.batch_rows(s)] == run.data.image_N[bad]).any())
    rows = run.batch_rows(step)
    named = [run.data.triplet_ids[row] for row in rows[run.data.image_N[rows] == run.data.image_N[bad]][:3]]
    assert f"{', '.join(named)} are not finite (step {step + 1}): encode again" in str(raised.value)


def test_every_epoch_sees_every_row_once_in_an_order_of_its_own() -> None:
    run = trainer()
    size = len(run.training_N)
    assert size % run.batch_size
    seen = torch.cat([run.batch_rows(step) for step in range(2 * size // run.batch_size + 1)])
    epochs = [seen[:size].tolist(), seen[size : 2 * size].tolist()]
    for rows in epochs:
        assert sorted(rows) == run.training_N.tolist()
    assert epochs[0] != epochs[1]
    assert trainer().batch_rows(3).tolist() == run.batch_rows(3).tolist()


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_share_the_batch_that_one_would_have(workers: int) -> None:
    run = trainer()
    for step in (0, 7, 15, 16):
        run.rank, run.world = 0, 1
        whole = run.batch_rows(step)
        run.world = workers
        shares = []
        for run.rank in range(workers):
            shares.append(run.batch_rows(step))
        assert torch.cat(shares).tolist() == whole.tolist()


def test_recall_by_hand() -> None:
    data = synthetic_triplets(images=50, edits=2)

    class Oracle(torch.nn.Module):
        config = None
        reads_states = False

        def forward(self, image_BD: torch.Tensor, text_BD: torch.Tensor) -> torch.Tensor:
            return answers_BD[: len(image_BD)]

    answers_BD = data.edited_ND
    everything = torch.arange(len(data))
    oracle = held_out.evaluate(Oracle(), data, everything)  # type: ignore[arg-type]
    assert oracle == {"recall@1": 1.0, "recall@10": 1.0, "beats_caption": 1.0}
    answers_BD = data.caption_ND
    lazy = held_out.evaluate(Oracle(), data, everything)  # type: ignore[arg-type]
    assert lazy["beats_caption"] == 0.0
    assert lazy["recall@1"] < 0.5


def test_the_references_are_what_they_are_by_hand() -> None:
    data = synthetic_triplets()
    parts = split(data, 0.2)
    rows = parts.measured_M
    found = held_out.references(data, parts.training_N, rows)
    assert found["oracle"]["recall@1"] == 1.0
    targets = torch.unique(data.edited_N[rows])
    gallery_KD = torch.nn.functional.normalize(data.text_VD[targets].float(), dim=-1)
    best = targets[(data.image_ND[rows] @ gallery_KD.T).argmax(1)]
    by_hand = float((best == data.edited_N[rows]).float().mean())
    assert found["image_only"]["recall@1"] == pytest.approx(by_hand)
    # The captions of these images leave only noise out, and arithmetic of images and edits does not help.
    assert found["oracle_moved"]["recall@1"] > 0.95
    assert max(value["recall@1"] for name, value in found.items() if "oracle" not in name) < 0.5


def test_a_composer_that_loses_to_a_baseline_is_not_to_be_released() -> None:
    metrics = {"recall@1": 0.1, "image_only/recall@1": 0.05, "sum:0.3/recall@1": 0.156, "oracle/recall@1": 1.0}
    assert held_out.objection(metrics) == (
        "its held-out recall@1 0.100 is below the 0.156 of sum:0.3, which is untrained"
    )
    assert held_out.objection(metrics | {"recall@1": 0.156}) == ""
    tested = metrics | {"pairs/recall@1": 0.2, "pairs/sum:0.4/recall@1": 0.1, "pairs/oracle/recall@1": 0.5}
    assert held_out.objection(tested) == ""  # the images decide
    assert held_out.objection(tested | {"recall@1": 0.9, "pairs/image_only/recall@1": 0.3}) == (
        "its held-out recall@1 0.200 on pairs of images is below the 0.300 of image_only, which is untrained"
    )
    assert held_out.objection({"recall@1": 0.1}) == ""  # an artifact of an earlier version


def test_a_line_of_progress_has_the_recall_of_its_own_step_only() -> None:
    recall = {"recall@1": 0.5, "recall@10": 0.75}
    event = dataclasses.asdict(Progress(50, 300, 1.0, 1e-3, 20.0, 1000.0, recall, False, False, 50)) | {"eta_s": 1.0}
    assert "held-out" not in progress_line(event)
    assert "held-out R@1 0.500 R@10 0.750" in progress_line(event | {"evaluated": True})


def test_the_learning_rate_warms_up_and_goes_to_zero() -> None:
    config = TrainConfig(steps=100, lr=1.0, warmup=0.1)
    rates = [learning_rate(step, config) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0)


def test_progress_knows_when_it_ends() -> None:
    event = Progress(100, 300, 1.0, 1e-3, 20.0, 1000.0, {}, False, False, 50)
    assert event.eta_s == pytest.approx(10.0)


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_size": 0}, {"steps": 0}, {"lr": 0.0}, {"held_out": 0.0}, {"held_out": 1.0}, {"warmup": 1.0},
        {"patience": -1}, {"precision": "float8"}, {"lr": math.nan},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        TrainConfig(**settings)  # type: ignore[arg-type]


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(InvalidInput, match="known: combiner"):
        trainer(dataclasses.replace(SMALL, architecture="perceiver"))


def test_a_size_that_the_architecture_does_not_have_is_refused() -> None:
    with pytest.raises(InvalidInput, match="the architecture film has no setting projection, heads"):
        TrainConfig(architecture="film", projection=64, heads=2)
    with pytest.raises(InvalidInput, match="the architecture film has no setting patch_dropout"):
        TrainConfig(architecture="film", patch_dropout=1.0)
    assert TrainConfig(architecture="film", depth=2).composer_settings() == {"depth": 2, "dropout": 0.1, "centre": True}


def test_settings_are_read_back_and_unknown_ones_refused() -> None:
    config = dataclasses.replace(SMALL, loss=EVERY_TERM)
    assert TrainConfig.from_dict(dataclasses.asdict(config)) == config
    assert TrainConfig.from_dict({"lr": 0.5, "loss": {"queue": 2}}) == TrainConfig(lr=0.5, loss=LossConfig(queue=2))
    with pytest.raises(InvalidInput, match="training has no setting learning_rate"):
        TrainConfig.from_dict({**dataclasses.asdict(config), "learning_rate": 1.0})


def test_too_few_triplets_are_refused() -> None:
    with pytest.raises(InvalidInput, match="too few to hold out"):
        Trainer(synthetic_triplets(images=1), SMALL)


def test_a_batch_takes_a_smaller_set_more_than_once() -> None:
    run = Trainer(synthetic_triplets(images=20, edits=2), dataclasses.replace(SMALL, batch_size=100, steps=3))
    rows, counts = run.batch_rows(0).unique(return_counts=True)
    assert rows.tolist() == run.training_N.tolist()
    assert set(counts.tolist()) == {100 // len(rows), 100 // len(rows) + 1}
    assert list(run.run())[-1].step == 3


def test_one_training_triplet_is_refused() -> None:
    data = synthetic_triplets(images=40, edits=1)
    parts = split(data, 0.2)
    chosen = torch.cat([parts.measured_M, parts.training_N[:1]])
    one = dataclasses.replace(data, **{f"{role}_N": getattr(data, f"{role}_N")[chosen] for role in ROLES})
    with pytest.raises(InvalidInput, match="one training triplet is too few"):
        Trainer(one, SMALL)


@pytest.mark.parametrize(
    ("batch", "fewest", "most", "said"),
    [
        (64, 3, 0, "64 cannot be shared evenly by 3 workers, but 63 or 66 can"),
        (1024, 1, 4, "1024 cannot be shared evenly by every number of workers from 1 to 4, but 1020 or 1032 can"),
        (4, 5, 6, "from 5 to 6, but 30 can"),
    ],
)
def test_a_batch_that_workers_cannot_share_is_refused_with_one_that_they_can(
    batch: int, fewest: int, most: int, said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        check_shares(batch, fewest, most)
    for good in re.findall(r"\d+", said.split("but")[1]):
        check_shares(int(good), fewest, most)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_term_and_architecture_trains_in_bfloat16(architecture: str) -> None:
    few = {"architecture": architecture, "projection": 0, "precision": "bfloat16", "steps": 40, "centre": False}
    run = trainer(dataclasses.replace(SMALL, loss=dataclasses.replace(EVERY_TERM, learn_scale=False), **few))
    events = list(run.run())
    assert events[-1].loss < events[0].loss
    assert events[-1].scale == pytest.approx(20.0)


def test_checkpoints_of_other_settings_or_damaged_are_refused(tmp_path: Path) -> None:
    run = trainer()
    run.save(tmp_path / "step-0000000")
    with pytest.raises(InvalidInput, match="other settings"):
        trainer(dataclasses.replace(SMALL, hidden=32)).load(tmp_path / "step-0000000")
    (tmp_path / "step-0000000" / "state.json").write_text("{")
    with pytest.raises(InvalidInput, match="damaged"):
        run.load(tmp_path / "step-0000000")


def test_the_newest_two_checkpoints_are_kept(tmp_path: Path) -> None:
    assert checkpoints(tmp_path) == []
    run = trainer()
    for step in (5, 10, 100):
        run.save(tmp_path / checkpoint_name(step))
    (tmp_path / ".step-0000200.left.tmp").mkdir()
    keep_newest(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-0000010", "step-0000100"]
    assert [path.name for path in checkpoints(tmp_path)] == ["step-0000100", "step-0000010"]


@pytest.mark.parametrize("name", ["current.safetensors", "best.safetensors", "optimiser.pt", "state.json"])
@pytest.mark.parametrize("damage", ["gone", "short", "one byte"])
def test_a_damaged_file_is_a_damaged_checkpoint(tmp_path: Path, name: str, damage: str) -> None:
    run = trainer()
    run.save(tmp_path / "step-0000000")
    run.load(tmp_path / "step-0000000")
    path = tmp_path / "step-0000000" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x80
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content if damage == "one byte" else content[: len(content) // 2])
    with pytest.raises(InvalidInput, match="step-0000000 is damaged"):
        run.load(tmp_path / "step-0000000")


def test_a_full_disk_leaves_the_checkpoint_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer()
    run.save(tmp_path / "step-0000000")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(Unavailable, match="step-0000000 cannot be written: No space left on device"):
            run.save(tmp_path / "step-0000000")
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000"]
    run.load(tmp_path / "step-0000000")


def test_progress_tells_what_waiting_and_checkpoints_cost(tmp_path: Path) -> None:
    run = trainer(dataclasses.replace(SMALL, steps=40))
    events = []
    for event in run.run():
        events.append(event)
        run.save(tmp_path / checkpoint_name(event.step))
    assert [event.checkpoint_s > 0.0 for event in events] == [False, True]
    assert all(0.0 <= event.data_wait < 1.0 for event in events)
