"""Pairs of a corpus: what is a pair, what is none, how they are said, and that no word dominates."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from scot.data.storage import Folder
from scot.data.triplets import read_triplets
from scot.edits.chunk_generator import GenerationConfig
from scot.edits.difference import difference
from scot.edits.engines import EngineConfig
from scot.edits.filters import TextFilters
from scot.edits.generation import generate_triplets
from scot.edits.generators import load_generator
from scot.edits.generators.pairs import PairsGenerator
from scot.edits.pairs import PairIndex, mine
from scot.edits.record import CaptionEdits
from scot.edits.rules.change import Dice
from scot.errors import InvalidInput
from tests.unit.edits.test_generation import corpus

PAIRS = GenerationConfig(EngineConfig(engine="pairs"))


def edits(captions: list[str], *, count: int = 4, seed: int = 0) -> dict[str, CaptionEdits]:
    """The edits of each caption of a corpus; image n has caption n."""
    index = mine([(f"i{n}", caption) for n, caption in enumerate(captions)], seed=seed)
    generator = PairsGenerator(index, TextFilters())
    ids = [f"i{n}" for n in range(len(captions))]
    made = asyncio.run(generator.generate(captions, count=count, seed=seed, image_ids=ids))
    return dict(zip(captions, made, strict=True))


def targets(captions: list[str], caption: str) -> set[str]:
    return {edit.edited_caption for edit in edits(captions)[caption].edits}


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("a red car on a street", "a blue car on a street", {"blue"}),
        ("a man riding a horse", "a man with a hat riding a horse", {"hat"}),
        ("a cat in the snow", "a cat on a beach", {"beach"}),
        ("two dogs in a park", "three dogs in a park", {"three"}),
        ("a man riding a horse", "A photo of an old man riding a horse.", {"old"}),
        ("arrow left", "arrow right", {"right"}),
        ("lathe in a workshop", "anvil in a workshop", {"anvil"}),
    ],
)
def test_captions_that_differ_in_a_few_words_are_edits_of_each_other(one: str, other: str, words: set[str]) -> None:
    made = edits([one, other])
    (there,), (back,) = made[one].edits, made[other].edits
    assert (there.edited_caption, there.target_image_id) == (other, "i1")
    assert (back.edited_caption, back.target_image_id) == (one, "i0")
    assert words <= set(there.edit.split())
    assert there.edit != back.edit
    assert all(word.lower() in one.lower() and word.lower() in other.lower() for word in there.kept.split(", "))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a grey car on a street", "A gray car on the street!"),
        ("a dog on a sofa", "a photo of dogs on a couch"),
        ("a man rides a bike", "a man riding a bicycle"),
        ("a cat on a mat", "a cat at a mat"),  # only a function word
        ("airport sign 1", "airport sign 2"),
        ("black cat", "wooden dog"),
        ("two men at a bar talk to a nurse", "a red bus"),
    ],
)
def test_synonyms_inflections_numbers_and_other_captions_are_no_edits(one: str, other: str) -> None:
    assert edits([one, other])[one] == CaptionEdits(refused=Counter(no_similar_caption=1))


def test_an_insertion_and_its_removal() -> None:
    made = edits(["a woman on a bench", "a woman with an umbrella on a bench"])
    (added,), (removed,) = (result.edits for result in made.values())
    assert (added.aspect, removed.aspect) == ("addition", "negation")
    assert "umbrella" in added.edit
    assert "umbrella" in removed.edit


def test_captions_that_cannot_be_edited_are_counted_by_reason() -> None:
    odd = {
        "cat": "caption_one_word",
        "IMG_2041.JPG": "caption_not_text",
        '{"label": "a red car"}': "caption_not_text",
        "eine rote Katze sitzt auf dem Sofa": "caption_other_language",
        " ".join(["One dog runs. Another dog sleeps in the sun."] * 5): "caption_too_long",
        "#sunset #beach #holiday": "no_similar_caption",
        "A LONELY LIGHTHOUSE": "no_similar_caption",
    }
    made = edits(list(odd))
    assert {caption: list(result.refused) for caption, result in made.items()} == {c: [r] for c, r in odd.items()}


def test_no_swap_dominates() -> None:
    syllables = [f"{consonant}{vowel}" for consonant in "bdgklmnprtvz" for vowel in "aou"]
    things = [f"{one}{other}n" for one in syllables for other in syllables]
    captions = [f"a {colour} {thing} in a room" for thing in things for colour in ("red", "blue")]
    index = mine([(str(n), caption) for n, caption in enumerate(captions)], seed=0)
    generator = PairsGenerator(index, TextFilters(language=""), doubles=0.0)
    made = asyncio.run(generator.generate(captions, count=16, seed=0))
    recoloured = sum("in a room" in e.edited_caption and e.aspect == "direct addressing" for r in made for e in r.edits)
    total = sum(len(result.edits) for result in made)
    assert total > 5_000
    # A twentieth each way, not all 2 x 1,296; and not so few that a model would hardly see a colour change.
    assert 0.05 * total < recoloured < 0.15 * total


def test_some_edits_change_two_things_of_a_caption_to_another_real_one() -> None:
    captions = [f"a {one} {two} on a {place}" for one in ("red", "blue", "green") for two in ("cup", "bowl", "jar")
                for place in ("table", "shelf", "chair")]  # fmt: skip
    made = edits(captions, count=12)
    doubles = [
        (caption, edit) for caption, result in made.items() for edit in result.edits if edit.aspect == "conjunction"
    ]
    singles = sum(len(result.edits) for result in made.values()) - len(doubles)
    assert 0.2 < len(doubles) / (len(doubles) + singles) < 0.6
    for caption, edit in doubles:
        before, after = (set(text.split()) for text in (caption, edit.edited_caption))
        assert captions[int(edit.target_image_id[1:])] == edit.edited_caption
        assert len(after - before) == len(before - after) == 2
        assert after - before <= set(edit.edit.replace(",", "").split())
        assert " and " in edit.edit
        assert set(edit.kept.split(", ")) <= before & after


@pytest.mark.parametrize(
    ("one", "other", "new_alone", "never"),
    [
        ("mug, red, on a shelf", "mug, blue, on a shelf", {"make it blue", "blue instead", "now blue"}, "show"),
        ("a wide mug in red", "a wide mug in blue", {"make it blue", "should be blue"}, "show"),
        ("a cat on red", "a cat on blue", {"blue instead", "now blue"}, "make it"),  # the ground, not the cat
        ("a dog in a park", "a cat in a park", {"show a cat", "a cat instead", "I want a cat"}, "make it"),
    ],
)
def test_some_edits_name_only_what_is_new(one: str, other: str, new_alone: set[str], never: str) -> None:
    said = {record.edit for seed in range(200) if (record := difference(one, other, "", Dice(one, seed))) is not None}
    assert new_alone <= said
    assert any("instead of" in edit for edit in said)
    assert not any(edit.startswith(never) for edit in said)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("a dog under a table in a room", "a dog on a table in a room", "on a table"),
        ("a cat on top of the car", "a cat next to the car", "next to the car"),
        ("a mug left of a brass lamp, at night", "a mug right of a brass lamp, at night", "right of a brass lamp"),
        ("a man in a hat", "a man with a hat", ""),
    ],
)
def test_words_of_place_are_said_with_what_they_relate_to(one: str, other: str, said: str) -> None:
    made = {record.edit for seed in range(50) if (record := difference(one, other, "", Dice(one, seed))) is not None}
    assert made >= ({f"put it {said}", f"{said} instead"} if said else set())
    assert all(said in edit for edit in made)
    assert bool(made) == bool(said)


def test_a_second_change_never_undoes_the_first() -> None:
    made = edits(["a red cup", "a blue cup", "a green cup"], count=8)
    assert {edit.aspect for result in made.values() for edit in result.edits} == {"direct addressing"}


def test_the_index_is_read_as_it_was_written(tmp_path: Path) -> None:
    captions = ["a red car on a street", "a blue car on a street", "a car \ud800 on a street"]
    index = mine([(f"ï{n}", caption) for n, caption in enumerate(captions)], seed=3)
    assert not PairIndex.exists(Folder(tmp_path))
    with pytest.raises(InvalidInput, match="has no index of pairs"):
        PairIndex.read(Folder(tmp_path))
    index.write(Folder(tmp_path))
    again = PairIndex.read(Folder(tmp_path))
    assert [again.partners_of(caption) for caption in captions] == [index.partners_of(caption) for caption in captions]
    assert [again.images[n] for n in range(3)] == ["ï0", "ï1", "ï2"]
    assert [again.captions[n] for n in range(3)] == captions
    assert again.partners_of("a green car") is None


@pytest.mark.parametrize("captions", [[], [""], ["a"], ["red car"] * 5, ["red car", "blue car"] * 20_000])
def test_any_corpus_has_an_index(captions: list[str]) -> None:
    index = mine([(str(n), caption) for n, caption in enumerate(captions)], seed=0)
    assert index.share_with_pairs() == (1.0 if len(set(captions)) == 2 else 0.0)


def test_a_run_writes_pairs_with_their_images(tmp_path: Path) -> None:
    captions = ["a red car on a street", "a blue car on a street", "a dog asleep", "a blue car on a street"]
    source, output = corpus(tmp_path / "p", captions), str(tmp_path / "t")
    made = generate_triplets([source], output, config=PAIRS, num_workers=0)
    rows = read_triplets(output).to_pylist()
    assert {(row["image_id"], row["target_image_id"]) for row in rows} <= {
        ("i0", "i1"), ("i0", "i3"), ("i1", "i0"), ("i3", "i0"),
    }  # fmt: skip
    assert len(rows) == made.manifest.count == 3
    assert made.manifest.rejected == {"no_similar_caption": 1}
    assert {row["generator"] for row in rows} == {"pairs"}
    assert not list(Path(output).glob("_parts*"))
    other = generate_triplets([source], str(tmp_path / "other"), config=PAIRS, num_workers=0)
    assert other.manifest.hash == made.manifest.hash


def test_a_corpus_without_pairs_is_one_sentence(tmp_path: Path) -> None:
    source = corpus(tmp_path / "p", ["a red car on a street"] * 4)
    with pytest.raises(InvalidInput, match=r"pairs found nothing to edit in 4 captions \(4 no_similar_caption\)"):
        generate_triplets([source], str(tmp_path / "t"), config=PAIRS, num_workers=0)


def test_pairs_need_a_corpus() -> None:
    with pytest.raises(InvalidInput, match="the pairs engine needs a whole corpus"):
        load_generator(EngineConfig(engine="pairs"))
