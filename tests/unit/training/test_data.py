from __future__ import annotations

import numpy as np
import pytest

from scot.training.data import Prefetcher, permuted, samples


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 17, 64, 65, 1000, 65_537])
def test_an_epoch_has_every_row_once(size: int) -> None:
    for epoch in range(2):
        assert sorted(samples(epoch * size, size, size, seed=3)) == list(range(size))


def test_any_stretch_can_be_asked_for_first() -> None:
    whole = samples(0, 400, 150, seed=1)
    parts = np.concatenate([samples(start, 50, 150, seed=1) for start in range(0, 400, 50)])
    assert whole.tolist() == parts.tolist()
    assert samples(137, 20, 150, seed=1).tolist() == whole[137:157].tolist()


def test_orders_differ_by_epoch_and_by_seed() -> None:
    epochs = [samples(0, 1000, 1000, 0), samples(1000, 1000, 1000, 0), samples(0, 1000, 1000, 1)]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.mean(epochs[one] == epochs[other]) < 0.01


def test_a_seed_may_be_negative() -> None:
    assert sorted(samples(0, 10, 10, seed=-1)) == list(range(10))


def test_the_order_is_without_pattern() -> None:
    """Correlations of 10,000 rows with their place and their neighbour stay within four standard errors."""
    order = samples(0, 10_000, 10_000, seed=0)
    place = np.arange(len(order))
    for one, other in ((place, order), (order[:-1], order[1:]), (order[:-7], order[7:])):
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 / len(order) ** 0.5


def test_every_row_comes_first_equally_often() -> None:
    first = [int(permuted(np.zeros(1, np.int64), 8, (0, epoch))[0]) for epoch in range(4000)]
    counts = np.bincount(first, minlength=8)
    assert ((counts - 500) ** 2 / 500).sum() < 24.3  # chi squared with 7 degrees of freedom, p = 0.001


def test_a_prefetcher_gives_every_step_in_order_and_what_was_raised() -> None:
    def gather(step: int) -> int:
        if step == 6:
            raise ValueError("step 6")
        return step * step

    batches = Prefetcher(gather, range(3, 10), ahead=2)
    assert [batches.next() for _ in range(3)] == [9, 16, 25]
    with pytest.raises(ValueError, match="step 6"):
        batches.next()
    batches.close()
    assert batches.waited > 0.0


def test_a_prefetcher_gathers_at_most_its_limit_ahead() -> None:
    gathered: list[int] = []
    batches = Prefetcher(gathered.append, range(100), ahead=3)
    batches.next()
    batches.close()
    assert gathered == list(range(len(gathered)))
    assert len(gathered) <= 4
