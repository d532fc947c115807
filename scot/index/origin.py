"""Where an item's picture was indexed from, stored beside the payload under the key ``_scot_origin``."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from scot.v1 import search_pb2


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a picture was indexed from, and what tells whether it has changed since."""

    source: str
    """The indexed folder or data set: an absolute path or a URL."""
    path: str
    """The picture's path within the source, or its URL; absolute if it is elsewhere, empty inside a table."""
    size: int = 0
    """Bytes of the encoded picture."""
    modified_ns: int = 0
    """When its file was last modified, in nanoseconds since 1970; 0 where there is no file."""
    sha256: str = ""
    """The SHA-256 of the encoded picture, in hexadecimal."""
    metadata: str = ""
    """A digest of its captions and payload."""

    @property
    def location(self) -> str:
        """The path or URL of the picture, where it is a file of its own."""
        return self.path if "://" in self.path else posixpath.join(self.source, self.path).rstrip("/")

    def to_json(self) -> dict[str, Any]:
        """The origin as JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: object) -> Origin | None:
        """What :meth:`to_json` returned; None for anything else."""
        if not isinstance(stored, Mapping):
            return None
        known = {each.name: stored[each.name] for each in fields(cls) if each.name in stored}
        return cls(**known) if {"source", "path"} <= known.keys() else None


def origin_to_proto(origin: Origin | None) -> search_pb2.Origin | None:
    """The message of an origin."""
    return None if origin is None else search_pb2.Origin(**asdict(origin))


def origin_from_proto(message: Any) -> Origin | None:
    """The origin of a message that has a field ``origin``, if it is set."""
    if not message.HasField("origin"):
        return None
    return Origin(**{each.name: getattr(message.origin, each.name) for each in fields(Origin)})
