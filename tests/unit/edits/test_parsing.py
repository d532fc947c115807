"""Parsing of answers: whole records, or a reason; never an exception, whatever a model wrote."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from scot.edits import parsing
from scot.edits.parsing import MAX_ANSWER_CHARS, Parsed
from scot.edits.prompt import Prompt, clean
from scot.edits.record import MAX_CAPTION_WORDS, MAX_EDIT_WORDS, EditRecord, record_schema

ASPECTS = Prompt.load().aspects

ONE = EditRecord("negation", "no hat", "a man on a bench", "man, bench")
TWO = EditRecord("addition", 'a sign that says "no {"', "a man beside a sign", "man")
THREE = EditRecord("viewpoint", "from above", "a man seen from above", "")
WHOLE = [json.dumps(record.answer()) for record in (ONE, TWO, THREE)]
ANSWER = f'{{"edits": [{", ".join(WHOLE)}]}}'


def parse_answer(text: str, *, cut_off: bool = False) -> Parsed:
    return parsing.parse_answer(text, ASPECTS, cut_off=cut_off)


def answer(**changed: Any) -> str:
    """An answer of one record with other values; a field whose value is None is left out."""
    record = ONE.answer() | changed
    return json.dumps({"edits": [{name: value for name, value in record.items() if value is not None}]})


def test_a_good_answer_is_its_records_in_order() -> None:
    assert parse_answer(ANSWER) == Parsed((ONE, TWO, THREE))


@pytest.mark.parametrize(
    "text",
    [
        f"Sure! Here are the edits:\n{ANSWER}\nAnything else?",
        f"```json\n{ANSWER}\n```",
        f"I think in {{braces}}, {{ and }}: {ANSWER}",
        json.dumps(json.loads(ANSWER), indent=4),
        f"[{', '.join(WHOLE)}]",
        "\n".join(WHOLE),
        " and ".join(f'{{"edits": [{record}]}}' for record in WHOLE),
    ],
    ids=["prose", "fence", "braces in prose", "indented", "bare list", "one a line", "several answers"],
)
def test_what_is_around_the_records_is_passed_over(text: str) -> None:
    assert parse_answer(text) == Parsed((ONE, TWO, THREE))


def test_records_before_a_break_are_kept_wherever_it_is() -> None:
    ends = [ANSWER.index(record) + len(record) for record in WHOLE]
    for length in range(1, len(ANSWER)):
        parsed = parse_answer(ANSWER[:length], cut_off=True)
        assert parsed.records == (ONE, TWO, THREE)[: sum(end <= length for end in ends)]
        assert parsed.refused == {"answer_cut_off": 1}


def test_a_bad_record_leaves_its_neighbours() -> None:
    text = f'{{"edits": [{WHOLE[0]}, {{"aspect": "negation"}}, 7, null, {WHOLE[2]}]}}'
    assert parse_answer(text) == Parsed((ONE, THREE), Counter(wrong_fields=3))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty_answer"),
        (" \n\t", "empty_answer"),
        ("I would rather not.", "not_json"),
        ("{", "not_json"),
        ('"edits"', "not_json"),
        ('{"edits": [', "not_json"),
        ("{}", "wrong_fields"),
        ('{"edits": []}', "wrong_fields"),
        ('{"edits": {}}', "wrong_fields"),
        ('{"edits": [[]]}', "wrong_fields"),
        (answer(kept=None), "wrong_fields"),
        (answer(more="x"), "wrong_fields"),
        (answer(edit=3), "wrong_fields"),
        (answer(edit=["no hat"]), "wrong_fields"),
        (answer(kept={"man": 1}), "wrong_fields"),
        (answer(edited_caption=float("nan")), "wrong_fields"),
        (answer(aspect="sideways"), "unknown_aspect"),
        (answer(aspect=""), "unknown_aspect"),
        (answer(edit=""), "empty_field"),
        (answer(edit=" \u200b\x00"), "empty_field"),
        (answer(edited_caption="\n"), "empty_field"),
        (answer(edited_caption="\ud83d"), "empty_field"),
        (answer(edit="word " * (MAX_EDIT_WORDS + 1)), "record_too_long"),
        (answer(edited_caption="word " * (MAX_CAPTION_WORDS + 1)), "record_too_long"),
        (answer(edit="x" * 201), "record_too_long"),
        (answer(edited_caption="x" * 301), "record_too_long"),
    ],
)
def test_what_is_no_record_is_counted_by_reason(text: str, reason: str) -> None:
    assert parse_answer(text) == Parsed((), Counter({reason: 1}))


@pytest.mark.parametrize(
    "text",
    [
        answer(edit="word " * MAX_EDIT_WORDS, edited_caption="word " * MAX_CAPTION_WORDS),
        answer(edit="x" * 200, edited_caption="x" * 300, kept=""),
    ],
)
def test_a_record_may_be_as_long_as_the_limits(text: str) -> None:
    assert len(parse_answer(text).records) == 1


def test_what_is_kept_is_shortened_instead_of_refused() -> None:
    (record,) = parse_answer(answer(kept="a" * 199 + " bench")).records
    assert record.kept == "a" * 199


def test_fields_are_cleaned() -> None:
    (record,) = parse_answer(
        answer(aspect=" negation\n", edit="no\u202e hat\x07", edited_caption="a  man \ud83d")
    ).records
    assert record == EditRecord("negation", "no hat", "a man", ONE.kept)


def test_a_long_answer_is_read_up_to_the_limit() -> None:
    text = ANSWER + " " * MAX_ANSWER_CHARS + WHOLE[0]
    assert parse_answer(text) == Parsed((ONE, TWO, THREE), Counter(answer_too_long=1))


@pytest.mark.parametrize("unit", ['{"a":', "[", "{", '{"edits": [', '[{"a":', '{"a": "', '"\\ud800', "\ud800{", "9"])
@pytest.mark.parametrize("length", [MAX_ANSWER_CHARS, 20_000 * len('{"edits": [')])
def test_nesting_without_end_is_refused(unit: str, length: int) -> None:
    parsed = parse_answer((unit * length)[:length])
    assert parsed.records == ()
    assert parsed.refused == {"not_json" if length <= MAX_ANSWER_CHARS else "answer_too_long": 1}


def test_a_number_without_end_is_refused() -> None:
    assert parse_answer('{"edits": ' + "9" * 10_000 + "}").refused == {"not_json": 1}


@pytest.mark.parametrize("seed", range(5))
def test_ten_thousand_tokens_of_noise_are_refused(seed: int) -> None:
    rng = random.Random(seed)
    tokens = ["{", "}", "[", "]", ":", ",", '"', '"edits"', '"edit"', "the", " ", "\n", "\\", "\x00", "é", "12", "null"]
    parsed = parse_answer("".join(rng.choices(tokens, k=10_000)))
    assert parsed.records == ()
    assert parsed.refused.total() >= 1


_FIELD = st.text(max_size=30) | st.sampled_from(ASPECTS) | st.none() | st.integers() | st.text("word ", max_size=400)
_RECORD = st.dictionaries(st.sampled_from([*ONE.answer(), "edits", "x"]), _FIELD) | st.fixed_dictionaries(
    {"aspect": st.sampled_from(ASPECTS), "edit": _FIELD, "edited_caption": _FIELD, "kept": _FIELD}
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | _RECORD,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["edits", "edit", "a"]), inner),
    max_leaves=8,
)
_ANSWERS = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.text('{}[]":,\\ \nedits'),
    _JSON.map(json.dumps),
    st.lists(_RECORD, max_size=4).map(lambda records: json.dumps({"edits": records})),
    st.tuples(st.lists(_RECORD, max_size=4), st.integers(0, 400)).map(lambda it: json.dumps({"edits": it[0]})[: it[1]]),
)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(_ANSWERS, st.booleans())
def test_no_answer_breaks_it_and_every_record_is_within_the_limits(text: str, cut_off: bool) -> None:
    parsed = parse_answer(text, cut_off=cut_off)
    assert parsed.records or parsed.refused
    for record in parsed.records:
        assert Draft202012Validator(record_schema(ASPECTS)).is_valid(record.answer())
        assert len(record.edit.split()) <= MAX_EDIT_WORDS
        assert len(record.edited_caption.split()) <= MAX_CAPTION_WORDS
        assert parse_answer(json.dumps(record.answer())) == Parsed((record,))


_WORDS = st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=MAX_EDIT_WORDS).map(" ".join).map(clean)
_RECORDS = st.builds(
    EditRecord,
    st.sampled_from(ASPECTS),
    _WORDS.filter(lambda text: 1 <= len(text.split()) <= MAX_EDIT_WORDS),
    _WORDS.filter(lambda text: 1 <= len(text.split()) <= MAX_CAPTION_WORDS),
    _WORDS.map(lambda text: text[:200].rstrip()),
)


@settings(derandomize=True, deadline=None)
@given(st.lists(_RECORDS, min_size=1, max_size=4), st.booleans())
def test_what_is_written_is_read_back(records: list[EditRecord], ensure_ascii: bool) -> None:
    text = json.dumps({"edits": [record.answer() for record in records]}, ensure_ascii=ensure_ascii)
    assert parse_answer(text) == Parsed(tuple(records))


def test_a_raw_control_character_in_a_string_is_a_space() -> None:
    text = (
        '{"edits": [{"aspect": "addition", "edit": "add\ta dog", "edited_caption": "a cat\nand a dog", "kept": "cat"}]}'
    )
    (record,) = parse_answer(text).records
    assert (record.edit, record.edited_caption) == ("add a dog", "a cat and a dog")
