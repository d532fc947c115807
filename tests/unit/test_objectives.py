from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.functional import normalize

from scot.errors import InvalidInput
from scot.training.losses import Batch, ContrastiveLoss, LossConfig, direction_loss, info_nce

X, Y = [1.0, 0.0], [0.0, 1.0]
ONE = torch.tensor(1.0)


def batch(
    edited: list[list[float]],
    caption: list[list[float]] | None = None,
    *,
    edited_ids: list[int] | None = None,
    caption_ids: list[int] | None = None,
) -> Batch:
    """Two-dimensional rows; the edit is (1, 0) everywhere and so is the image."""
    rows = len(edited)
    same = torch.tensor([X] * rows)
    return Batch(
        image_BD=same,
        edit_BD=same,
        caption_BD=torch.tensor(caption or [X] * rows),
        edited_BD=torch.tensor(edited),
        edit_B=torch.full((rows,), 100),
        caption_B=torch.tensor(caption_ids or [200 + n for n in range(rows)]),
        edited_B=torch.tensor(edited_ids or list(range(rows))),
    )


def loss_of(query: list[list[float]], data: Batch, **settings: Any) -> float:
    plain = {"caption_negatives": False, "logit_scale": 1.0, **settings}
    return float(ContrastiveLoss(LossConfig(**plain))(torch.tensor(query), data).detach())


def test_info_nce_by_hand() -> None:
    # Row 0: logits (1, 0), positive 0. Row 1: logits (0, 1), positive 1.
    candidates = torch.tensor([X, Y])
    loss = info_nce(torch.tensor([X, Y]), candidates, torch.tensor([0, 1]), ONE)
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-1)))
    loss = info_nce(torch.tensor([X, Y]), candidates, torch.tensor([0, 1]), torch.tensor(3.0))
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-3)))


def test_in_batch_negatives() -> None:
    assert loss_of([X, Y], batch([X, Y])) == pytest.approx(math.log(1 + math.exp(-1)))


def test_the_captions_of_the_batch_are_negatives() -> None:
    # Row 0 (1, 0): T_u logits (1, 0), T_o logits (0, 1). Row 1 (0, 1): T_u logits (0, 1), T_o logits (1, 0).
    loss = loss_of([X, Y], batch([X, Y], [Y, X]), caption_negatives=True)
    assert loss == pytest.approx(math.log((2 * math.e + 2) / math.e))


def test_the_edits_and_the_own_image_are_negatives() -> None:
    # One row, V_c = T_u = (0, 1); edit and image are (1, 0): one more logit of 0 each.
    assert loss_of([Y], batch([Y])) == pytest.approx(0.0)
    assert loss_of([Y], batch([Y]), edit_negatives=True) == pytest.approx(math.log(1 + math.exp(-1)))
    assert loss_of([Y], batch([Y]), image_negatives=True) == pytest.approx(math.log(1 + math.exp(-1)))
    both = loss_of([Y], batch([Y]), image_negatives=True, edit_negatives=True)
    assert both == pytest.approx(math.log(1 + 2 * math.exp(-1)))


def test_the_own_image_is_seen_by_no_other_row() -> None:
    query, data = torch.tensor([X, Y]), batch([X, Y])
    own = info_nce(query, data.edited_BD, torch.tensor([0, 1]), ONE, own_BD=data.image_BD)
    first = math.log((2 * math.e + 1) / math.e)  # logits 1, 0 and its own image 1
    second = math.log((math.e + 2) / math.e)  # logits 0, 1 and its own image 0
    assert float(own) == pytest.approx((first + second) / 2)


def test_a_row_with_the_same_target_text_is_not_a_negative() -> None:
    assert loss_of([X, X], batch([X, X], edited_ids=[7, 7])) == pytest.approx(0.0)
    assert loss_of([X, X], batch([X, X], edited_ids=[7, 8])) == pytest.approx(math.log(2))


def test_a_caption_that_is_the_target_is_not_a_negative() -> None:
    one = batch([X, Y], [Y, X], edited_ids=[0, 1], caption_ids=[1, 0])
    # Row 0 leaves out the second caption (its own target), row 1 the first; one caption of logit 0 remains for each.
    loss = loss_of([X, Y], one, caption_negatives=True)
    assert loss == pytest.approx(math.log((math.e + 2) / math.e))


def test_the_direction_loss_by_hand() -> None:
    origin = torch.zeros(1, 2)
    along, across = torch.tensor([X]), torch.tensor([Y])
    assert float(direction_loss(along, origin, origin, along)) == pytest.approx(0.0)
    assert float(direction_loss(along, origin, origin, across)) == pytest.approx(1.0)
    assert float(direction_loss(along, origin, origin, -along)) == pytest.approx(2.0)
    assert float(direction_loss(along, origin, across, across)) == 0.0  # the edit changes nothing


def test_the_direction_loss_is_added_with_its_weight() -> None:
    data = batch([Y], [X])
    plain = loss_of([[0.6, 0.8]], data)
    direction = float(direction_loss(torch.tensor([[0.6, 0.8]]), data.image_BD, data.caption_BD, data.edited_BD))
    assert loss_of([[0.6, 0.8]], data, direction_weight=0.5) == pytest.approx(plain + 0.5 * direction)


def test_the_scale_is_learned_and_bounded() -> None:
    loss = ContrastiveLoss(LossConfig(logit_scale=20.0))
    assert float(loss.scale().detach()) == pytest.approx(20.0)
    loss(torch.tensor([X, Y]), batch([X, Y])).backward()
    assert loss.log_scale.grad is not None
    with torch.no_grad():
        loss.log_scale.fill_(10.0)
    assert float(loss.scale().detach()) == pytest.approx(100.0)
    assert not ContrastiveLoss(LossConfig(learn_scale=False)).log_scale.requires_grad


@pytest.mark.parametrize("settings", [{"logit_scale": 0.0}, {"logit_scale": 101.0}, {"direction_weight": -1.0}])
def test_settings_that_cannot_be_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        LossConfig(**settings)  # type: ignore[arg-type]


ALL = LossConfig(edit_negatives=True, image_negatives=True, direction_weight=0.5)


def random_batch() -> tuple[Batch, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows = [normalize(torch.randn(8, 6, generator=generator), dim=-1) for _ in range(5)]
    ids = [torch.randint(0, 5, (8,), generator=generator) for _ in range(3)]
    return Batch(*rows[:4], *ids), rows[4]


def gradients(data: Batch, inputs_BD: torch.Tensor) -> tuple[float, torch.Tensor, torch.Tensor]:
    """The loss of a linear query, with the gradients of its weights and of the temperature."""
    loss = ContrastiveLoss(ALL)
    weights = torch.eye(6, requires_grad=True)
    value = loss(normalize(inputs_BD @ weights, dim=-1), data)
    value.backward()
    assert weights.grad is not None
    assert loss.log_scale.grad is not None
    return float(value.detach()), weights.grad, loss.log_scale.grad


def worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    data, inputs_BD = random_batch()
    half = slice(4 * rank, 4 * rank + 4)
    parts = {name: getattr(data, name)[half] for name in Batch.__slots__}
    value, weights, scale = gradients(Batch(**parts), inputs_BD[half])
    result = torch.cat([torch.tensor([value]), weights.flatten(), scale[None]])
    dist.all_reduce(result)
    if rank == 0:
        torch.save(result / 2, f"{folder}/result.pt")
    dist.destroy_process_group()


def test_two_workers_of_half_a_batch_are_one_worker_of_the_whole(tmp_path: Path) -> None:
    mp.spawn(worker, args=(str(tmp_path),), nprocs=2)
    value, weights, scale = gradients(*random_batch())
    expected = torch.cat([torch.tensor([value]), weights.flatten(), scale[None]])
    torch.testing.assert_close(torch.load(tmp_path / "result.pt", weights_only=True), expected)
