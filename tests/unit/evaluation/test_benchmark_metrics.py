"""What a ranking is worth and how a gallery is ranked: cases worked by hand, and the definitions by brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scot.evaluation.scoring import average_precision, recall_at
from scot.evaluation.topk import top_k

NAMES = st.permutations(list("abcdefgh"))
RIGHT = st.sets(st.sampled_from("abcdefghxyz"), min_size=1)


def test_recall_by_hand() -> None:
    assert recall_at(["a", "b", "c"], ("c",), 2) == 0.0
    assert recall_at(["a", "b", "c"], ("c",), 3) == 1.0
    assert recall_at(["a", "b", "c"], ("z", "a"), 1) == 1.0


@pytest.mark.parametrize(
    ("ranking", "targets", "k", "expected"),
    [
        ("abcde", "a", 5, 1.0),
        ("abcde", "c", 5, 1 / 3),
        ("abcde", "ac", 5, (1 / 1 + 2 / 3) / 2),
        ("abcde", "ac", 2, (1 / 1) / 2),
        ("abcde", "acexyz", 5, (1 / 1 + 2 / 3 + 3 / 5) / 5),
        ("abcde", "acexyz", 10, (1 / 1 + 2 / 3 + 3 / 5) / 6),
        ("abcde", "xyz", 5, 0.0),
    ],
)
def test_average_precision_by_hand(ranking: str, targets: str, k: int, expected: float) -> None:
    assert average_precision(list(ranking), tuple(targets), k) == pytest.approx(expected, abs=1e-15)


@given(NAMES, RIGHT, st.integers(1, 12))
def test_average_precision_is_its_definition(ranking: list[str], targets: set[str], k: int) -> None:
    relevant = [name in targets for name in ranking]
    precision = [sum(relevant[:n]) / n for n in range(1, len(ranking) + 1)]
    total = sum(p for p, hit in list(zip(precision, relevant, strict=True))[:k] if hit)
    assert average_precision(ranking, targets, k) == pytest.approx(total / min(len(targets), k), abs=1e-12)


@given(NAMES, RIGHT, st.integers(1, 12))
def test_recall_is_its_definition(ranking: list[str], targets: set[str], k: int) -> None:
    assert recall_at(ranking, targets, k) == float(len(set(ranking[:k]) & targets) > 0)


def brute(scores_N: np.ndarray, k: int, excluded: list[int]) -> list[int]:
    """Sort by score, then by row; the excluded last."""
    rows = sorted(range(len(scores_N)), key=lambda row: (row in excluded, -scores_N[row], row))
    return rows[:k]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 40), st.integers(1, 9))
def test_blocks_rank_as_one_sorted_list_does(seed: int, k: int, size: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    # Small integers, so that scores are exact and ties are everywhere.
    query_QD = rng.integers(-1, 2, (4, 3)).astype(np.float32)
    gallery_ND = rng.integers(-1, 2, (size, 3)).astype(np.float32)
    excluded = [rng.choice(size, rng.integers(0, min(3, size)), replace=False).tolist() for _ in range(4)]
    blocks = torch.from_numpy(gallery_ND).split(block)
    rows_QK, scores_QK = top_k(torch.from_numpy(query_QD), blocks, k, excluded)
    for query in range(4):
        scores_N = gallery_ND @ query_QD[query]
        shown = min(k, size - len(excluded[query]))
        assert rows_QK[query, :shown].tolist() == brute(scores_N, k, excluded[query])[:shown]
        assert scores_QK[query, :shown].tolist() == [float(scores_N[row]) for row in rows_QK[query, :shown].tolist()]
        assert scores_QK[query, shown:].tolist() == [-np.inf] * (min(k, size) - shown)


def test_equal_scores_keep_the_order_of_the_gallery_whatever_the_blocks() -> None:
    query_QD, gallery_ND = torch.ones(1, 2), torch.ones(1_000, 2)
    for block in (1, 7, 64, 1_000):
        rows_QK, _ = top_k(query_QD, gallery_ND.split(block), 50)
        assert rows_QK[0].tolist() == list(range(50))
