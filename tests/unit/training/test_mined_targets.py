"""What a run looks up once: sibling edits, and the picture retrieved for an edited caption."""

from __future__ import annotations

import pytest
import torch

from scot.embeddings.cache import CacheInfo, TripletEmbeddings
from scot.errors import InvalidInput
from scot.training.objectives import LossConfig, MinedTargets, mined_targets
from tests.support.synthetic_triplets import synthetic_triplets

CPU = torch.device("cpu")


def triplets(
    image_N: list[int], edited_N: list[int], images: list[list[float]], texts: list[list[float]]
) -> TripletEmbeddings:
    rows = len(image_N)
    return TripletEmbeddings(
        info=CacheInfo("e", 2, "s", {}, {}, "h"),
        image_ids=[f"i{n}" for n in range(len(images))],
        triplet_ids=[f"t{n}" for n in range(rows)],
        image_UD=torch.tensor(images).half(),
        text_VD=torch.tensor(texts).half(),
        image_N=torch.tensor(image_N),
        edit_N=torch.zeros(rows, dtype=torch.int64),
        caption_N=torch.zeros(rows, dtype=torch.int64),
        edited_N=torch.tensor(edited_N),
    )


def test_siblings_are_the_next_edits_of_the_same_picture() -> None:
    data = triplets([0, 1, 0, 0, 1], [5, 6, 7, 5, 8], [[1.0, 0.0]] * 2, [[1.0, 0.0]] * 9)
    everything = torch.arange(5)
    # Picture 0 has T_u 5, 7 and 5 again, in a ring; picture 1 has 6 and 8. The own T_u is no sibling.
    expected = [[7, -1], [8, -1], [5, 5], [-1, 7], [6, -1]]
    assert mined_targets.siblings(data, everything, 2).tolist() == expected
    assert mined_targets.siblings(data, everything, 1).tolist() == [row[:1] for row in expected]
    # The last triplet is held out: it is nobody's sibling and has none.
    assert mined_targets.siblings(data, everything[:4], 2).tolist() == [[7, -1], [-1, -1], [5, 5], [-1, 7], [-1, -1]]


def test_the_retrieved_picture_is_the_nearest_but_the_reference() -> None:
    data = triplets([0, 2, 1], [0, 0, 1], [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]])
    # T_u of the first two is picture 0, which is the first one's own reference; of the third picture 2.
    assert mined_targets.retrieved(data, torch.arange(3), CPU).tolist() == [1, 0, 2]
    # A picture of held-out triplets is not in the pool.
    assert mined_targets.retrieved(data, torch.tensor([0, 2]), CPU).tolist() == [1, -1, 0]


def test_looking_up_in_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = synthetic_triplets(images=60)
    training_N = torch.arange(8, len(data))
    whole = mined_targets.retrieved(data, training_N, CPU)
    monkeypatch.setattr(mined_targets, "_TEXTS", 7)
    monkeypatch.setattr(mined_targets, "_IMAGES", 9)
    assert torch.equal(mined_targets.retrieved(data, training_N, CPU), whole)
    scores_NU = data.edited_ND @ torch.nn.functional.normalize(data.image_UD.float(), dim=-1).T
    scores_NU[torch.arange(len(data)), data.image_N] = -1.0
    scores_NU[:, data.image_N[:8].unique()] = -1.0
    assert torch.equal(whole[training_N], scores_NU.argmax(1)[training_N])


def test_nothing_is_looked_up_that_no_term_asks_for() -> None:
    data = synthetic_triplets(images=20)
    assert MinedTargets.mine(data, torch.arange(len(data)), LossConfig(), CPU) == MinedTargets(None, None)
    found = MinedTargets.mine(data, torch.arange(len(data)), LossConfig(sibling_negatives=1, retrieved_weight=0.5), CPU)
    assert found.sibling_NK is not None
    assert found.sibling_NK.shape == (len(data), 1)
    assert found.retrieved_N is not None


def test_one_picture_has_no_second_target() -> None:
    data = triplets([0, 0], [0, 1], [[1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(InvalidInput, match="at least two training images"):
        mined_targets.retrieved(data, torch.arange(2), CPU)
