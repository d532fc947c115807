"""API keys of SCOT's services, and the file of the keys that a service accepts.

A keys file has a line for each key: the sha256 of the key in hex, then ``WORD=VALUE`` in any order; ``#`` starts a
comment. The default role is read; without a rate the number of requests is not limited, and without collections a key
opens all of them::

    2bb80d537b1da3e3… name=shop role=read rate=50 burst=100
    97f0cc12ab1e77d0… name=acme role=read-write byte_rate=2000000 collections=acme,acme-* items=100000
"""

from __future__ import annotations

import codecs
import hashlib
import math
import re
import secrets
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from scot.errors import InvalidInput

Role: TypeAlias = Literal["read", "read-write"]
ROLES: tuple[Role, ...] = get_args(Role)

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII | re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")
_PREFIX = "scot_"
_PATTERN = re.compile(r"[A-Za-z0-9*?][A-Za-z0-9_.\-*?]{0,127}")
_WORDS = ("name", "role", "rate", "burst", "byte_rate", "collections", "items")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One line of a keys file.

    Raises:
        InvalidInput: a field is malformed; the message names it.
    """

    digest: bytes
    """The sha256 of the key: 32 bytes."""
    name: str
    """Who has the key, for logs."""
    role: Role = "read"
    """``read`` allows to search, encode and list; ``read-write`` also to store and delete items."""
    rate: float | None = None
    """Requests per second, on average; None: no limit."""
    burst: float | None = None
    """Requests at once after a pause; by default those of one second, at least one."""
    collections: tuple[str, ...] = ()
    """The names of the collections that the key opens, or patterns with ``*`` and ``?``; empty: all."""
    items: int | None = None
    """The most items of a collection to which the key may add; None: no limit."""
    byte_rate: float | None = None
    """Bytes of requests per second, on average over a minute; None: no limit."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput("name must be 1 to 64 letters, digits, dots, dashes or underscores")
        if self.role not in ROLES:
            raise InvalidInput(f"role must be one of {', '.join(ROLES)}")
        if self.rate is None and self.burst is not None:
            raise InvalidInput("burst needs a rate")
        if self.rate is not None and not (math.isfinite(self.rate) and self.rate > 0):
            raise InvalidInput("rate must be a number of requests per second above 0")
        if self.burst is not None and not (math.isfinite(self.burst) and self.burst >= 1):
            raise InvalidInput("burst must be at least 1 request")
        if self.byte_rate is not None and not (math.isfinite(self.byte_rate) and self.byte_rate > 0):
            raise InvalidInput("byte_rate must be a number of bytes per second above 0")
        for pattern in self.collections:
            if not _PATTERN.fullmatch(pattern):
                raise InvalidInput(
                    "collections must be names of collections, with commas between; * and ? match others"
                )
        if self.items is not None and self.items < 0:
            raise InvalidInput("items must be a number of items of at least 0")

    def opens(self, collection: str) -> bool:
        """Whether the key opens a collection."""
        return not self.collections or any(fnmatchcase(collection, pattern) for pattern in self.collections)

    @property
    def only_collection(self) -> str:
        """The one collection that the key opens; empty if it may open several."""
        name = self.collections[0] if len(self.collections) == 1 else ""
        return "" if set(name) & set("*?") else name

    @property
    def line(self) -> str:
        """The line of the file."""
        given = {
            "name": self.name, "role": self.role, "rate": self.rate, "burst": self.burst, "byte_rate": self.byte_rate,
            "collections": ",".join(self.collections) or None, "items": self.items,
        }  # fmt: skip
        words = [
            f"{word}={value:.15g}" if isinstance(value, float) else f"{word}={value}"
            for word, value in given.items()
            if value is not None
        ]
        return " ".join([self.digest.hex(), *words])


def new_key() -> str:
    """A key of 256 random bits."""
    return f"{_PREFIX}{secrets.token_urlsafe(32)}"


def digest_of(key: str) -> bytes:
    """What a service stores of a key. A plain sha256 is enough, because nobody can try out 256 random bits."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def text_of(content: bytes) -> str:
    """The text of a file that a shell or an editor wrote: UTF-8, or UTF-16 with its byte-order mark.

    Raises:
        UnicodeError: it is neither.
    """
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf16 else "utf-8-sig")


def key_of(text: str) -> str:
    """The key within a text that may have blanks around it, or be the value of a header: ``Bearer KEY``."""
    return re.sub(r"^bearer\s+", "", text.strip(), flags=re.IGNORECASE)


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """The keys of a file.

    Raises:
        InvalidInput: it cannot be read, or a line is malformed. The message has the number of the line and not its
            text, which may be a key in place of its digest.
    """
    try:
        lines = text_of(path.read_bytes()).splitlines()
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the file of API keys {path} cannot be read") from error
    keys: list[ApiKey] = []
    for number, line in enumerate(lines, 1):
        if not (words := line.partition("#")[0].split()):
            continue
        try:
            key = _key(words)
            if any(key.digest == other.digest or key.name == other.name for other in keys):
                raise InvalidInput("it has the name or the digest of an earlier line")
        except InvalidInput as error:
            raise InvalidInput(f"line {number} of the file of API keys {path}: {error}") from error
        keys.append(key)
    return tuple(keys)


def _key(words: list[str]) -> ApiKey:
    first, *rest = words
    if not _DIGEST.fullmatch(first):
        if first.lower() == "bearer" or first.startswith(_PREFIX):
            raise InvalidInput(
                "it must begin with the sha256 of a key, not with the key; `scot keys new` prints the line"
            )
        raise InvalidInput("it must begin with the sha256 of a key, 64 hex digits")
    given = dict(word.split("=", 1) for word in rest if "=" in word)
    if len(given) != len(rest) or not given.keys() <= set(_WORDS):
        raise InvalidInput(f"after the digest may come each of {', '.join(f'{word}=' for word in _WORDS)} once")
    try:
        numbers = {word: float(given[word]) for word in ("rate", "burst", "byte_rate") if word in given}
    except ValueError:
        raise InvalidInput("rate, burst and byte_rate must be numbers") from None
    if not re.fullmatch("[0-9]+", items := given.get("items", "0"), re.ASCII):
        raise InvalidInput("items must be a number of items of at least 0")
    digest = bytes.fromhex(first)
    return ApiKey(
        digest,
        given.get("name", digest.hex()[:8]),
        given.get("role", "read"),  # type: ignore[arg-type]  # checked when the key is made
        **numbers,
        collections=tuple(given["collections"].split(",")) if "collections" in given else (),
        items=int(items) if "items" in given else None,
    )
