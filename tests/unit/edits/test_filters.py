"""Filters on text: each refuses what it is there for, and nothing that is nearly so."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scot.edits.filters import REASONS, TextFilters, in_language, words
from scot.edits.prompt import Prompt
from scot.edits.record import EditRecord
from scot.errors import InvalidInput
from scot.worlds import WORLDS, load_world

FILTERS = TextFilters()
CAPTION = "a red cat on the left of a big green tree"
EDITED = "a blue cat on the left of a big green tree"


def record(edited: str = EDITED, *, edit: str = "make it blue", kept: str = "cat, tree") -> EditRecord:
    return EditRecord("direct addressing", edit, edited, kept)


GOOD = record()
# Reason, a record that is refused for it, and a near miss.
CASES = [
    (
        "identical_caption",
        record("A red cat, on the left of a BIG green tree!"),
        record("a red cat on the left of a tree"),
    ),
    ("gives_all_away", record(edit=EDITED), record(edit="a blue cat beside a green tree")),
    ("gives_all_away", record(edit="a tree, big and green, left of it a blue cat"), record(edit="the big green tree")),
    ("gives_all_away", record("a cat", edit="A cat."), record("a cat", edit="a cat without a tree")),
    ("repeats_caption", record(edit=f"{CAPTION}, blue"), record(edit="the cat on the left should be blue")),
    ("names_aspect", record(edit="Direct addressing"), record(edit="address it")),
    ("kept_is_new", record(kept="dog, fence"), record(kept="cat, fence")),
    ("kept_is_lost", record("a blue cat in the hall", kept="big tree"), record("a blue cat", kept="cat, tree")),
    ("unrelated_caption", record("two kayaks tied to a pier", kept=""), record("a cat in the kitchen", kept="")),
    ("unsafe", record(edit="make it naked"), record(edit="make it a snake")),
    ("unsafe", record("a Nude cat on the left of a big green tree"), record("a cat in a nudge of a big green tree")),
    ("unsafe", record(edit="a half-naked one"), record(edit="a half-asleep one")),
    ("unsafe", record(edit="the nazi's cat"), record(edit="the nation's cat")),
    (
        "other_language",
        record("eine blaue Katze links neben einem großen grünen Baum", kept=""),
        record("a blue Katze on the left of a big green Baum", kept=""),
    ),
]
CAPTIONS = [
    ("not_text", "12:30 - 4!", "cat 12!"),
    ("not_text", "?!?", "a?"),
    ("other_language", "eine rote Katze sitzt links auf dem Sofa", "a red cat sits on the left of the sofa"),
    ("other_language", "红色的猫", "red cat"),
]


@pytest.mark.parametrize(("reason", "bad", "near_miss"), CASES)
def test_a_record_is_refused_for_its_reason_and_a_near_miss_is_not(
    reason: str, bad: EditRecord, near_miss: EditRecord
) -> None:
    assert FILTERS.accept(CAPTION, [bad]) == ((), Counter({reason: 1}))
    assert FILTERS.accept(CAPTION, [near_miss]) == ((near_miss,), Counter())


@pytest.mark.parametrize(("reason", "bad", "near_miss"), CAPTIONS)
def test_a_caption_is_refused_for_its_reason_and_a_near_miss_is_not(reason: str, bad: str, near_miss: str) -> None:
    assert FILTERS.reason_to_refuse_caption(bad) == reason
    assert FILTERS.reason_to_refuse_caption(near_miss) is None


def test_only_the_first_of_equal_captions_is_taken() -> None:
    again, other = record(EDITED.upper() + ".", edit="paint it blue"), record("a blue cat by a big green tree")
    assert FILTERS.accept(CAPTION, [GOOD, again, other]) == ((GOOD, other), Counter(duplicate=1))


def test_what_was_refused_does_not_make_another_a_duplicate() -> None:
    assert FILTERS.accept(CAPTION, [record(kept="dog"), GOOD]) == ((GOOD,), Counter(kept_is_new=1))


def test_every_reason_has_a_case() -> None:
    assert {reason for reason, *_ in [*CASES, *CAPTIONS]} | {"duplicate"} == set(REASONS)


@pytest.mark.parametrize(
    ("caption", "edit", "edited"),
    [("a small red cat", "small and blue", "a small blue cat"), ("a cat", "a dog instead", "a dog")],
)
def test_short_captions_need_no_share_of_words(caption: str, edit: str, edited: str) -> None:
    short = record(edited, edit=edit, kept="")
    assert FILTERS.accept(caption, [short]) == ((short,), Counter())


@pytest.mark.parametrize(
    ("off", "bad"),
    [
        (TextFilters(most_given_away=0.0), record(edit=EDITED)),
        (TextFilters(least_kept=0.0), record(kept="dog, fence")),
        (TextFilters(least_shared=0.0), record("two kayaks tied to a pier", kept="")),
        (TextFilters(least_language=0.0), record("eine blaue Katze neben einem roten cat", kept="")),
        (TextFilters(language=""), record("eine blaue Katze neben einem roten cat", kept="")),
        (TextFilters(blocklist=()), record(edit="make it naked")),
    ],
)
def test_a_filter_can_be_turned_off(off: TextFilters, bad: EditRecord) -> None:
    assert FILTERS.accept(CAPTION, [bad])[0] == ()
    assert off.accept(CAPTION, [bad])[0] == (bad,)


@pytest.mark.parametrize("name", ["most_given_away", "least_kept", "least_shared", "least_language"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_a_share_outside_of_0_to_1_is_told(name: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=f"{name} must be between 0 and 1, not {value}"):
        TextFilters(**{name: value})


@pytest.mark.parametrize("language", ["english", "EN", "xx"])
def test_an_unknown_language_is_told(language: str) -> None:
    with pytest.raises(InvalidInput, match=f"language must be an ISO 639-1 code such as en, not '{language}'"):
        in_language(CAPTION, language, 0.1)


@pytest.mark.parametrize(
    "caption",
    [
        "ein roter Pullover mit langen Ärmeln",
        "zwei Hunde spielen im Schnee",
        "eine Frau in einem blauen Kleid steht am Strand",
        "ein Bus in der Stadt",
        "une robe rouge à manches longues",
        "deux chiens jouent dans la neige",
        "un chat noir sur un canapé",
        "une tasse de café sur la table",
        "un vestido rojo de manga larga",
        "dos perros juegan en la nieve",
        "un gato negro en el sofá",
        "un perro en la playa",
        "一只红色的猫坐在沙发上",
        "两只狗在雪地里玩耍",
        "一辆公共汽车",
    ],
)
def test_captions_of_other_languages_are_refused(caption: str) -> None:
    assert FILTERS.reason_to_refuse_caption(caption) == "other_language"


@pytest.mark.parametrize(
    "caption",
    [
        "cat",
        "a café table",
        "jalapeño peppers",
        "the cat’s bed",
        "a plate of spaghetti bolognese with parmesan",
        "a gondola in Venice at dusk",
        "is darker and has longer sleeves",
        "a man’s naïve painting of a burrito",
    ],
)
def test_english_captions_with_borrowed_words_are_not(caption: str) -> None:
    assert FILTERS.reason_to_refuse_caption(caption) is None


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_drawn_captions_are_not(name: str) -> None:
    world, rng = load_world(name), random.Random(0)
    captions = [world.caption(world.sample(rng), rng) for _ in range(200)]
    assert [caption for caption in captions if FILTERS.reason_to_refuse_caption(caption)] == []


def test_words_are_compared_without_case_and_punctuation() -> None:
    assert words("The CAT’s t-shirt, and_a „Straße“!") == ["the", "cat’s", "t-shirt", "and", "a", "strasse"]


_WORDS = st.lists(
    st.sampled_from([*CAPTION.split(), "blue", "nude", "Katze", "猫", "!", "12", "’"])
    | st.text(min_size=1, max_size=8),
    min_size=1,
    max_size=12,
).map(" ".join)
_TEXTS = _WORDS.filter(lambda text: 1 <= len(text.split()) <= 20)
_RECORDS = st.builds(EditRecord, st.sampled_from(Prompt.load().aspects), _TEXTS, _TEXTS, _WORDS | st.just(""))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.just(CAPTION) | st.text() | _WORDS, st.lists(_RECORDS, max_size=4))
def test_every_record_is_accepted_or_counted(caption: str, records: list[EditRecord]) -> None:
    assert FILTERS.reason_to_refuse_caption(caption) in {None, "not_text", "other_language"}
    accepted, refused = FILTERS.accept(caption, records)
    assert len(accepted) + refused.total() == len(records)
    assert set(refused) <= set(REASONS)
    given = iter(records)
    assert all(record in given for record in accepted)  # in the order given
    assert FILTERS.accept(caption, accepted) == (accepted, Counter())
