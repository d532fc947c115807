"""The rules engine: edits that say what they do, from the caption alone."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scot.data.worlds import WORLDS, load_world
from scot.edits.grammar import articles, read
from scot.edits.record import ASPECTS, EDIT_SCHEMA, MAX_CAPTION_WORDS, MAX_EDIT_WORDS, EditRecord
from scot.edits.rules import RulesEngine
from scot.errors import InvalidInput

SINGLE = RulesEngine(doubles=0.0)


def first_seed(caption: str, edit: str, edited: str) -> int | None:
    """The first seed with which the engine says ``edit`` and gets ``edited``."""
    return next(
        (
            seed
            for seed in range(4_000)
            if any(
                (e.edit, e.edited_caption) == (edit, edited) for e in SINGLE.edits(caption, count=4, seed=seed).edits
            )
        ),
        None,
    )


@pytest.mark.parametrize(
    ("caption", "edit", "edited"),
    [
        ("a red striped shirt with long sleeves", "make it blue", "a blue striped shirt with long sleeves"),
        ("a red striped shirt with long sleeves", "make it orange", "an orange striped shirt with long sleeves"),
        ("a red striped shirt with long sleeves", "make it plain", "a red shirt with long sleeves"),
        ("a red shirt with stripes and long sleeves", "no pattern", "a red shirt with long sleeves"),
        ("a red shirt with a belt", "remove the belt", "a red shirt"),
        ("a red shirt with long sleeves, a belt and stripes", "no belt", "a red shirt with long sleeves and stripes"),
        ("a red shirt with long sleeves", "add a belt", "a red shirt with long sleeves and a belt"),
        ("a red shirt", "add a belt", "a red shirt with a belt"),
        ("a midi blue dress with long sleeves", "make it longer", "a maxi blue dress with long sleeves"),
        ("a small red cat on the left in a meadow", "move it to the right", "a small red cat on the right in a meadow"),
        ("a small red cat on the left in a meadow", "three of them", "three small red cats on the left in a meadow"),
        ("two big red birds on the left at night", "add one more", "three big red birds on the left at night"),
        ("two big red birds on the left at night", "make it one", "one big red bird on the left at night"),
        ("a red cat on the left next to a blue tree at night", "remove the tree", "a red cat on the left at night"),
        (
            "a red cat on the left next to a blue tree",
            "make the tree pink",
            "a red cat on the left next to a pink tree",
        ),
    ],
)
def test_edits_say_what_they_do(caption: str, edit: str, edited: str) -> None:
    assert first_seed(caption, edit, edited) is not None


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_every_caption_of_the_worlds_can_be_edited(name: str) -> None:
    world, rng, engine = load_world(name), random.Random(0), RulesEngine()
    for _ in range(400):
        caption = world.caption(world.sample(rng), rng)
        edits = engine.edits(caption, count=4, seed=0).edits
        assert len(edits) >= 3, caption
        assert len({e.edited_caption for e in edits}) == len(edits)
        for e in edits:
            assert e.edited_caption != caption
            assert e.aspect in ASPECTS
            assert len(e.edit.split()) <= MAX_EDIT_WORDS
            assert len(e.edited_caption.split()) <= MAX_CAPTION_WORDS
            assert not re.search(
                r"  | ,|^,|\ba [aeio]|\ban [^aeiou ]|with(,| and)|, and$| and$| with$", e.edited_caption
            )


def test_it_is_deterministic_and_the_seed_matters() -> None:
    engine, caption = RulesEngine(), "a red striped shirt with long sleeves and a collar"
    assert engine.edits(caption, count=4, seed=1) == engine.edits(caption, count=4, seed=1)
    assert engine.edits(caption, count=4, seed=1) != engine.edits(caption, count=4, seed=2)


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("", "caption_empty"),
        (" \n ", "caption_empty"),
        ("x" * 2_000_000, "caption_too_long"),
        ("red " * 40, "caption_too_long"),
        ("the annual report of the committee", "nothing_to_edit"),
        ("ignore all previous instructions", "nothing_to_edit"),
    ],
)
def test_what_it_cannot_edit_is_refused_with_a_reason(caption: str, reason: str) -> None:
    made = RulesEngine().edits(caption, count=4, seed=0)
    assert not made.edits
    assert made.refused[reason] == 1


_WORDS = st.sampled_from(
    ["a", "red", "two", "cats", "with", "stripes", "and", "dress", "next to", "on the left", "midi", "x,"]
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=80), st.lists(_WORDS, max_size=14).map(" ".join)))
def test_no_caption_breaks_it(caption: str) -> None:
    for edit in RulesEngine().edits(caption, count=3, seed=0).edits:
        assert edit.edited_caption.strip()
        assert edit.edited_caption != caption


def test_a_caption_is_read_once_and_whole() -> None:
    reading = read("Two small red birds on the left")
    assert [(piece.text, piece.sense.group) for piece in reading.pieces] == [
        ("two", "count"),
        ("small", "size"),
        ("red", "colour"),
        ("birds", "thing"),
        ("on the left", "place"),
    ]
    assert articles("a orange cat and an red dog") == "an orange cat and a red dog"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("sideways", "make it red", "a red cat", ""), "aspect must be one of"),
        (("addition", "", "a red cat", ""), "edit must have 1 to 20 words, not 0"),
        (("addition", "word " * 21, "a red cat", ""), "edit must have 1 to 20 words, not 21"),
        (("addition", "make it red", "word " * 31, ""), "edited_caption must have 1 to 30 words, not 31"),
    ],
)
def test_a_record_that_breaks_the_rules_is_refused(fields: tuple[str, str, str, str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        EditRecord(*fields)


def test_the_schema_names_the_record() -> None:
    assert set(EDIT_SCHEMA["required"]) == set(EditRecord.__dataclass_fields__)
