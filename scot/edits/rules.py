"""The rules engine: reads a caption, finds the words it knows, and rewrites one or two of them. No model, and exact.

It works on the caption alone, so on any captions of a like style; what it finds nothing to edit in is refused as
``nothing_to_edit``.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from scot.edits.grammar import Reading, articles, read
from scot.edits.lexicon import GARMENTS, GROUPS, LENGTH_OF, Sense
from scot.edits.record import MAX_CAPTION_WORDS, MAX_EDIT_WORDS, CaptionEdits, EditRecord

MAX_CAPTION_CHARACTERS = 1_000
_AND = (" and ", " and ", ", and ", " and also ")
_ATTEMPTS = 6
_LIVELY = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black", "white")


@dataclass(frozen=True, slots=True)
class Change:
    """One rewritten caption: what was said to get it, and the group of words that changed."""

    group: str
    aspect: str
    edit: str
    caption: str


class RulesEngine:
    """Edits by rules; ``doubles`` is the share of edits that change two things."""

    generator = "rules"
    prompt_version = "rules-1"

    def __init__(self, *, doubles: float = 0.45) -> None:
        self._doubles = doubles

    def edits(self, caption: str, *, count: int, seed: int) -> CaptionEdits:
        """Up to ``count`` distinct edits of one caption; the same caption and seed give the same edits."""
        text = " ".join(caption.split())
        if not text or len(text) > MAX_CAPTION_CHARACTERS or len(text.split()) > MAX_CAPTION_WORDS:
            return CaptionEdits(refused=Counter({"caption_too_long" if text else "caption_empty": 1}))
        rng = random.Random(f"{seed}\n{text}")
        reading = read(text)
        operations = _operations(reading)
        if not operations:
            return CaptionEdits(refused=Counter({"nothing_to_edit": 1}))
        made: dict[str, EditRecord] = {}
        refused: Counter[str] = Counter()
        for _ in range(count * _ATTEMPTS):
            if len(made) == count:
                break
            change = rng.choice(operations)(reading, rng)
            if change is not None and rng.random() < self._doubles:
                change = _and_another(change, rng)
            if change is None:
                continue
            reason = _reason_to_refuse(text, change)
            if reason or change.caption in made:
                refused[reason or "duplicate"] += 1
                continue
            made[change.caption] = EditRecord(change.aspect, change.edit, change.caption, _kept(reading, change))
        return CaptionEdits(tuple(made.values()), refused)


def _and_another(first: Change, rng: random.Random) -> Change | None:
    """A second change on top of the first, of other words, said in either order."""
    reading = read(first.caption)
    operations = _operations(reading)
    second = rng.choice(operations)(reading, rng) if operations else None
    if second is None or second.group == first.group or {first.group, second.group} <= {"thing", "companion", "count"}:
        return first
    said = [first.edit, second.edit]
    rng.shuffle(said)
    return Change(f"{first.group}, {second.group}", "conjunction", rng.choice(_AND).join(said), second.caption)


def _reason_to_refuse(caption: str, change: Change) -> str | None:
    if change.caption.casefold() == caption.casefold():
        return "identical_caption"
    if len(change.edit.split()) > MAX_EDIT_WORDS or len(change.caption.split()) > MAX_CAPTION_WORDS:
        return "too_long"
    return None


def _kept(reading: Reading, change: Change) -> str:
    """The known words that still stand in the edited caption."""
    return ", ".join(dict.fromkeys(piece.text for piece in reading.pieces if piece.text in change.caption))[:200]


Operation = Callable[[Reading, random.Random], Change | None]


def _operations(reading: Reading) -> list[Operation]:
    """What can be done to this caption, one entry an operation, so that none crowds out the others."""
    groups = {piece.sense.group for piece in reading.pieces}
    operations: list[Operation] = []
    if groups & set(GARMENTS):
        operations += [_change_pattern, _change_length, _change_detail, _change_detail]
        operations += [_change_colour] if "colour" in groups else []
        operations += [_swap_either("sleeve", "sleeves")] if "sleeve" in groups else []
        operations += [_change_neck] if "top" in groups else []
        operations += [_change_garment] if "top" in groups else []
    elif "thing" in groups:
        operations += [_change_thing, _change_companion]
        operations += [_change_colour] if "colour" in groups else []
        operations += [
            operation
            for group, operation in (
                ("size", _change_size),
                ("count", _change_count),
                ("place", _change_place),
                ("setting", _change_setting),
            )
            if group in groups or group == "count"
        ]
    elif "colour" in groups:
        operations.append(_change_colour)
    return operations


def _another(group: str, value: str, form: str, rng: random.Random) -> tuple[str, str]:
    """Another value of the group that has this form: ``(value, how it is said)``."""
    others = [name for name, forms in GROUPS[group].items() if name != value and forms.get(form)]
    other = rng.choice(others)
    return other, rng.choice(GROUPS[group][other][form])


def _said(sense: Sense, form: str, rng: random.Random) -> str:
    forms = GROUPS[sense.group][sense.value]
    return rng.choice(forms.get(form) or next(words for words in forms.values() if words))


def _bare(phrase: str) -> str:
    return phrase.removeprefix("a ").removeprefix("an ")


def _change_colour(reading: Reading, rng: random.Random) -> Change | None:
    piece = rng.choice(reading.of("colour"))
    _, new = _another("colour", piece.sense.value, "adjective", rng)
    noun = reading.noun_after(piece)
    alone = len(reading.of("colour")) == 1
    caption = articles(reading.replaced(piece, new))
    them = "them" if noun is not None and noun.sense.form == "plural" else "it"
    said = (
        [f"make the {noun.text} {new}", f"the {noun.text} should be {new}", f"paint the {noun.text} {new}"]
        if noun
        else []
    )
    if alone or noun is None or noun is reading.first_noun():
        said += [
            f"make {them} {new}",
            f"{new} instead of {piece.text}",
            f"in {new}",
            f"change the colour to {new}",
            f"is {new}",
            f"I want {them} in {new}",
        ]
    return Change("colour", "direct addressing", rng.choice(said), caption)


def _swap_either(group: str, name: str) -> Operation:
    def swap(reading: Reading, rng: random.Random) -> Change | None:
        piece = rng.choice(reading.of(group))
        value, new = _another(group, piece.sense.value, piece.sense.form, rng)
        sense = Sense(group, value, piece.sense.form)
        phrase, adjective = _said(sense, "phrase", rng), _said(sense, "adjective", rng)
        old = _said(piece.sense, "phrase", rng)
        said = (
            f"with {phrase}",
            f"make it {adjective}",
            f"{phrase} instead of {old}",
            f"has {phrase}",
            f"change the {name} to {adjective}",
        )
        return Change(group, "compare and change", rng.choice(said), articles(reading.replaced(piece, new)))

    return swap


def _change_pattern(reading: Reading, rng: random.Random) -> Change | None:
    pieces = [piece for piece in reading.of("pattern") if piece.sense.value != "plain"]
    if pieces and rng.random() < 0.3:
        (piece, *_) = pieces
        gone = _bare(_said(piece.sense, "phrase", rng))
        caption = (
            reading.without_feature(piece)
            if piece.sense.form == "phrase"
            else reading.replaced(piece, rng.choice(("", "plain")))
        )
        said = rng.choice(
            ("make it plain", f"without the {gone}", f"remove the {gone}", "in a solid colour", "no pattern")
        )
        return Change("pattern", "negation", said, articles(caption))
    if pieces:
        return _swap_either("pattern", "pattern")(reading, rng)
    value, adjective = _another("pattern", "plain", "adjective", rng)
    phrase = rng.choice(GROUPS["pattern"][value]["phrase"])
    plain = reading.of("pattern")
    if plain:
        caption = reading.replaced(plain[0], adjective)
    elif rng.random() < 0.5:
        caption = reading.before_noun(adjective)
    else:
        caption = reading.with_feature(phrase)
    said = rng.choice(
        (
            f"make it {adjective}",
            f"with {phrase}",
            f"add {_bare(phrase)}",
            f"has {phrase}",
            f"change the pattern to {adjective}",
        )
    )
    return Change("pattern", "addition", said, articles(caption))


def _change_length(reading: Reading, rng: random.Random) -> Change | None:
    noun = reading.first_noun()
    if noun is None:
        return None
    group = LENGTH_OF["dress" if noun.sense.value == "dress" else noun.sense.group]
    values = list(GROUPS[group])
    known = {word: value for value, forms in GROUPS[group].items() for word in forms["adjective"]}
    present = next((piece for piece in reading.pieces if piece.text in known), None)
    old = known[present.text] if present else None
    regular = group == "top length"  # a top of ordinary length is not said to have one
    if regular and present is not None and rng.random() < 0.4:
        said = rng.choice(("make it regular length", "of regular length", f"not {present.text}", "medium length"))
        return Change("length", "comparative", said, articles(reading.replaced(present, "")))
    value = rng.choice([name for name in values if name != old])
    new = rng.choice(GROUPS[group][value]["adjective"])
    if present is None:
        if not regular:
            return None
        caption = reading.before_noun(new)
    else:
        caption = reading.replaced(present, new)
    said_any = [f"make it {new}", f"is {new}", f"change the length to {new}"]
    said_any += [f"{new} instead of {present.text}"] if present else []
    middle = present is None if regular else values.index(old) == 1 if old is not None else False
    if middle:
        longer = "longer" if values.index(value) == len(values) - 1 else "shorter"
        said_any += [f"make it {longer}", f"a {longer} one", longer]
    return Change("length", "comparative", rng.choice(said_any), articles(caption))


def _change_neck(reading: Reading, rng: random.Random) -> Change | None:
    if reading.of("neck"):
        return _swap_either("neck", "neck")(reading, rng)
    value, phrase = _another("neck", "round", "phrase", rng)
    adjective = rng.choice(GROUPS["neck"][value]["adjective"])
    caption = reading.with_feature(phrase) if rng.random() < 0.6 else reading.before_noun(adjective)
    return Change(
        "neck",
        "addition",
        rng.choice((f"with {phrase}", f"make it {adjective}", f"has {phrase}", f"change the neck to {adjective}")),
        articles(caption),
    )


def _change_detail(reading: Reading, rng: random.Random) -> Change | None:
    pieces = reading.of("detail")
    if not pieces:
        _, new = _another("detail", "", "phrase", rng)
        said = rng.choice((f"add {new}", f"with {new}", f"give it {new}", f"has {new}"))
        return Change("detail", "addition", said, articles(reading.with_feature(new)))
    (piece, *_) = pieces
    gone = _bare(_said(piece.sense, "phrase", rng))
    if rng.random() < 0.45:
        said = rng.choice((f"without the {gone}", f"remove the {gone}", f"take off the {gone}", f"no {gone}"))
        return Change("detail", "negation", said, articles(reading.without_feature(piece)))
    _, new = _another("detail", piece.sense.value, "phrase", rng)
    said = rng.choice((f"swap the {gone} for {new}", f"{new} instead of the {gone}", f"replace the {gone} with {new}"))
    return Change("detail", "compare and change", said, articles(reading.replaced(piece, new)))


def _change_garment(reading: Reading, rng: random.Random) -> Change | None:
    noun = reading.first_noun()
    lengths = [*reading.of("top length"), *reading.of("gown length"), *reading.of("leg length")]
    if noun is None or noun.sense.group != "top":
        return None
    value, new = _another("top", noun.sense.value, "noun", rng)
    if (value == "dress") != (noun.sense.value == "dress"):
        # Lengths are said in other words of a dress, and a dress always has one said.
        if value == "dress":
            scale = {"cropped": "mini", "longline": "maxi"}
            length = scale.get(lengths[0].sense.value if lengths else "", "midi")
            if length == "mini" and lengths:
                caption = reading.replaced(lengths[0], rng.choice(("mini", "short")), also=(noun, new))
            elif lengths:
                caption = reading.replaced(
                    lengths[0], rng.choice(GROUPS["gown length"][length]["adjective"]), also=(noun, new)
                )
            else:
                caption = reading.replaced(noun, f"{rng.choice(GROUPS['gown length'][length]['adjective'])} {new}")
        else:
            scale = {"mini": "cropped", "midi": "", "maxi": "longline"}
            if not lengths:
                return None
            length = scale.get(lengths[0].sense.value, "")
            words = rng.choice(GROUPS["top length"][length]["adjective"]) if length else ""
            caption = reading.replaced(lengths[0], words, also=(noun, new))
    else:
        caption = reading.replaced(noun, new)
    thing = articles(f"a {new}")
    said = rng.choice(
        (
            f"make it {thing}",
            f"turn it into {thing}",
            f"{thing} instead of the {noun.text}",
            f"show me {thing} like this",
            f"as {thing}",
        )
    )
    return Change("top", "direct addressing", said, articles(caption))


def _change_thing(reading: Reading, rng: random.Random) -> Change | None:
    piece = rng.choice(reading.of("thing"))
    taken = {other.sense.value for other in reading.of("thing")}
    value = rng.choice([name for name in GROUPS["thing"] if name not in taken])
    new = rng.choice(GROUPS["thing"][value][piece.sense.form])
    thing = new if piece.sense.form == "plural" else articles(f"a {new}")
    said = rng.choice(
        (
            f"replace the {piece.text} with {thing}",
            f"{thing} instead of the {piece.text}",
            f"turn the {piece.text} into {thing}",
            f"swap the {piece.text} for {thing}",
        )
    )
    group = "thing" if piece is reading.first_noun() else "companion"
    return Change(group, "compare and change", said, articles(reading.replaced(piece, new)))


def _change_companion(reading: Reading, rng: random.Random) -> Change | None:
    companion = reading.companion()
    if companion is not None:
        gone = companion.noun.text
        if rng.random() < 0.5:
            said = rng.choice((f"remove the {gone}", f"without the {gone}", f"take the {gone} away", f"no {gone}"))
            return Change("companion", "negation", said, articles(reading.cut(companion.start, companion.stop)))
        new = _new_companion(reading, rng)
        said = rng.choice(
            (f"replace the {gone} with {new}", f"{new} instead of the {gone}", f"swap the {gone} for {new}")
        )
        return Change(
            "companion", "compare and change", said, articles(reading.cut(companion.named, companion.stop, new))
        )
    places = reading.of("place")
    if len(reading.of("thing")) != 1 or not places:
        return None
    new = _new_companion(reading, rng)
    joined = f"{places[0].text} {rng.choice(('next to', 'and', 'with', 'beside'))} {new}"
    them = "them" if reading.of("thing")[0].sense.form == "plural" else "it"
    said = rng.choice((f"add {new}", f"with {new} beside {them}", f"put {new} next to {them}"))
    return Change("companion", "addition", said, articles(reading.replaced(places[0], joined)))


def _new_companion(reading: Reading, rng: random.Random) -> str:
    taken = {other.sense.value for other in reading.of("thing")}
    value = rng.choice([name for name in GROUPS["thing"] if name not in taken])
    colour = rng.choice(GROUPS["colour"][rng.choice(_LIVELY)]["adjective"])
    return articles(f"a {colour} {rng.choice(GROUPS['thing'][value]['noun'])}")


def _change_size(reading: Reading, rng: random.Random) -> Change | None:
    piece = reading.of("size")[0]
    value, new = _another("size", piece.sense.value, "adjective", rng)
    noun = reading.first_noun()
    them = "them" if noun is not None and noun.sense.form == "plural" else "it"
    said = [
        f"make {them} {'bigger' if value == 'large' else 'smaller'}",
        f"{new} instead of {piece.text}",
        f"make {them} {new}",
    ]
    said += [f"make the {noun.text} {new}"] if noun else []
    return Change("size", "comparative", rng.choice(said), articles(reading.replaced(piece, new)))


def _change_count(reading: Reading, rng: random.Random) -> Change | None:
    phrase = reading.counted()
    if phrase is None:
        return None
    order = list(GROUPS["count"])
    old = order.index(phrase.count)
    new = rng.choice([i for i in range(len(order)) if i != old])
    forms = GROUPS["thing"][phrase.noun.sense.value]
    noun = rng.choice(forms["noun" if new == 0 else "plural"])
    number = (
        rng.choice((*GROUPS["count"][order[new]]["adjective"], "a"))
        if new == 0
        else rng.choice(GROUPS["count"][order[new]]["adjective"])
    )
    said = [
        f"{order[new]} of them",
        f"{order[new]} {noun} instead of {phrase.count}",
        f"there should be {order[new]} {noun}",
        f"make it {order[new]}",
    ]
    said += ["add one more"] if new == old + 1 else ["take one away"] if new == old - 1 else []
    return Change("count", "cardinality", rng.choice(said), articles(reading.recounted(phrase, number, noun)))


def _change_place(reading: Reading, rng: random.Random) -> Change | None:
    piece = reading.of("place")[0]
    value, new = _another("place", piece.sense.value, "phrase", rng)
    noun = reading.first_noun()
    them = "them" if noun is not None and noun.sense.form == "plural" else "it"
    to = "to the " + value.rsplit(" ", 1)[1]
    said = (f"move {them} {to}", f"put {them} {new}", f"{new} instead of {piece.text}", new)
    return Change("place", "spatial and background", rng.choice(said), reading.replaced(piece, new))


def _change_setting(reading: Reading, rng: random.Random) -> Change | None:
    piece = reading.of("setting")[0]
    value, new = _another("setting", piece.sense.value, "phrase", rng)
    noun = reading.first_noun()
    them = "them" if noun is not None and noun.sense.form == "plural" else "it"
    background = rng.choice(GROUPS["setting"][value]["noun"])
    said = (
        f"{new} instead",
        f"put {them} {new}",
        f"change the background to {background}",
        f"{new} instead of {piece.text}",
    )
    return Change("setting", "spatial and background", rng.choice(said), reading.replaced(piece, new))
