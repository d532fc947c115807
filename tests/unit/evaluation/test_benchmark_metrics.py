"""What a ranking is worth and how a gallery is ranked: cases worked by hand, and the definitions by brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scot.evaluation.scoring import average_precision, estimate, recall_at
from scot.evaluation.topk import similarity, top_k

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


EYE = torch.eye(4)


def rank(query_D: list[float], gallery: torch.Tensor, target: int, excluded: list[int] | None = None) -> int:
    """The 1-based rank of one row."""
    rows_QK, _ = top_k(torch.tensor([query_D]), [gallery], len(gallery), [excluded or []])
    return rows_QK[0].tolist().index(target) + 1


def test_rank_counts_what_scores_higher() -> None:
    query_D = [0.9, 0.4, 0.1, 0.0]
    assert rank(query_D, EYE, 0) == 1
    assert rank(query_D, EYE, 2) == 3
    assert rank(query_D, EYE, 2, [0]) == 2
    assert rank(query_D, EYE, 1, [0]) == 1


def test_a_share_has_an_interval() -> None:
    assert estimate([1, 1, 0, 0]).value == 0.5
    assert estimate([1, 1, 1, 0]).value == 0.75
    many = estimate([1, 0] * 500)
    assert many.low < 0.5 < many.high
    assert many.high - many.low < 0.1
    assert estimate([1, 1]).low == 1.0
    assert estimate([]).value == 0.0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_several_vectors_an_image_are_scored_by_their_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gallery_NVD = rng.normal(size=(12, 5, 8)).astype(np.float32)
    query_QD = rng.normal(size=(4, 8)).astype(np.float32)
    by_hand = [[max(float(vector @ query) for vector in image) for image in gallery_NVD] for query in query_QD]
    scores_QN = similarity(torch.from_numpy(query_QD), torch.from_numpy(gallery_NVD))
    np.testing.assert_allclose(scores_QN.numpy(), by_hand, atol=1e-4)


def test_ranks_over_several_vectors_an_image() -> None:
    gallery_NVD = torch.stack([EYE[[0, 1]], EYE[[2, 2]], EYE[[3, 3]]])
    query_D = [0.1, 0.9, 0.5, 0.2]
    assert rank(query_D, gallery_NVD, 0) == 1  # by its second vector
    assert rank(query_D, gallery_NVD, 1) == 2
    assert rank(query_D, gallery_NVD, 1, [0]) == 1
    one = gallery_NVD[:, :1]
    assert rank(query_D, one, 0) == rank(query_D, one[:, 0], 0) == 3
