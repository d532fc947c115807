"""Filters as text: what each form means, and where an error is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from scot.errors import InvalidInput
from scot.index.filter_text import parse_filter
from scot.index.filters import DatetimeRange, Exists, Filter, Match, MatchAny, MatchText, Range


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("colour=red", Filter(must=(Match("colour", "red"),))),
        ("price<20 and colour=red", Filter(must=(Range("price", lt=20.0), Match("colour", "red")))),
        ("price >= -1.5e2 AND price <= .5", Filter(must=(Range("price", gte=-150.0), Range("price", lte=0.5)))),
        ("stock > 0", Filter(must=(Range("stock", gt=0.0),))),
        ("year=2020", Filter(must=(Match("year", 2020),))),
        ("year='2020'", Filter(must=(Match("year", "2020"),))),
        ("price == 2.5", Filter(must=(Range("price", gte=2.5, lte=2.5),))),
        ("number=9223372036854775808", Filter(must=(Range("number", gte=2.0**63, lte=2.0**63),))),
        ("sold=true and new='true'", Filter(must=(Match("sold", True), Match("new", "true")))),
        ("sold=False", Filter(must=(Match("sold", False),))),
        ("colour != red", Filter(must_not=(Match("colour", "red"),))),
        ("not not colour != red", Filter(must_not=(Match("colour", "red"),))),
        ("not price<20", Filter(must_not=(Range("price", lt=20.0),))),
        ("sold exists and not size exists", Filter(must=(Exists("sold"),), must_not=(Exists("size"),))),
        ("colour=red or colour=blue", Filter(should=(Match("colour", "red"), Match("colour", "blue")))),
        ("a=1 and (b=2 or c=3)", Filter(must=(Match("a", 1),), should=(Match("b", 2), Match("c", 3)))),
        ("b=2 or (c=3 or not d exists)", Filter(should=(Match("b", 2), Match("c", 3), Exists("d", False)))),
        ("not (a=1 or b=2)", Filter(must_not=(Match("a", 1), Match("b", 2)))),
        ("not (a!=1 and b!=2)", Filter(should=(Match("a", 1), Match("b", 2)))),
        ("not (a!=1 or b=2)", Filter(must=(Match("a", 1),), must_not=(Match("b", 2),))),
        ('"in stock"="dark \\"red\\""', Filter(must=(Match("in stock", 'dark "red"'),))),
        ("size.eu='it\\'s'", Filter(must=(Match("size.eu", "it's"),))),
        ("'and'=\"or\"", Filter(must=(Match("and", "or"),))),
        ("farbe=grün and 色=红", Filter(must=(Match("farbe", "grün"), Match("色", "红")))),
        ("name=a-b and file-type=x/y.png", Filter(must=(Match("name", "a-b"), Match("file-type", "x/y.png")))),
        ("((a=1))", Filter(must=(Match("a", 1),))),
        ("colour in (red, blue)", Filter(must=(MatchAny("colour", ("red", "blue")),))),
        ("a in (1,'x, y' , true) and b=2", Filter(must=(MatchAny("a", (1, "x, y", True)), Match("b", 2)))),
        ("not a in (1) and in='in'", Filter(must=(Match("in", "in"),), must_not=(MatchAny("a", (1,)),))),
        ("a in (x) or b=1", Filter(should=(MatchAny("a", ("x",)), Match("b", 1)))),
        ('title ~ "red shirt"', Filter(must=(MatchText("title", "red shirt"),))),
        ("title~'red' or note ~ blue", Filter(should=(MatchText("title", "red"), MatchText("note", "blue")))),
        ("a=x,y and file=~/a~b", Filter(must=(Match("a", "x,y"), Match("file", "~/a~b")))),
        ("made>=2024-05-17", Filter(must=(DatetimeRange("made", gte=datetime(2024, 5, 17)),))),
        ("made<'2024-05-17 09:30'", Filter(must=(DatetimeRange("made", lt=datetime(2024, 5, 17, 9, 30)),))),
        ("made>2024-05-17T09:00:00Z", Filter(must=(DatetimeRange("made", gt=datetime(2024, 5, 17, 9, tzinfo=UTC)),))),
    ],
)  # fmt: skip
def test_what_a_text_means(text: str, expected: Filter) -> None:
    assert parse_filter(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("price<", "expected a value after \"<\", found its end at character 7"),
        ("price", "expected = != < <= > >= ~ in or exists after \"price\", found its end at character 6"),
        ("price<20 colour=red", "expected \"and\" or \"or\", found 'colour' at character 10"),
        ("colour=dark red", "expected \"and\" or \"or\", found 'red' at character 13"),
        ("price<cheap", "expected a number or a date after \"<\", found 'cheap' at character 7"),
        ("price<'20'", "expected a number or a date after \"<\", found '20' at character 7"),
        ("price<true", "expected a number or a date after \"<\", found 'true' at character 7"),
        ("a=1 and", "expected a field, as in price<20 or colour=\"dark red\", found its end at character 8"),
        ("a=1 and and b=2", "found 'and' at character 9"),
        ("and", "found 'and' at character 1"),
        ("=3", "found '=' at character 1"),
        ("a==", "expected a value after \"==\", found its end at character 4"),
        ("a=<3", "expected a value after \"=\", found '<' at character 3"),
        ("(a=1", "expected \")\", found its end at character 5"),
        ("a=1)", "expected \"and\" or \"or\", found ')' at character 4"),
        ("()", "found ')' at character 2"),
        ("not", "found its end at character 4"),
        ("colour='red", "a quote is not closed, at character 8"),
        ("a ! b", "'!' means nothing here, at character 3"),
        ("(a=1 or b=2) and (c=3 or d=4)", "a second group of alternatives (\"or\") at character 19"),
        ("a=1 and b=2 or c=3", "the alternatives at character 1 must be plain comparisons"),
        ("x=1 and (a!=1 or b=2)", "the alternatives at character 10 must be plain comparisons"),
        ("not (a=1 and b=2)", "the alternatives at character 1 must be plain comparisons"),
        ("", "found its end at character 1"),
        ("a in x", "expected \"(\" after \"in\", found 'x' at character 6"),
        ("a in ()", "expected a value, found ')' at character 7"),
        ("a in (1,", "expected a value, found its end at character 9"),
        ("a in (1 2)", "expected \",\" or \")\", found '2' at character 9"),
        ("a in (,1)", "expected a value, found ',1' at character 7"),
        ("a in (1.5)", "expected text, an integer, true or false, found '1.5' at character 7"),
        ("a in (1", "expected \",\" or \")\", found its end"),
        ("title ~", "expected a value after \"~\""),
        ("made<2024-13-01", "expected a number or a date after \"<\", found '2024-13-01' at character 6"),
        ("(" * 100_000, "is nested too deeply"),
    ],
)  # fmt: skip
def test_an_error_points_at_its_place(text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_filter(text)
    assert str(refused.value).startswith("filter: ")
    assert message in str(refused.value)
