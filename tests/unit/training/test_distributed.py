"""Several workers over gloo do what one does: the same losses and gradients, and one end for all of them."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from scot.errors import InvalidInput, ScotError, Unavailable
from scot.training.checkpoint import checkpoint_name, load_checkpoint
from scot.training.config import TrainConfig
from scot.training.distributed import WorkerFailed, all_or_none
from scot.training.loop import Trainer
from scot.training.objectives import LossConfig
from tests.support.forked import run_workers
from tests.support.synthetic_triplets import synthetic_triplets

CONFIG = TrainConfig(
    projection=32, hidden=32, batch_size=96, steps=6, eval_every=3, held_out=0.2, dropout=0.0, clip=1e9, lr=3e-3,
    precision="float32", loss=LossConfig(edit_negatives=True, image_negatives=True, direction_weight=0.5),
)  # fmt: skip


def steps(config: TrainConfig) -> list[dict[str, Any]]:
    """The loss and every gradient of each step of a run."""
    run = Trainer(synthetic_triplets(images=100, dim=16), config)
    found = []
    for step in range(config.steps):
        loss = run._one_step(run._gather(step), None)[0]
        if run.world > 1:
            dist.all_reduce(loss)
        gradients = {name: p.grad.clone() for name, p in run.objective.named_parameters() if p.grad is not None}
        found.append({"loss": loss / run.world, "gradients": gradients})
    return found


def whole_and_resumed(config: TrainConfig, folder: Path) -> list[dict[str, torch.Tensor]]:
    """The weights of a run, and of one that was stopped at step 3 and went on in a new trainer."""
    data = synthetic_triplets(images=100, dim=16)
    whole, first, second = Trainer(data, config), Trainer(data, config), Trainer(data, config)
    list(whole.run())
    for event in first.run():
        if event.step == 3:
            break
    first.save(folder / checkpoint_name(3))
    second.load(folder / checkpoint_name(3))
    list(second.run())
    return [whole.objective.state_dict(), second.objective.state_dict()]


def reasons(folder: Path) -> list[str]:
    """What every worker raises when the last one is stopped, and when the first one's disk is full."""
    rank, world = dist.get_rank(), dist.get_world_size()
    said: list[str] = []
    try:
        with all_or_none():
            if rank == world - 1:
                raise InvalidInput("the last one cannot go on")
    except ScotError as error:
        said.append(f"{type(error).__name__}: {error}")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = Trainer(synthetic_triplets(images=100, dim=16), CONFIG)
    run.save(folder / "step-0000000")
    torch.save = full
    try:
        run.save(folder / "step-0000001")
    except ScotError as error:
        said.append(f"{type(error).__name__}: {error}")
    return said


DROPOUT = dataclasses.replace(CONFIG, dropout=0.2)


def everything(folder: Path) -> dict[str, Any]:
    """All that is asked of a group, in one: starting its processes takes longer."""
    return {"steps": steps(CONFIG), "runs": whole_and_resumed(DROPOUT, folder), "reasons": reasons(folder)}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """What each of three workers found, and where they wrote."""
    folder = tmp_path_factory.mktemp("three")
    return folder, run_workers(3, folder / "group", everything, folder)


def assert_as_alone(found: list[dict[str, Any]]) -> None:
    """Float32 sums in another order: 1e-5 of a loss near 5, 1e-5 of gradients up to 1."""
    for one, shared in zip(steps(CONFIG), found, strict=True):
        torch.testing.assert_close(shared["loss"], one["loss"], rtol=1e-5, atol=1e-5)
        assert shared["gradients"].keys() == one["gradients"].keys()
        for name, gradient in one["gradients"].items():
            torch.testing.assert_close(shared["gradients"][name], gradient, rtol=1e-3, atol=1e-5)


def test_three_workers_with_a_third_of_the_batch_are_one_with_all_of_it(
    three: tuple[Path, list[dict[str, Any]]],
) -> None:
    for worker in three[1]:
        assert_as_alone(worker["steps"])


def test_two_workers_with_half_of_the_batch_are_one_with_all_of_it(tmp_path: Path) -> None:
    for found in run_workers(2, tmp_path / "group", steps, CONFIG):
        assert_as_alone(found)


def test_a_resumed_run_of_three_workers_is_bit_equal(three: tuple[Path, list[dict[str, Any]]]) -> None:
    undisturbed = three[1][0]["runs"][0]
    for weights in [run for worker in three[1] for run in worker["runs"]]:
        assert weights.keys() == undisturbed.keys()
        for name, value in undisturbed.items():
            assert torch.equal(weights[name], value)


def test_what_stops_one_worker_stops_all(three: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, (first, other, last) = three
    full = f"the checkpoint {folder}/step-0000001 cannot be written: No space left on device"
    assert first["reasons"] == ["WorkerFailed: the last one cannot go on", f"Unavailable: {full}"]
    assert other["reasons"] == ["WorkerFailed: the last one cannot go on", f"WorkerFailed: {full}"]
    assert last["reasons"] == ["InvalidInput: the last one cannot go on", f"WorkerFailed: {full}"]
    load_checkpoint(folder / "step-0000000")


def test_alone_nothing_is_wrapped() -> None:
    with pytest.raises(Unavailable, match="own"), all_or_none():
        raise Unavailable("own")
    assert issubclass(WorkerFailed, ScotError)
