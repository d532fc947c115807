from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.nn.functional import normalize

from scot.errors import InvalidInput
from scot.training.objectives import (
    ContrastiveLoss,
    LossConfig,
    TargetQueue,
    TripletBatch,
    direction_loss,
    info_nce,
    noised,
    preservation_loss,
    sigmoid_loss,
)
from scot.training.objectives.config import TERMS
from tests.support.forked import run_workers

X, Y = [1.0, 0.0], [0.0, 1.0]
ONE = torch.tensor(1.0)


def batch(
    edited: list[list[float]],
    caption: list[list[float]] | None = None,
    *,
    edited_ids: list[int] | None = None,
    caption_ids: list[int] | None = None,
) -> TripletBatch:
    """Two-dimensional rows; the edit is (1, 0) everywhere and so is the image."""
    rows = len(edited)
    same = torch.tensor([X] * rows)
    return TripletBatch(
        image_BD=same,
        edit_BD=same,
        caption_BD=torch.tensor(caption or [X] * rows),
        edited_BD=torch.tensor(edited),
        edit_B=torch.full((rows,), 100),
        caption_B=torch.tensor(caption_ids or [200 + n for n in range(rows)]),
        edited_B=torch.tensor(edited_ids or list(range(rows))),
    )


def loss_of(query: list[list[float]], data: TripletBatch, **settings: Any) -> float:
    plain = {"caption_negatives": False, "logit_scale": 1.0, **settings}
    return float(ContrastiveLoss(LossConfig(**plain))(torch.tensor(query), data)[0].detach())


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
    own = info_nce(query, data.edited_BD, torch.tensor([0, 1]), ONE, own_BKD=data.image_BD[:, None])
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
    loss(torch.tensor([X, Y]), batch([X, Y]))[0].backward()
    assert loss.log_scale.grad is not None
    with torch.no_grad():
        loss.log_scale.fill_(10.0)
    assert float(loss.scale().detach()) == pytest.approx(100.0)
    assert not ContrastiveLoss(LossConfig(learn_scale=False)).log_scale.requires_grad


def test_hard_negatives_have_more_weight_by_hand() -> None:
    # Logits: the positive 1; the negatives 0 and 0.6. With β = 1 their weights are 2/(1 + e^.6) and 2 e^.6/(1 + e^.6).
    query, candidates, first = torch.tensor([X]), torch.tensor([X, Y, [0.6, 0.8]]), torch.tensor([0])
    hard = math.exp(0.6)
    weighted = (2 * 1 + 2 * hard * hard) / (1 + hard)
    loss = info_nce(query, candidates, first, ONE, hardness=1.0)
    assert float(loss) == pytest.approx(-math.log(math.e / (math.e + weighted)))
    assert float(loss) > float(info_nce(query, candidates, first, ONE))


def test_what_is_masked_weighs_nothing_among_hard_negatives() -> None:
    query, first = torch.tensor([X]), torch.tensor([0])
    mask = torch.tensor([[True, False, False, True]])  # the positive stays, as without weights
    with_it = info_nce(query, torch.tensor([X, Y, [0.6, 0.8], X]), first, ONE, masked_BM=mask, hardness=0.5)
    without = info_nce(query, torch.tensor([X, Y, [0.6, 0.8]]), first, ONE, hardness=0.5)
    assert float(with_it) == pytest.approx(float(without))


def test_no_hardness_and_a_single_negative_are_plain_info_nce() -> None:
    query, candidates, rows = torch.tensor([X, Y]), torch.tensor([X, [0.6, 0.8]]), torch.tensor([0, 1])
    plain = float(info_nce(query, candidates, rows, ONE))
    assert float(info_nce(query, candidates, rows, ONE, hardness=0.7)) == pytest.approx(plain)
    none = torch.zeros(2, 2, dtype=torch.bool)
    assert float(info_nce(query, candidates, rows, ONE, masked_BM=none, hardness=0.0)) == pytest.approx(plain)


def test_a_row_without_negatives_has_no_loss_and_a_gradient_of_zero() -> None:
    query = torch.tensor([X], requires_grad=True)
    loss = info_nce(query, torch.tensor([X]), torch.tensor([0]), ONE, hardness=0.5)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert query.grad is not None
    assert query.grad.tolist() == [[0.0, 0.0]]


def test_sibling_edits_are_negatives_of_their_own_row() -> None:
    data = batch([X, Y])
    data.sibling_BKD = torch.tensor([[X, Y], [X, X]])
    data.sibling_BK = torch.tensor([[50, -1], [51, 52]])  # the first row has one sibling only
    first = math.log((math.e + 1 + math.e) / math.e)  # T_u 1 and 0, sibling 1
    second = math.log((math.e + 1 + 2) / math.e)  # T_u 1 and 0, siblings 0 and 0
    assert loss_of([X, Y], data) == pytest.approx((first + second) / 2)


def test_the_sigmoid_loss_by_hand() -> None:
    logits, bias = torch.tensor([[2.0, -1.0, 3.0]]), torch.tensor(-1.0)
    right, absent = torch.tensor([[True, False, True]]), torch.zeros(1, 3, dtype=torch.bool)
    # z (logit + bias): 1, 2 and 2.
    terms = [math.log(1 + math.exp(-value)) for value in (1, 2, 2)]
    assert float(sigmoid_loss(logits, right, absent, bias)) == pytest.approx(sum(terms))
    absent[0, 2] = True
    assert float(sigmoid_loss(logits, right, absent, bias)) == pytest.approx(sum(terms[:2]))


def test_every_candidate_with_the_text_of_the_target_is_a_positive_of_the_sigmoid_loss() -> None:
    only = {"contrastive_weight": 0.0, "sigmoid_weight": 1.0, "sigmoid_bias": 0.0}
    apart = loss_of([X, X], batch([X, X], edited_ids=[7, 8]), **only)
    assert apart == pytest.approx(math.log(1 + math.exp(-1)) + math.log(1 + math.e))
    alike = loss_of([X, X], batch([X, X], edited_ids=[7, 7]), **only)
    assert alike == pytest.approx(2 * math.log(1 + math.exp(-1)))


def test_the_second_target_is_the_retrieved_picture() -> None:
    data = batch([X, Y])
    data.retrieved_BD, data.retrieved_B = torch.tensor([Y, X]), torch.tensor([3, 4])
    only = {"contrastive_weight": 0.0, "retrieved_weight": 1.0}
    assert loss_of([Y, X], data, **only) == pytest.approx(math.log(1 + math.exp(-1)))
    # Its own reference (1, 0) is one more negative: of logit 0 for the first row, of logit 1 for the second.
    first, second = math.log((math.e + 1 + 1) / math.e), math.log((math.e + 1 + math.e) / math.e)
    assert loss_of([Y, X], data, image_negatives=True, **only) == pytest.approx((first + second) / 2)
    data.retrieved_B = torch.tensor([3, 3])  # one picture for both: no negative
    assert loss_of([Y, X], data, **only) == pytest.approx(0.0)
    both = loss_of([Y, X], data, contrastive_weight=0.5, retrieved_weight=0.5)
    assert both == pytest.approx(0.5 * loss_of([Y, X], data))


def test_preservation_by_hand() -> None:
    # Two rows; pictures and edited captions have the mean (.5, .5, 0), and both edits go along the first axis.
    rows = torch.eye(3)[:2]
    caption = rows - torch.tensor([1.0, 0.0, 0.0])
    # What is left of the pictures is (0, −.5, 0) and (0, .5, 0). Along the edit the query may go where it likes.
    kept = torch.tensor([[0.3, 0.0, 0.0], [9.0, 1.0, 0.0]])
    assert float(preservation_loss(kept, rows, caption, rows)) == pytest.approx(0.0, abs=1e-6)
    swapped = torch.tensor([[0.3, 1.0, 0.0], [9.0, 0.0, 0.0]])
    assert float(preservation_loss(swapped, rows, caption, rows)) == pytest.approx(2.0)
    beside = torch.tensor([[0.3, 0.5, 1.0], [9.0, 0.5, 1.0]])
    assert float(preservation_loss(beside, rows, caption, rows)) == pytest.approx(1.0)


def test_an_identity_edit_ties_the_whole_query_to_the_reference() -> None:
    rows = torch.eye(3)[:2]
    assert float(preservation_loss(rows, rows, rows, rows)) == pytest.approx(0.0, abs=1e-6)
    assert float(preservation_loss(rows.flip(0), rows, rows, rows)) == pytest.approx(2.0)


# Images at (±1, 0, 0), so of mean 0; edited captions of mean (0, 0, 1); both edits go along the second axis.
MOVING = TripletBatch(
    image_BD=torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]),
    edit_BD=torch.eye(3)[:2],
    caption_BD=torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]),
    edited_BD=torch.tensor([[0.0, 1.0, 1.0], [0.0, -1.0, 1.0]]),
    edit_B=torch.tensor([0, 1]),
    caption_B=torch.tensor([2, 2]),
    edited_B=torch.tensor([3, 4]),
)
# The moved images are (1, 1, 1) and (−1, −1, 1); half way to the edited captions: (.5, 1, 1) and (−.5, −1, 1).
MOVED = [[0.5, 1.0, 1.0], [-0.5, -1.0, 1.0]]


def test_the_analogy_by_hand() -> None:
    def analogy(query: list[list[float]], **settings: Any) -> float:
        """Beside a contrastive term of no weight worth naming."""
        tiny = {"contrastive_weight": 1e-9, "analogy_weight": 1.0, **settings}
        return loss_of(query, MOVING, **tiny)

    assert analogy(MOVED) == pytest.approx(0.0, abs=1e-6)
    assert analogy([MOVED[0], [-x for x in MOVED[1]]]) == pytest.approx(1.0)
    assert analogy([[2.0, -1.0, 0.0], [-2.0, 1.0, 0.0]]) == pytest.approx(1.0)
    assert analogy([[1.0, 1.0, 1.0], [-1.0, -1.0, 1.0]], moved_share=1.0) == pytest.approx(0.0, abs=1e-6)
    assert analogy([[0.0, 1.0, 1.0], [0.0, -1.0, 1.0]], moved_share=0.0) == pytest.approx(0.0, abs=1e-6)


def test_the_moved_image_is_found_among_those_of_the_batch_and_those_not_moved() -> None:
    query = normalize(torch.tensor(MOVED), dim=-1)
    only = {"contrastive_weight": 0.0, "moved_weight": 1.0}
    other = float(query[0] @ query[1])
    assert loss_of(query.tolist(), MOVING, **only) == pytest.approx(math.log(1 + math.exp(other - 1)))
    # Not moved, and half way to the own caption: (±.5, 0, 1).
    still = normalize(torch.tensor([[0.5, 0.0, 1.0], [-0.5, 0.0, 1.0]]), dim=-1)
    negatives = math.exp(other) + sum(math.exp(float(query[0] @ each)) for each in still)
    expected = math.log((math.e + negatives) / math.e)
    assert loss_of(query.tolist(), MOVING, caption_negatives=True, **only) == pytest.approx(expected)


def test_earlier_targets_are_negatives_as_long_as_the_queue_is() -> None:
    queue = TargetQueue(2)
    data = batch([X])
    queue.attach(data)
    assert loss_of([X], data) == pytest.approx(0.0)
    for step, (target, text) in enumerate([(Y, 70), (X, 0), (Y, 71)]):
        queue.push(batch([target], edited_ids=[text]), step)
        queue.attach(data)
        # Y of step 0, then with X of the row's own text, which is no negative; then step 2's Y in step 0's place.
        assert loss_of([X], data) == pytest.approx(math.log(1 + math.exp(-1)))
    queue.push(batch([Y], edited_ids=[72]), 3)
    queue.attach(data)
    assert loss_of([X], data) == pytest.approx(math.log(1 + 2 * math.exp(-1)))


def test_noise_is_the_equation_and_depends_on_the_seed_alone() -> None:
    data, _ = random_batch()
    assert noised(data, LossConfig(), seed=1) is data
    with_noise = noised(data, LossConfig(target_noise=0.5), seed=1)
    generator = torch.Generator().manual_seed(1)
    amount_B1 = torch.rand((8, 1), generator=generator)
    noise_BD = torch.randn((8, 6), generator=generator)
    torch.testing.assert_close(with_noise.edited_BD, normalize(data.edited_BD + 0.5 * amount_B1 * noise_BD, dim=-1))
    assert with_noise.edit_BD is data.edit_BD
    edits = noised(data, LossConfig(edit_noise=0.5), seed=2)
    assert not torch.equal(edits.edit_BD, noised(data, LossConfig(edit_noise=0.5), seed=3).edit_BD)
    assert torch.equal(edits.edit_BD, noised(data, LossConfig(edit_noise=0.5), seed=2).edit_BD)
    assert edits.edited_BD is data.edited_BD


def test_the_terms_are_told_without_their_weights() -> None:
    data, query_BD = random_batch()
    weights = {f"{name}_weight": 0.1 * place for place, name in enumerate(TERMS, 1)}
    total, terms = ContrastiveLoss(LossConfig(**weights))(query_BD, data)  # type: ignore[arg-type]
    assert tuple(terms) == TERMS
    assert float(total.detach()) == pytest.approx(
        sum(0.1 * place * float(terms[name]) for place, name in enumerate(TERMS, 1))
    )
    alone, _ = ContrastiveLoss(LossConfig())(query_BD, data)
    assert float(alone.detach()) == pytest.approx(float(terms["contrastive"]))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"logit_scale": 0.0}, "logit_scale must be above 0"),
        ({"logit_scale": 101.0}, "at most 100, not 101"),
        *(({f"{name}_weight": -1.0}, f"{name}_weight must be a number and not negative, but is -1") for name in TERMS),
        ({"direction_weight": math.nan}, "direction_weight must be a number"),
        ({"hardness": -0.5}, "hardness must be"),
        ({"queue": -1}, "queue must be"),
        ({"contrastive_weight": 0.0, "direction_weight": 1.0}, "the other terms alone have no negatives"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, float], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        LossConfig(**settings)  # type: ignore[arg-type]


def test_an_unknown_term_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="no term or setting triplet_weight; known: contrastive_weight, sigmoid"):
        LossConfig.from_dict({"triplet_weight": 1.0})
    assert LossConfig.from_dict({"direction_weight": 0.5}).weights() == {"contrastive": 1.0, "direction": 0.5}


EVERY = {
    "default": LossConfig(),
    "negatives": LossConfig(edit_negatives=True, image_negatives=True, sibling_negatives=2),
    "hardness": LossConfig(image_negatives=True, sibling_negatives=2, hardness=0.5),
    "sigmoid": LossConfig(contrastive_weight=0.0, sigmoid_weight=1.0, sibling_negatives=2),
    "retrieved": LossConfig(contrastive_weight=0.5, retrieved_weight=0.5, image_negatives=True),
    "direction": LossConfig(direction_weight=0.5),
    "preservation": LossConfig(preservation_weight=0.5),
    "analogy": LossConfig(analogy_weight=2.0),
    "queue": LossConfig(queue=2),
    "noise": LossConfig(edit_noise=0.2, target_noise=0.3),
}


def random_batch(seed: int = 0) -> tuple[TripletBatch, torch.Tensor]:
    """Eight rows with everything that a term may ask for, and the composer's inputs."""
    generator = torch.Generator().manual_seed(seed)
    rows = [normalize(torch.randn(8, 6, generator=generator), dim=-1) for _ in range(5)]
    ids = [torch.randint(0, 5, (8,), generator=generator) for _ in range(3)]
    data = TripletBatch(*rows[:4], *ids)
    data.sibling_BKD = normalize(torch.randn(8, 2, 6, generator=generator), dim=-1)
    data.sibling_BK = torch.randint(-1, 5, (8, 2), generator=generator)
    data.retrieved_BD = normalize(torch.randn(8, 6, generator=generator), dim=-1)
    data.retrieved_B = torch.randint(0, 6, (8,), generator=generator)
    return data, rows[4]


def half_of(data: TripletBatch, half: slice) -> TripletBatch:
    parts = {name: getattr(data, name) for name in TripletBatch.__slots__}
    return TripletBatch(**{name: None if rows is None else rows[half] for name, rows in parts.items()})


def values_of(config: LossConfig, half: slice) -> torch.Tensor:
    """Loss, terms and gradients of a linear query of image and edit, on some of the rows of three steps' batches."""
    loss, queue = ContrastiveLoss(config), TargetQueue(config.queue or 1)
    weights = torch.eye(6, requires_grad=True)
    batches = [noised(half_of(random_batch(step)[0], half), config, seed=step) for step in range(3)]
    for step in range(2):
        queue.push(batches[step], step)
    if config.queue:
        queue.attach(batches[2])
    query_BD = normalize((batches[2].edit_BD + random_batch(2)[1][half]) @ weights, dim=-1)
    total, terms = loss(query_BD, batches[2])
    total.backward()
    gradients = [parameter.grad for parameter in (weights, *loss.parameters())]
    return torch.cat(
        [total.detach()[None], torch.stack(list(terms.values())), *(g.flatten() for g in gradients if g is not None)]
    )


def values_of_each() -> dict[str, torch.Tensor]:
    """The mean over two workers, each with half of the rows."""
    results = {}
    for name, config in EVERY.items():
        results[name] = values_of(config, slice(4 * dist.get_rank(), 4 * dist.get_rank() + 4))
        dist.all_reduce(results[name])
    return {name: values / 2 for name, values in results.items()}


@pytest.fixture(scope="module")
def of_two_workers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    results: dict[str, torch.Tensor] = run_workers(2, tmp_path_factory.mktemp("workers") / "group", values_of_each)[0]
    return results


@pytest.mark.parametrize("name", EVERY)
def test_two_workers_of_half_a_batch_are_one_worker_of_the_whole(
    name: str, of_two_workers: dict[str, torch.Tensor]
) -> None:
    torch.testing.assert_close(of_two_workers[name], values_of(EVERY[name], slice(None)))
    if name != "default":
        assert not torch.allclose(of_two_workers[name][0], of_two_workers["default"][0])
