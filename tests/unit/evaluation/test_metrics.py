"""Recall, on cases worked by hand and against its definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scot.evaluation.metrics import max_similarity, ranks, recall, similarity, subset_ranks

EYE = np.eye(4, dtype=np.float32)


def test_rank_counts_what_scores_higher() -> None:
    query = np.array([[0.9, 0.4, 0.1, 0.0]], np.float32)
    assert ranks(query, EYE, [[0]], [[]]).tolist() == [1]
    assert ranks(query, EYE, [[2]], [[]]).tolist() == [3]
    assert ranks(query, EYE, [[2]], [[0]]).tolist() == [2]
    assert ranks(query, EYE, [[2, 1]], [[0]]).tolist() == [1]


def test_a_tie_goes_against_the_query() -> None:
    query = np.array([[0.5, 0.5, 0.5, 0.1]], np.float32)
    assert ranks(query, EYE, [[0]], [[]]).tolist() == [3]
    assert subset_ranks(query, EYE, [[0]], [[0, 1, 3]]).tolist() == [2]


def test_subset_ranks_only_among_the_subset() -> None:
    query = np.array([[0.9, 0.8, 0.4, 0.0]], np.float32)
    assert subset_ranks(query, EYE, [[2]], [[2, 3]]).tolist() == [1]
    assert subset_ranks(query, EYE, [[2]], [[0, 1, 2]]).tolist() == [3]


def test_recall_is_a_share_with_an_interval() -> None:
    found = np.array([1, 1, 3, 20])
    assert recall(found, 1).value == 0.5
    assert recall(found, 3).value == 0.75
    many = recall(np.array([1, 2] * 500), 1)
    assert many.low < 0.5 < many.high
    assert many.high - many.low < 0.1
    assert recall(np.array([1, 1]), 1).low == 1.0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_ranks_agree_with_sorting(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gallery = rng.normal(size=(30, 8)).astype(np.float32)
    queries = rng.normal(size=(5, 8)).astype(np.float32)
    references = [[int(rng.integers(30))] for _ in range(5)]
    targets = [[int(t) for t in rng.choice([i for i in range(30) if i != r[0]], 2, replace=False)] for r in references]
    for row, rank in enumerate(ranks(queries, gallery, targets, references)):
        order = [i for i in np.argsort(-(gallery @ queries[row])) if i not in references[row]]
        assert rank == 1 + min(order.index(t) for t in targets[row])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31))
def test_several_vectors_a_picture_are_scored_by_their_best(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gallery_NVD = rng.normal(size=(12, 5, 8)).astype(np.float32)
    query_QD = rng.normal(size=(4, 8)).astype(np.float32)
    by_hand = [[max(float(vector @ query) for vector in picture) for picture in gallery_NVD] for query in query_QD]
    np.testing.assert_allclose(max_similarity(query_QD, gallery_NVD), by_hand, atol=1e-4)
    np.testing.assert_array_equal(similarity(query_QD, gallery_NVD), max_similarity(query_QD, gallery_NVD))


def test_ranks_over_several_vectors_a_picture() -> None:
    gallery_NVD = np.stack([EYE[[0, 1]], EYE[[2, 2]], EYE[[3, 3]]])
    query = np.array([[0.1, 0.9, 0.5, 0.2]], np.float32)
    assert ranks(query, gallery_NVD, [[0]], [[]]).tolist() == [1]  # by its second vector
    assert ranks(query, gallery_NVD, [[1]], [[]]).tolist() == [2]
    assert ranks(query, gallery_NVD, [[1]], [[0]]).tolist() == [1]
    assert subset_ranks(query, gallery_NVD, [[2]], [[1, 2]]).tolist() == [2]
    one = gallery_NVD[:, :1]
    assert ranks(query, one, [[0]], [[]]).tolist() == ranks(query, one[:, 0], [[0]], [[]]).tolist() == [3]
