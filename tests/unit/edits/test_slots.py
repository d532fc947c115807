"""The slots engine on captions of photographs: how many yield an edit, and how many edits keep the written rules.

``natural_captions.txt`` was written after the vocabulary and is not part of it.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from scot.edits.auto import choose_engine
from scot.edits.engines import EngineConfig
from scot.edits.engines.base import Likelihood
from scot.edits.filters import TextFilters, words
from scot.edits.generators import load_generator
from scot.edits.generators.load import names
from scot.edits.generators.slots import SlotsGenerator
from scot.edits.record import CaptionEdits, EditRecord
from scot.edits.slots import SlotsEngine
from scot.edits.vocabulary import TERMS, lemma
from scot.edits.vocabulary import words as vocabulary_words
from scot.errors import ChatRefused, InvalidInput, Unavailable

CAPTIONS = Path(__file__).with_name("natural_captions.txt").read_text(encoding="utf-8").splitlines()
ENGINE = SlotsEngine()
NUMBERS = ("two", "three", "four", "five", "six")
SMALL = {"a", "an", "the", "is", "are", "of", "with", "wearing", "on", "in", "at", "as"}


def faults(caption: str, record: EditRecord) -> list[str]:
    """What is wrong with an edit, by rules that a person wrote down."""
    before, after, edit = words(caption), words(record.edited_caption), record.edit.lower()
    said = {lemma(word) for word in (*words(edit), *before)}
    new = {word for word in after if word not in before} - SMALL
    gone = {word for word in before if word not in after} - SMALL
    text = record.edited_caption.lower()
    found = {
        "the edit does not say what is new": any(lemma(word) not in said for word in new),
        "nothing changes": not new and not gone,
        "a wrong article": re.search(r"\ba [aeio]|\ban [^aeiou\W]", text) is not None,
        "a word twice": any(one == other for one, other in pairwise(after)),
        "a number without a plural": re.search(r"\b(two|three|four) (\w+ )?(man|woman|child|dog|cat|is)\b", text),
        "a plural with an article": re.search(r"\ban? (\w+ )?(men|women|children|sheep are)\b", text),
        "is with a plural": re.match(r"(two|three|four) (\w+ ){1,2}is\b", text),
        "more than the edit says": len(gone) > 4 or len(new) > 6,
        "a field is empty": not record.kept or not record.aspect,
    }
    return [fault for fault, is_so in found.items() if is_so]


def test_nine_of_ten_natural_captions_yield_edits_and_they_keep_the_rules() -> None:
    made = [ENGINE.edits(caption, count=4, seed=0) for caption in CAPTIONS]
    edits = [(caption, edit) for caption, result in zip(CAPTIONS, made, strict=True) for edit in result.edits]
    bad = [(edit, found) for caption, edit in edits if (found := faults(caption, edit))]
    yielding = sum(bool(result.edits) for result in made)
    print(f"{yielding} of {len(CAPTIONS)} captions yield {len(edits)} edits, of which {len(bad)} break a rule")
    assert len(CAPTIONS) == 100
    assert yielding >= 90
    assert len(edits) >= 220
    assert len(bad) <= 0.05 * len(edits), bad


def test_no_kind_of_edit_dominates() -> None:
    made = [edit for caption in CAPTIONS for edit in ENGINE.edits(caption, count=2, seed=1).edits]
    aspects = Counter(edit.aspect for edit in made)
    assert len(aspects) >= 6
    assert max(aspects.values()) < 0.5 * len(made)


@pytest.mark.parametrize(
    ("caption", "edited"),
    [
        ("A man sits on a bench.", "A woman sits on a bench."),
        ("An apple on a plate", "A banana on a plate"),
        ("A dog sleeping on a couch", "Two dogs sleeping on a couch"),
        ("A dog is sleeping on a couch", "Three dogs are sleeping on a couch"),
        ("a car in the snow", "a red car in the snow"),
        ("a red car in the snow", "an orange car in the snow"),
        ("A CAT ON A CHAIR", "A DOG ON A CHAIR"),
        ("a woman with an umbrella", "a woman"),
        ("a boat on a lake", "a boat on a lake at sunset"),
        ("a photo of a castle", "a pencil drawing of a castle"),
        ("A castle on a hill", "A pencil drawing of a castle on a hill"),
    ],
)
def test_what_can_change(caption: str, edited: str) -> None:
    made = {edit.edited_caption for seed in range(400) for edit in ENGINE.edits(caption, count=6, seed=seed).edits}
    assert edited in made


@pytest.mark.parametrize(
    ("caption", "never"),
    [
        ("a man walking his dog", "a woman walking his dog"),
        ("a fire truck on a street", "a fire van on a street"),
        ("a black man in a park", "a white man in a park"),
        ("a cat and a dog", "a dog and a dog"),
        ("a man riding a wave", "two men riding a wave"),
        ("a man in a hat sings", "a mosaic of a man in a hat sings"),
    ],
)
def test_what_stays(caption: str, never: str) -> None:
    made = {edit.edited_caption for seed in range(300) for edit in ENGINE.edits(caption, count=6, seed=seed).edits}
    assert never not in made


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("", "caption_empty"),
        ("IMG_2041.JPG", "caption_not_text"),
        ('{"label": "a red car"}', "caption_not_text"),
        ("eine rote Katze sitzt auf dem Sofa", "caption_other_language"),
        ("word " * 40, "caption_too_long"),
        ("nothing that is known here", "nothing_to_edit"),
        ("#mood #vibes", "nothing_to_edit"),
    ],
)
def test_captions_that_cannot_be_edited_are_counted_by_reason(caption: str, reason: str) -> None:
    generator = load_generator(EngineConfig(engine="slots"))
    assert asyncio.run(generator.generate([caption], count=4, seed=0)) == [CaptionEdits(refused=Counter({reason: 1}))]


def test_the_image_is_part_of_the_draw() -> None:
    caption = "a red car on a street next to a tree"
    one, again, other = (ENGINE.edits(caption, count=3, seed=0, image_id=name) for name in ("a", "a", "b"))
    assert one == again != other


class Model:
    """A language model that knows how likely words are, all others less so."""

    id = "words"

    def __init__(self, known: dict[str, float], other: float = -8.0, error: Exception | None = None) -> None:
        self._known, self._other, self._error = known, other, error
        self.asked: list[str] = []

    async def likelihoods(self, texts: Sequence[str]) -> list[Likelihood]:
        if self._error:
            raise self._error
        self.asked += texts
        return [
            Likelihood(sum(self._known.get(word, self._other) for word in text.split()), len(text.split()))
            for text in texts
        ]

    async def check(self) -> None: ...

    async def close(self) -> None: ...


CAPTION = "a red car on a street"


def ranked(model: Model, caption: str = CAPTION, *, count: int = 2, margin: float = 0.5) -> CaptionEdits:
    generator = SlotsGenerator(TextFilters(), ranker=model, margin=margin)
    return asyncio.run(generator.generate([caption], count=count, seed=0))[0]


def unranked(count: int = 2) -> CaptionEdits:
    return asyncio.run(SlotsGenerator(TextFilters()).generate([CAPTION], count=count, seed=0))[0]


def test_a_model_chooses_the_likeliest_of_more_edits_than_asked() -> None:
    assert "a pink car on a street" not in [edit.edited_caption for edit in unranked(2).edits]
    model = Model(dict.fromkeys((*CAPTION.split(), "pink"), -3.0))
    generator = SlotsGenerator(TextFilters(), ranker=model)
    (made,) = asyncio.run(generator.generate([CAPTION], count=2, seed=0))
    assert [edit.edited_caption for edit in made.edits] == ["a pink car on a street"]
    assert model.asked[0] == CAPTION
    assert len(model.asked) > 2
    assert made.prompt_tokens == sum(len(text.split()) for text in model.asked)
    assert generator.generator == "slots+words"


def test_an_edit_less_likely_than_the_caption_by_more_than_the_margin_is_refused() -> None:
    model = Model(dict.fromkeys(CAPTION.split(), -3.0))
    assert ranked(model) == CaptionEdits((), Counter(unlikely=2), ranked(model).prompt_tokens)
    assert len(ranked(model, margin=5.0).edits) == 2


def test_the_likeliest_edit_of_each_place_comes_before_the_second_of_any() -> None:
    model = Model({})  # every word is as likely: longer captions are not less likely a word
    candidates = ENGINE.candidates(CAPTION, count=16, seed=0, at_a_place=4)
    places = {record.edited_caption: place for place, record in candidates}
    likely = Model({word: -8.0 - number / 50 for number, word in enumerate(" ".join(places).split())})
    made = ranked(likely, count=4, margin=50.0)
    assert len({places[edit.edited_caption] for edit in made.edits}) == min(4, len(set(places.values())))
    assert ranked(model).refused == Counter(not_ranked=1)


@pytest.mark.parametrize("value", [0.0, -5.0, float("-inf"), float("nan")])
def test_a_model_that_ranks_everything_equal_leaves_the_grammars_order(value: float) -> None:
    made = ranked(Model({}, other=value))
    assert made.edits == unranked().edits
    assert made.refused == Counter(not_ranked=1)


def test_a_text_that_a_model_refuses_leaves_the_grammars_order() -> None:
    made = ranked(Model({}, error=ChatRefused("too long")))
    assert made.edits == unranked().edits
    assert made.refused == Counter(chat_refused=1)


def test_a_model_that_is_away_is_waited_for_by_the_caller() -> None:
    with pytest.raises(Unavailable, match="away"):
        ranked(Model({}, error=Unavailable("away")))


@pytest.mark.parametrize("engine", ["rules", "slots", "pairs", "service", "auto"])
def test_ranking_without_a_model_is_one_sentence(engine: str) -> None:
    url = "localhost:1" if engine == "service" else ""
    with pytest.raises(InvalidInput, match="--rank needs a language model"):
        EngineConfig(engine=engine, url=url, rank=True)


def test_auto_says_that_a_model_ranks() -> None:
    config = EngineConfig(engine="auto", model="small", url="http://localhost:1/v1", rank=True)
    chosen, why = choose_engine(config, [("a", CAPTION)], seed=0)
    assert (chosen.engine, chosen.rank) == ("openai", True)
    assert why == "engine openai: the model small ranks the edits of the engine slots"
    assert names(chosen) == ("slots+openai:small", "slots-2")


def test_no_group_of_the_vocabulary_hides_another_of_its_name() -> None:
    names = [group.name for file in vocabulary_words.FILES for group in vocabulary_words._read(file)]
    assert len(set(names)) == len(names)
    assert all(TERMS[text] for text in ("dress", "skirt", "gown", "barefoot"))
