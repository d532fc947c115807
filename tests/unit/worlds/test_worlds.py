"""The drawn worlds: seeded, exact, and split so that nothing evaluated was ever trained on."""

from __future__ import annotations

import random

import numpy as np
import pytest

from scot.errors import InvalidInput
from scot.worlds import WORLDS, World, key_of, load_world, split_of
from scot.worlds.base import PICTURE_SIZE
from scot.worlds.gallery import SUBSET, catalogue, evaluation_gallery


@pytest.fixture(params=sorted(WORLDS))
def world(request: pytest.FixtureRequest) -> World:
    return load_world(request.param)


def test_a_sample_is_a_valid_combination(world: World) -> None:
    rng = random.Random(0)
    for _ in range(300):
        attributes = world.sample(rng)
        assert set(attributes) == set(world.values)
        assert all(attributes[name] in values for name, values in world.values.items())
        assert world.valid(attributes)


def test_every_change_is_valid_and_changes_what_it_names(world: World) -> None:
    rng = random.Random(1)
    for _ in range(40):
        before = world.sample(rng)
        for name, value in world.changes(before):
            after = world.changed(before, name, value)
            assert world.valid(after)
            assert after[name] != before[name]
            differing = {key for key in before if before[key] != after[key]}
            assert differing <= ({name, "companion_colour"} if name == "companion" else {name})


def test_pictures_are_seeded_and_show_what_differs(world: World) -> None:
    attributes = world.sample(random.Random(2))
    picture = world.draw(attributes, random.Random(5))
    assert picture.size == (PICTURE_SIZE, PICTURE_SIZE)
    assert picture.mode == "RGB"
    assert picture.tobytes() == world.draw(attributes, random.Random(5)).tobytes()
    for name, value in world.changes(attributes):
        other = world.draw(world.changed(attributes, name, value), random.Random(5))
        differing = (np.abs(np.asarray(other, int) - np.asarray(picture, int)).sum(-1) > 60).sum()
        assert differing > 20, f"{name}={value} cannot be seen"


def test_captions_vary_and_mention_what_is_special(world: World) -> None:
    rng = random.Random(3)
    attributes = world.sample(rng)
    assert len({world.caption(attributes, rng) for _ in range(60)}) > 20
    for _ in range(100):
        attributes = world.sample(rng)
        caption = world.caption(attributes, rng)
        assert len(caption.split()) <= 30
        if world.name == "scenes":
            assert (attributes["companion"] == "none") == (
                not any(f"{word} a" in caption for word in ("next to", "beside", "with", "and"))
            )


def test_an_unmentioned_detail_is_an_absent_one() -> None:
    world, rng = load_world("wardrobe"), random.Random(4)
    bare = {
        "kind": "shirt",
        "colour": "red",
        "pattern": "plain",
        "sleeve": "long",
        "length": "medium",
        "collar": "round",
    }
    for _ in range(50):
        caption = world.caption({**bare, "detail": "none"}, rng)
        assert not any(word in caption for word in ("pocket", "belt", "button", "heart"))
        assert "belt" in world.caption({**bare, "detail": "belt"}, rng)


def test_splits_do_not_share_a_combination(world: World) -> None:
    train = {key_of(drawing.attributes) for drawing in catalogue(world, 400, split="train", seed=0)}
    gallery = evaluation_gallery(world, size=300, queries=100, seed=0)
    held_out = {key_of(drawing.attributes) for drawing in gallery.items}
    assert len(train) == 400
    assert len(held_out) == 300
    assert not train & held_out
    assert all(split_of(drawing.attributes) == "eval" for drawing in gallery.items)


def test_queries_have_exactly_the_right_answers(world: World) -> None:
    gallery = evaluation_gallery(world, size=240, queries=100, seed=1)
    attributes = {drawing.item_id: drawing.attributes for drawing in gallery.items}
    assert len(gallery.queries) == 100
    for query in gallery.queries:
        (target,) = query.targets
        assert query.reference_id not in query.targets
        same = {item for item, of in attributes.items() if key_of(of) == key_of(attributes[target])}
        assert same == query.targets
        differing = [k for k, v in attributes[target].items() if v != attributes[query.reference_id][k]]
        assert 1 <= len(differing) <= 4
        assert len(query.subset) == len(set(query.subset)) == SUBSET
        assert query.subset[0] == query.reference_id
        assert target in query.subset
        assert query.edit
        assert query.edited_caption


def test_equal_seeds_make_equal_galleries(world: World) -> None:
    one, other = (evaluation_gallery(world, size=60, queries=20, seed=7) for _ in range(2))
    assert one == other
    assert one != evaluation_gallery(world, size=60, queries=20, seed=8)


def test_an_unknown_world_is_named() -> None:
    with pytest.raises(InvalidInput, match="wardrobe, scenes, not 'garage'"):
        load_world("garage")
