"""API keys: their file, what a service makes of it while it changes, and the rate of each key."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from scot import cli, flags
from scot.client import ScotClient
from scot.errors import InvalidInput, Overloaded, PermissionDenied, Unauthenticated
from scot.keys import ApiKey, digest_of, new_key, read_keys
from services.access import Bucket, Keys, LocalRate


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def line(key: str, words: str = "") -> str:
    return f"{digest_of(key).hex()} {words}\n"


def write(path: Path, text: str) -> None:
    """Replace the file as an editor does: never half of it, and never with the stamp of the one before."""
    (path.parent / "next").write_text(text)
    (path.parent / "next").replace(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.txt"


def test_a_line_says_who_may_do_what_how_often(path: Path) -> None:
    path.write_text(f"# keys\n\n{line('a', 'role=read-write name=shop rate=0.5 burst=3 # since May')}{line('b')}")
    shop, bare = read_keys(path)
    assert shop == ApiKey(digest_of("a"), "shop", "read-write", 0.5, 3.0)
    assert bare == ApiKey(digest_of("b"), digest_of("b").hex()[:8], "read", None, None)
    path.write_text(f"{shop.line}\n{bare.line}\n")
    assert read_keys(path) == (shop, bare)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_the_first_line(path: Path, encoding: str) -> None:
    path.write_text(line("a", "name=shop"), encoding=encoding)
    assert [key.name for key in read_keys(path)] == ["shop"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("scot_a-key-in-the-clear", "line 1 .*must begin with the sha256 of a key, not with the key"),
        ("Bearer a", "line 1 .*must begin with the sha256 of a key, not with the key"),
        (line("a") + line("b", "name=a b"), "line 2 .*may come each of"),
        (line("a", "name=a name=b"), "may come each of"),
        (line("a", "naem=a"), "may come each of"),
        (line("a", "name=a/b"), "name must be"),
        (line("a", "role=admin"), "role must be one of read, read-write"),
        (line("a", "rate=fast"), "must be numbers"),
        (line("a", "byte_rate=1MB"), "must be numbers"),
        (line("a", "byte_rate=0"), "byte_rate must be"),
        (line("a", "rate=nan"), "rate must be"),
        (line("a", "rate=0"), "rate must be"),
        (line("a", "rate=1 burst=0.5"), "burst must be"),
        (line("a", "burst=2"), "burst needs a rate"),
        (line("a", "name=x") + line("b", "name=x"), "line 2 .*earlier line"),
        (line("a", "name=x") + line("a", "name=y"), "line 2 .*earlier line"),
        ("\udcff", "cannot be read"),
        (None, "cannot be read"),
        ("# nobody\n", "contains no key"),
    ],
)
def test_a_damaged_file_is_refused_at_the_start_without_its_text(path: Path, text: str | None, sentence: str) -> None:
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidInput, match=sentence) as raised:
        Keys(path)
    assert "clear" not in str(raised.value)


def test_a_key_opens_what_its_role_allows(path: Path) -> None:
    path.write_text(line("reader", "name=r") + line("writer", "name=w role=read-write"))
    keys = Keys(path)
    assert keys.admit("Bearer reader").key.name == "r"
    assert keys.admit("bearer  writer ").key.name == "w"
    assert keys.admit("Bearer writer", "read-write").key.name == "w"
    with pytest.raises(PermissionDenied, match="is read; the call needs read-write"):
        keys.admit("Bearer reader", "read-write")


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "reader", "Basic reader", "Bearer Reader", "Bearer reader x", "Bearer \udcff"]
)
def test_nobody_else_gets_in(path: Path, given: str) -> None:
    path.write_text(line("reader"))
    with pytest.raises(Unauthenticated):
        Keys(path).admit(given)


def test_a_changed_file_counts_from_the_next_call(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_text(line("old"))
    keys = Keys(path)
    write(path, line("new"))
    assert keys.admit("Bearer new")
    with pytest.raises(Unauthenticated):
        keys.admit("Bearer old")
    for damage in (lambda: write(path, "half a li"), path.unlink):
        caplog.clear()
        damage()
        for _ in range(3):
            assert keys.admit("Bearer new")
        assert [record.levelno for record in caplog.records] == [logging.ERROR]  # logged once, not at every call
        assert "the previous API keys stay valid" in caplog.text
    write(path, "# all are revoked\n")
    with pytest.raises(Unauthenticated):
        keys.admit("Bearer new")


def test_a_bucket_holds_a_burst_and_fills_at_its_rate() -> None:
    clock = Clock()
    bucket = Bucket(rate=2.0, burst=3.0, clock=clock)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    clock.now += 0.49
    assert not bucket.take()
    clock.now += 0.01
    assert [bucket.take(), bucket.take()] == [True, False]
    clock.now += 3600
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def spend(keys: Keys, key: str, size: int = 0) -> None:
    asyncio.run(keys.admit(f"Bearer {key}").spend(lambda: size))


def test_each_key_has_a_rate_of_its_own_that_a_reload_does_not_refill(path: Path) -> None:
    clock = Clock()
    path.write_text(line("a", "rate=2") + line("b", "rate=0.1") + line("c"))
    keys = Keys(path, rate=lambda limit: LocalRate(limit, clock))
    for _ in range(2):
        spend(keys, "a")
    with pytest.raises(Overloaded, match="may make 2 requests a second"):
        spend(keys, "a")
    spend(keys, "b")  # a rate under one a second still lets one through
    for _ in range(1_000):
        spend(keys, "c")
    write(path, line("a", "rate=2") + line("b", "rate=5"))
    with pytest.raises(Overloaded):
        spend(keys, "a")
    spend(keys, "b")
    clock.now += 0.5
    spend(keys, "a")


def test_bytes_are_an_average_over_a_minute(path: Path) -> None:
    clock = Clock()
    path.write_text(line("a", "byte_rate=1000"))
    keys = Keys(path, rate=lambda limit: LocalRate(limit, clock))
    spend(keys, "a", 59_000)
    spend(keys, "a", 0)  # an empty message is a byte
    with pytest.raises(Overloaded, match="may send 1,000 bytes of requests a second"):
        spend(keys, "a", 1_000)
    spend(keys, "a", 999)
    clock.now += 2
    spend(keys, "a", 2_000)


def test_the_command_prints_a_line_and_shows_the_key_once(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        cli.main(["keys", "new", "--name", "shop", "--role", "read-write", "--rate", "50", "--byte-rate", "12345678"])
        == 0
    )
    output, errors = capsys.readouterr()
    path.write_text(output)
    key = errors.split()[-1]
    assert key not in output
    found = Keys(path).admit(f"Bearer {key}", "read-write").key
    assert (found.name, found.role, found.rate, found.burst) == ("shop", "read-write", 50.0, None)
    assert found.byte_rate == 12_345_678
    assert cli.main(["keys", "new", "--name", "the shop"]) == 1
    assert capsys.readouterr().err.startswith("scot keys new: name must be")


def test_keys_are_long_and_never_the_same() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert min(map(len, keys)) >= 43  # 256 bits in base64


def test_a_secret_is_in_a_file_or_the_environment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert flags.secret("API_KEY", None) is None
    monkeypatch.setenv("SCOT_API_KEY", "from-the-environment")
    assert flags.secret("API_KEY", None) == "from-the-environment"
    path.write_text("from-a-file\n")
    assert flags.secret("API_KEY", path) == "from-a-file"
    path.write_text("\n")
    with pytest.raises(InvalidInput, match="is empty"):
        flags.secret("API_KEY", path)
    with pytest.raises(InvalidInput, match="cannot be read"):
        flags.secret("API_KEY", path.parent / "missing")


@pytest.mark.parametrize("key", ["two words", "schlüssel", "line\nbreak"])
def test_a_key_that_no_header_can_carry_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput, match="printable ASCII"):
        ScotClient("localhost:1", api_key=key)
