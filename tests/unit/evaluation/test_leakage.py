"""Texts of triplets against a benchmark's: what is equal, what nearly, and that no near-duplicate is overlooked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scot.cli import main
from scot.data.triplets import Triplet, write_triplets
from scot.evaluation.leakage import LeakageConfig, TextIndex, find_leakage, words
from tests.support.official_annotations import official
from tests.support.small_benchmarks import small_circo, small_cirr, small_fashioniq

TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "g"]), min_size=1, max_size=7).map(" ".join)


def triplets(folder: Path, *rows: tuple[str, str, str]) -> Path:
    """Triplets of ``(caption, edit, edited caption)``."""
    made = [
        Triplet(f"t{n}", f"i{n}", caption, edit, edited, "addition", "test", "1", 0)
        for n, (caption, edit, edited) in enumerate(rows)
    ]
    write_triplets(folder, made, {})
    return folder


def test_case_punctuation_and_spacing_do_not_tell_texts_apart() -> None:
    index = TextIndex(["Make it red, please!"], threshold=0.8)
    assert index.similar("make  it RED please") == {"Make it red, please!": 1.0}
    assert index.similar("make it blue now") == {}


def test_the_same_words_in_another_order_are_nearly_equal() -> None:
    index = TextIndex(["a dog on a cat"], threshold=0.9)
    assert 0.9 <= index.similar("a cat on a dog")["a dog on a cat"] < 1.0


@settings(max_examples=300)
@given(st.lists(TEXTS, min_size=1, max_size=12, unique=True), TEXTS, st.sampled_from([0.3, 0.5, 0.6, 0.75, 0.8, 1.0]))
def test_every_pair_over_the_threshold_is_found(texts: list[str], text: str, threshold: float) -> None:
    mine = set(words(text))
    expected = {
        other
        for other in texts
        if len(mine & set(words(other))) / len(mine | set(words(other))) >= threshold or words(other) == words(text)
    }
    assert set(TextIndex(texts, threshold=threshold).similar(text)) == expected


def test_overlaps_are_counted_by_column_and_query(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = small_cirr(tmp_path / "CIRR")
    folder = triplets(
        tmp_path / "triplets",
        ("a red car", "Make it red.", "a blue car"),
        ("a dog", "make it red", "make it orange"),
        ("a cat", "put it under the old oak", "a cat under an oak"),
    )
    given_flags = ["--annotations", str(root), "--json", str(tmp_path / "out.json")]
    assert main(["evaluate", "leakage", str(folder), *given_flags]) == 0
    out = capsys.readouterr().out
    assert "2 queries (33.3%)" in out
    said = json.loads((tmp_path / "out.json").read_text())
    assert (said["triplets"], said["queries"], said["queries_touched"]) == (3, 6, 2)
    found = {(each["column"], each["text"]): each for each in said["overlaps"]}
    assert set(found) == {("edit", "Make it red."), ("edit", "make it red"), ("edited_caption", "make it orange")}
    assert found["edit", "make it red"]["benchmark_text"] == "make it red"
    # "make it orange" shares two of four words with "make it red": nearly equal only under a lower threshold.
    lower = find_leakage(LeakageConfig(folder, annotations=root, threshold=0.5))
    assert lower.queries_touched == 6
    assert find_leakage(LeakageConfig(folder, annotations=root, least_words=4)).overlaps == ()


def test_texts_are_those_the_annotators_wrote(tmp_path: Path) -> None:
    folder = triplets(tmp_path / "triplets", ("a ball", "has sleeves", "is orange"))
    fashion = find_leakage(
        LeakageConfig(folder, "fashioniq", small_fashioniq(tmp_path / "FashionIQ"))  # its captions one by one
    )
    assert {each.text for each in fashion.overlaps} == {"has sleeves", "is orange"}
    circo = find_leakage(LeakageConfig(folder, "circo", small_circo(tmp_path / "CIRCO")))  # the concept too
    assert {each.text for each in circo.overlaps} == {"a ball", "is orange"}


def test_a_sentence_of_the_real_cirr_is_found_among_others(tmp_path: Path) -> None:
    root = official("cirr")
    sentence = json.loads((root / "cap.rc2.val.json").read_text())[100]["caption"]
    folder = triplets(
        tmp_path / "triplets", ("a red car", f"{sentence.upper()} ", "x"), ("y", "paint the hull turquoise", "z")
    )
    found = find_leakage(LeakageConfig(folder, annotations=root, threshold=1.0))
    assert found.queries == 4_181
    assert [(each.column, each.benchmark_text) for each in found.overlaps] == [("edit", sentence)]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--threshold", "0"], "--threshold must be over 0 and at most 1, not 0"),
        (["--split", "train"], "--split of cirr must be val or test1"),
        ([], "--annotations is missing"),
    ],
)
def test_wrong_settings_are_one_sentence(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = triplets(tmp_path / "triplets", ("a", "b", "c"))
    assert main(["evaluate", "leakage", str(folder), *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
