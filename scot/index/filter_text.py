"""Filters as text: ``price<20 and colour=red and not (sold=true or "in stock" exists)``.

A comparison is ``FIELD OP VALUE`` with one of ``= != < <= > >=``, ``FIELD in (VALUE, VALUE)``, ``FIELD ~ "WORDS"`` (a
text that has every word), or ``FIELD exists``. A value is a number, ``true``, ``false``, or text; quotes (single or
double, a backslash before a quote within) make any field or value one text. After ``< <= > >=`` there may be a date, or
a date and time: ``made>=2024-05-17 and made<2024-05-17T09:30:00Z``; UTC is meant without a zone.
``not`` binds before ``and``, ``and`` before ``or``; parentheses group. A filter of the service holds conditions that
all must be true, conditions that all must be false, and one group of alternatives; other combinations are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NoReturn, TypeAlias

from scot.errors import InvalidInput
from scot.index.filters import Condition, DatetimeRange, Exists, Filter, Match, MatchAny, MatchText, Range

_TOKEN = re.compile(
    r"""\s*(?:(?P<operator><=|>=|!=|==|[=<>]|~(?=\s*["']))|(?P<bracket>[()])
    |"(?P<double>(?:\\.|[^"\\])*)"|'(?P<single>(?:\\.|[^'\\])*)'|(?P<word>(?:[^\s()=<>!"'~]|~(?!\s*["']))+))""",
    re.VERBOSE,
)
_BOUNDS = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_INT64 = 2**63


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # operator, bracket, word or quoted
    text: str
    place: int  # of its first character, from 1

    def is_word(self, word: str) -> bool:
        return self.kind == "word" and self.text.lower() == word


@dataclass(frozen=True, slots=True)
class _Not:
    part: _Expression


@dataclass(frozen=True, slots=True)
class _All:
    parts: list[_Expression]


@dataclass(frozen=True, slots=True)
class _Any:
    parts: list[_Expression]
    place: int


_Expression: TypeAlias = "Condition | _Not | _All | _Any"


def parse_filter(text: str) -> Filter:
    """The filter that a text describes.

    Raises:
        InvalidInput: it is malformed, or is more than a filter can hold; the message says at which character.
    """
    parser = _Parser(_tokens(text), len(text) + 1)
    try:
        expression = parser.either()
        if parser.token is not None:
            parser.refuse('"and" or "or"')
        return _Collected().add(expression).filter()
    except RecursionError:
        raise InvalidInput("filter: it is nested too deeply") from None


def _tokens(text: str) -> list[_Token]:
    tokens, end = [], 0
    while text[end:].strip():
        found = _TOKEN.match(text, end)
        if found is None or found.lastgroup is None:
            place = end + len(text[end:]) - len(text[end:].lstrip()) + 1
            reason = "a quote is not closed" if text[place - 1] in "\"'" else f"{text[place - 1]!r} means nothing here"
            raise InvalidInput(f"filter: {reason}, at character {place}")
        kind, value = found.lastgroup, found[found.lastgroup]
        quoted = kind in ("double", "single")
        start = found.start(kind) + (0 if quoted else 1)
        tokens.append(_Token("quoted", re.sub(r"\\(.)", r"\1", value), start) if quoted else _Token(kind, value, start))
        end = found.end()
    return tokens


class _Parser:
    """A recursive descent over the tokens."""

    def __init__(self, tokens: list[_Token], end: int) -> None:
        self._tokens, self._next, self._end = tokens, 0, end

    @property
    def token(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def refuse(self, expected: str) -> NoReturn:
        token = self.token
        found = f"{token.text!r} at character {token.place}" if token else f"its end at character {self._end}"
        raise InvalidInput(f"filter: expected {expected}, found {found}")

    def either(self) -> _Expression:
        place = self.token.place if self.token else self._end
        parts = [self._both()]
        while self._take("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else _Any(parts, place)

    def _both(self) -> _Expression:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else _All(parts)

    def _one(self) -> _Expression:
        if self._take("not"):
            return _Not(self._one())
        if self.token == _Token("bracket", "(", self.token.place if self.token else 0):
            self._next += 1
            inner = self.either()
            if self.token is None or self.token.text != ")":
                self.refuse('")"')
            self._next += 1
            return inner
        return self._comparison()

    def _comparison(self) -> _Expression:
        field = self._text('a field, as in price<20 or colour="dark red"').text
        if self._take("exists"):
            return Exists(field)
        if self._take("in"):
            return MatchAny(field, self._listed())
        if self.token is None or not (self.token.kind == "operator" or self.token.is_word("~")):
            self.refuse(f'= != < <= > >= ~ in or exists after "{field}"')
        operator = self.token.text
        self._next += 1
        place = self._next
        token = self._text(f'a value after "{operator}"')
        if operator == "~":
            return MatchText(field, token.text)
        value = _value(token)
        if operator in _BOUNDS:
            bound = _BOUNDS[operator]
            time = _time(value) if isinstance(value, str) else None
            if isinstance(value, bool) or (isinstance(value, str) and time is None):
                self._next = place
                self.refuse(f'a number or a date after "{operator}"')
            return DatetimeRange(field, **{bound: time}) if time is not None else Range(field, **{bound: float(value)})
        if isinstance(value, float) or (isinstance(value, int) and not -_INT64 <= value < _INT64):
            equal: Condition = Range(field, gte=float(value), lte=float(value))
        else:
            equal = Match(field, value)
        return _Not(equal) if operator == "!=" else equal

    def _listed(self) -> tuple[str | int, ...]:
        """The values of a list in parentheses; a word may have commas at its ends and within."""
        if self.token is None or self.token.kind != "bracket" or self.token.text != "(":
            self.refuse('"(" after "in"')
        self._next += 1
        values: list[str | int] = []
        expected = "a value"
        while self.token is not None and self.token.kind in ("word", "quoted"):
            token = self.token
            parts = [token.text] if token.kind == "quoted" else re.findall(",|[^,]+", token.text)
            for part in parts:
                comma = part == "," and token.kind == "word"
                if comma != (expected != "a value"):
                    self.refuse(expected)
                if not comma:
                    value = _value(replace(token, text=part))
                    if isinstance(value, float) or (isinstance(value, int) and not -_INT64 <= value < _INT64):
                        self.refuse("text, an integer, true or false")
                    values.append(value)
                expected = "a value" if comma else '"," or ")"'
            self._next += 1
        if expected == "a value" or self.token is None or self.token.text != ")":
            self.refuse(expected)
        self._next += 1
        return tuple(values)

    def _text(self, expected: str) -> _Token:
        token = self.token
        if token is None or token.kind not in ("word", "quoted") or any(map(token.is_word, ("and", "or", "not"))):
            self.refuse(expected)
        self._next += 1
        return token

    def _take(self, word: str) -> bool:
        taken = self.token is not None and self.token.is_word(word)
        self._next += taken
        return taken


def _value(token: _Token) -> str | int | float | bool:
    if token.kind == "quoted":
        return token.text
    if token.text.lower() in ("true", "false"):
        return token.text.lower() == "true"
    if re.fullmatch(r"[+-]?\d+", token.text, re.ASCII):
        return int(token.text)
    if re.fullmatch(r"[+-]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d{1,2})?", token.text, re.ASCII):
        return float(token.text)
    return token.text


def _time(text: str) -> datetime | None:
    """The date, or date and time, that a text is in ISO 8601."""
    try:
        return datetime.fromisoformat(text) if re.match(r"\d{4}-\d\d-\d\d", text) else None
    except ValueError:
        return None


@dataclass(slots=True)
class _Collected:
    """The parts of a filter."""

    must: list[Condition] = field(default_factory=list)
    must_not: list[Condition] = field(default_factory=list)
    should: list[Condition] = field(default_factory=list)

    def add(self, expression: _Expression, *, negated: bool = False, place: int = 1) -> _Collected:
        """Add what must be true, or with ``negated`` false."""
        match expression:
            case _Not(part):
                self.add(part, negated=not negated, place=place)
            case _All(parts) if not negated:
                for part in parts:
                    self.add(part, place=place)
            case _Any(parts, place) if negated:
                for part in parts:
                    self.add(part, negated=True, place=place)
            case _Any(parts, place):
                self._alternatives(parts, place)
            case _All(parts):
                self._alternatives([_Not(part) for part in parts], place)
            case _:
                (self.must_not if negated else self.must).append(expression)
        return self

    def filter(self) -> Filter:
        return Filter(must=tuple(self.must), should=tuple(self.should), must_not=tuple(self.must_not))

    def _alternatives(self, parts: list[_Expression], place: int) -> None:
        if self.should:
            raise InvalidInput(
                f'filter: a second group of alternatives ("or") at character {place}; a filter can hold only one'
            )
        self.should += [each for part in parts for each in _alternatives(part, place)]


def _alternatives(part: _Expression, place: int) -> list[Condition]:
    match part:
        case _Not(Exists(name, exists)):
            return [Exists(name, not exists)]
        case _Not(_Not(inner)):
            return _alternatives(inner, place)
        case _Any(parts, _):
            return [each for inner in parts for each in _alternatives(inner, place)]
        case Match() | MatchAny() | MatchText() | Range() | DatetimeRange() | Exists():
            return [part]
    raise InvalidInput(
        f'filter: the alternatives at character {place} must be plain comparisons, without "and", "not" and "!="'
    )
