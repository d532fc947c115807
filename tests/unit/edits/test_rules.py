"""The rules engine: edits that say what they do, from the caption alone."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scot.edits.prompt import Prompt
from scot.edits.record import MAX_CAPTION_WORDS, MAX_EDIT_WORDS, EditRecord, record_schema
from scot.edits.rules import RulesEngine
from scot.edits.rules.change import Dice
from scot.edits.rules.lexicon import SPLIT, WORDS
from scot.edits.rules.reading import Reading, agreeing, spliced, with_features
from scot.errors import InvalidInput
from scot.worlds import WORLDS, load_world

ASPECTS = Prompt.load("edits-1").aspects

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


def every_edit(caption: str) -> set[tuple[str, str]]:
    """What the engine says of a caption, and what it gets, over many seeds."""
    made = (edit for seed in range(600) for edit in SINGLE.edits(caption, count=4, seed=seed).edits)
    return {(edit.edit, edit.edited_caption) for edit in made}


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
        ("four orange stars on the left", "make it one", "an orange star on the left"),
        ("a photo of an umbrella in the snow", "three of them", "a photo of three parasols in the snow"),
        ("a thigh-length red shirt", "not thigh-length", "a red shirt"),
        ("a cropped orange shirt", "medium length", "an orange shirt"),
        ("a red shirt, cropped", "medium length", "a red shirt"),
        ("a midi orange dress", "as a sweater", "an orange sweater"),
        ("a red shirt", "turn it into a frock", "a red midi frock"),
        (", a red cat , on the left .", "make it blue", "a blue cat, on the left."),
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


def test_what_it_writes_is_what_this_version_wrote_everywhere() -> None:
    """On every machine and in every process; an engine that writes otherwise is another version."""
    made = RulesEngine().edits("two small red birds on the left next to a blue tree", count=3, seed=19)
    assert RulesEngine.prompt_version == "rules-2"
    assert [(edit.edit, edit.edited_caption) for edit in made.edits] == [
        ("put them in the centre", "two small red birds in the centre next to a blue tree"),
        ("a flower instead of the tree", "two small red birds on the left next to a blue flower"),
        (
            "make the birds brown, and replace the tree with an umbrella",
            "two small brown birds on the left next to a blue umbrella",
        ),
    ]


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


@pytest.mark.parametrize(
    ("caption", "never"),
    [
        ("two birds on the left of an hourglass", r"a hourglass"),
        ("a unicorn next to a green tree", r"an unicorn"),
        ("a picture of cats", r"(two|three|four|of) picture"),
        ("a few birds at night", r"(two|three|four|of) few"),
        ("a red dress", r"shirt|sweater|jacket|coat"),
        ("a man in front of the tree", r"(two|three|four|of) man"),
        ("a red shirt with a cat and a belt", r"with \w+( \w+)?a cat"),
        ("a red dress with a belt, in the city", r"in the city(,| and)"),
        ("the blue door (a cat is inside)", r"\(a [aeiou]"),
    ],
)
def test_words_beside_the_change_stay_whole(caption: str, never: str) -> None:
    edits = every_edit(caption)
    assert edits
    assert not [edited for _, edited in edits if re.search(never, edited)]


def test_a_caption_of_everything_it_knows_has_no_other_thing() -> None:
    caption = "cat bird fish car boat house tree flower balloon umbrella mushroom star, one red cat"
    assert all("instead of the" not in edit for edit, _ in every_edit(caption))


def test_a_lone_surrogate_is_a_letter_like_any_other() -> None:
    assert RulesEngine().edits("a red shirt \ud800", count=1, seed=0).edits


def test_a_caption_is_read_once_and_whole() -> None:
    reading = Reading("Two small red birds on the left")
    assert [(word.text, word.group) for word in reading.words] == [
        ("two", "count"),
        ("small", "size"),
        ("red", "colour"),
        ("birds", "thing"),
        ("on the left", "place"),
    ]
    assert [reading.text[reading.start(at) : reading.stop(at)] for at in range(5)] == [
        word.text for word in reading.words
    ]


@given(st.lists(st.sampled_from([*WORDS, "a", "with", "and", ",", "-", "x"]), max_size=12), st.sampled_from(["", " "]))
def test_it_finds_the_longest_known_words(words: list[str], between: str) -> None:
    text = between.join(words)
    longest_first = "|".join(re.escape(word) for word in sorted(WORDS, key=len, reverse=True))
    assert SPLIT(text) == re.split(rf"(?<![\w-])({longest_first})(?![\w-])", text)


@pytest.mark.parametrize(
    ("before", "following", "agreed"),
    [
        ("a ", "orange cat", "an "),
        ("here is an ", "red cat", "here is a "),
        ("panda ", "orange", "panda "),
        ("vis-a ", "orange", "vis-a "),
        ("(a ", "orange", "(an "),
        ("a ", "9", "a "),
        ("", "orange", ""),
    ],
)
def test_an_article_agrees_with_what_follows(before: str, following: str, agreed: str) -> None:
    assert agreeing(before, following) == agreed


@pytest.mark.parametrize(
    ("text", "gone", "left"),
    [
        ("a red orange cat", "red", "an orange cat"),
        ("red, a cat", "red", "a cat"),
        ("a cat, red, here", "red", "a cat, here"),
        ("a cat red.", "red", "a cat."),
        ("a cat red", "red", "a cat"),
        ("red", "red", ""),
    ],
)
def test_a_word_taken_out_leaves_no_hole(text: str, gone: str, left: str) -> None:
    start = text.index(gone)
    assert spliced(text, start, start + len(gone), "") == left


def test_features_are_listed() -> None:
    assert [with_features(list(parts)) for parts in ("", "a", "ab", "abc")] == [
        "",
        " with a",
        " with a and b",
        " with a, b and c",
    ]


def test_dice_are_fair() -> None:
    dice = Dice("a red cat", 3)
    falls = Counter(dice.one_of("abcdefg") for _ in range(70_000))
    assert set(falls) == set("abcdefg")
    assert all(abs(count - 10_000) < 500 for count in falls.values())
    assert abs(sum(dice.chance(0.3) for _ in range(10_000)) - 3_000) < 250


def test_first_throws_of_neighbouring_seeds_are_independent() -> None:
    pairs = Counter((Dice("a cat", seed).one_of("ab"), Dice("a cat", seed + 1).one_of("ab")) for seed in range(4_000))
    assert all(abs(count - 1_000) < 150 for count in pairs.values())
    assert len(pairs) == 4


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (("", "make it red", "a red cat", ""), "aspect must not be empty"),
        (("addition", "", "a red cat", ""), "edit must have 1 to 20 words, not 0"),
        (("addition", "word " * 21, "a red cat", ""), "edit must have 1 to 20 words, not 21"),
        (("addition", "make it red", "word " * 31, ""), "edited_caption must have 1 to 30 words, not 31"),
    ],
)
def test_a_record_that_breaks_the_rules_is_refused(fields: tuple[str, str, str, str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        EditRecord(*fields)


def test_the_schema_names_the_record() -> None:
    assert set(record_schema(["addition"])["required"]) == set(EditRecord("addition", "more", "two", "").answer())
