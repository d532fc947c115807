"""The held-out part: whole groups of captions, of which nothing is trained on; what is in between is counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch

from scot.embeddings.cache import TripletEmbeddings
from scot.embeddings.pairs import CachedPair, ImagePair
from scot.errors import InvalidInput
from scot.training.split import Split, split
from tests.support.synthetic_triplets import synthetic_triplets

Triplet = tuple[str, str, str, str]
"""Image, edit, caption, edited caption."""


def embeddings(triplets: Sequence[Triplet]) -> TripletEmbeddings:
    """These triplets; their vectors do not matter."""
    images = list(dict.fromkeys(image for image, *_ in triplets))
    texts = list(dict.fromkeys(text for _, *three in triplets for text in three))
    image_N, edit_N, caption_N, edited_N = torch.tensor(
        [(images.index(image), *map(texts.index, three)) for image, *three in triplets]
    ).T.contiguous()
    return dataclasses.replace(
        synthetic_triplets(images=2),
        image_ids=images, texts=texts, triplet_ids=[str(n) for n in range(len(triplets))],
        image_UD=torch.zeros(len(images), 32), text_VD=torch.zeros(len(texts), 32),
        image_N=image_N, edit_N=edit_N, caption_N=caption_N, edited_N=edited_N,
    )  # fmt: skip


def generated(captions: int = 2000, edits: int = 2) -> list[Triplet]:
    """As an engine writes them: two images have each caption; every edit and edited caption is of one caption."""
    return [
        (f"image {image}", f"edit {caption} {edit}", f"caption {caption}", f"edited {caption} {edit}")
        for caption in range(captions)
        for image in (2 * caption, 2 * caption + 1)
        for edit in range(edits)
    ]


def mined(captions: int = 3000, step: int = 7) -> list[Triplet]:
    """As pairs are: the edited caption is another image's caption, both ways."""
    pairs = [(n, n + step) for n in range(captions - step)]
    return [
        (f"image {a}", f"from {a} to {b}", f"caption {a}", f"caption {b}")
        for n, m in pairs
        for a, b in ((n, m), (m, n))
    ]


def texts_of(data: TripletEmbeddings, rows_N: torch.Tensor, *roles: str) -> set[int]:
    return {int(text) for role in roles for text in getattr(data, f"{role}_N")[rows_N]}


def assert_apart(data: TripletEmbeddings, parts: Split) -> None:
    training, measured = parts.training_N, parts.measured_M
    assert not texts_of(data, training, "caption", "edited") & texts_of(data, measured, "caption", "edited")
    assert not texts_of(data, training, "image") & texts_of(data, measured, "image")
    assert not texts_of(data, training, "edit") & texts_of(data, measured, "edit") or parts.repeats_edits


def test_equal_captions_of_two_images_are_on_one_side() -> None:
    data = embeddings(generated())
    parts = split(data, 0.05)
    assert_apart(data, parts)
    assert len(parts.training_N) + len(parts.measured_M) == len(data)
    assert 0.03 < len(parts.measured_M) / len(data) < 0.07
    assert (
        parts.summary
        == f"held out: {parts.captions} captions, {len(parts.measured_M)} of their triplets are measured; "
        "0 held-out pairs of images are fewer than 50: the recall of edits decides"
    )
    assert not parts.repeats_edits


def test_a_mined_target_is_not_trained_on_in_any_role() -> None:
    data = embeddings(mined())
    parts = split(data, 0.05)
    assert_apart(data, parts)
    assert parts.dropped > len(parts.measured_M)
    assert len(parts.training_N) + len(parts.measured_M) + parts.dropped == len(data)
    assert f"{parts.dropped:,} other triplets with their texts or images are left out" in parts.summary


def test_an_image_with_two_captions_is_trained_on_or_measured_never_both() -> None:
    data = embeddings([(f"image {n // 2}", f"edit {n}", f"caption {n}", f"edited {n}") for n in range(4000)])
    parts = split(data, 0.05)
    assert_apart(data, parts)
    assert parts.dropped > 50


def test_an_edit_that_is_trained_on_is_not_measured_where_enough_are_left() -> None:
    triplets = generated()
    triplets[::2] = [(image, "make it blue", caption, edited) for image, _, caption, edited in triplets[::2]]
    data = embeddings(triplets)
    parts = split(data, 0.05)
    assert_apart(data, parts)
    assert parts.unmeasured == len(parts.measured_M)
    assert f"{parts.unmeasured} are not, because their edits are trained on" in parts.summary


def test_where_all_edits_repeat_it_says_so() -> None:
    data = synthetic_triplets()
    parts = split(data, 0.2)
    assert_apart(data, parts)
    assert parts.repeats_edits
    assert "their edits are also trained on, with other captions" in parts.summary


def with_pairs(data: TripletEmbeddings, step: int) -> TripletEmbeddings:
    """Every caption asks for the image of another; the edits are those of the triplets or of the pairs alone."""
    texts = list(data.texts)
    pairs = []
    for n in range(len(data.image_ids) - step):
        names = (f"from {n} to {n + step}", f"caption {n}", f"caption {n + step}")
        texts += [name for name in names if name not in texts]
        pair = ImagePair(f"image {n}", *names, (f"image {n + step}",))
        edit, caption, edited = map(texts.index, names)
        pairs.append(CachedPair(pair, n, edit, caption, edited, (n + step,)))
    return dataclasses.replace(data, texts=texts, text_VD=torch.zeros(len(texts), 32), pairs=tuple(pairs))


def test_nothing_of_a_held_out_pair_is_trained_on() -> None:
    triplets = [(f"image {n}", f"edit {n % 9}", f"caption {n}", f"edited {n}") for n in range(1500)]
    data = with_pairs(embeddings(triplets), 7)
    parts = split(data, 0.05)
    assert_apart(data, parts)
    assert 50 <= len(parts.pairs) <= 100
    trained = texts_of(data, parts.training_N, "caption", "edited", "edit")
    images = set(data.image_N[parts.training_N].tolist())
    for pair in parts.pairs:
        assert not trained & {pair.edit, pair.caption, pair.edited}
        assert not images & {pair.image, *pair.targets}
    assert f"; {len(parts.pairs)} held-out pairs of images are measured, and decide" in parts.summary
    assert len(split(dataclasses.replace(data, pairs=()), 0.05).training_N) > len(parts.training_N)


def test_few_held_out_pairs_decide_nothing() -> None:
    triplets = [(f"image {n}", f"edit {n % 9}", f"caption {n}", f"edited {n}") for n in range(400)]
    parts = split(with_pairs(embeddings(triplets), 7), 0.05)
    assert parts.pairs == ()
    assert 0 < parts.found_pairs < 50
    assert (
        f"{parts.found_pairs} held-out pairs of images are fewer than 50: the recall of edits decides" in parts.summary
    )


def test_dense_pairs_hold_out_fewer_captions() -> None:
    dense = [triplet for step in range(1, 13) for triplet in mined(600, step)]
    data = embeddings(dense)
    parts = split(data, 0.2)
    assert_apart(data, parts)
    assert 0 < parts.dropped <= 0.2 * len(data)
    assert 0 < parts.captions < 60


def test_more_data_keeps_the_held_out_captions() -> None:
    less, more = (embeddings(generated(captions)) for captions in (1000, 2000))
    held = [{data.texts[row] for row in data.caption_N[split(data, 0.05).measured_M].tolist()} for data in (less, more)]
    assert held[0] < held[1]


def test_one_caption_is_held_out_of_few() -> None:
    parts = split(embeddings(generated(3)), 0.001)
    assert parts.captions == 1
    assert len(parts.measured_M) == 4


def test_equal_captions_alone_cannot_be_split() -> None:
    same = [(f"image {n}", f"edit {n}", "caption", f"edited {n}") for n in range(50)]
    with pytest.raises(InvalidInput, match=r"50 triplets of 1 captions are too few to hold out a share of 0\.05"):
        split(embeddings(same), 0.05)
