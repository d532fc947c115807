"""The file system of a path or URL: fsspec's, opened as SCOT needs it."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from scot.data.read_ahead import AT_ONCE
from scot.data.remote_errors import EXTRAS, reaching
from scot.errors import InvalidInput

_URL = re.compile(r"[a-z][a-z0-9+.-]*(://|::[a-z])", re.IGNORECASE)
_CONNECTIONS = 2 * AT_ONCE
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory"})


def is_url(name: str | Path) -> bool:
    """Whether a name is a URL and not a local path."""
    return isinstance(name, str) and _URL.match(name) is not None


def is_object_store(url: str) -> bool:
    """Whether a file appears with all of its content where it is put, without a folder that is made before."""
    return url.partition("://")[0].lower() in _OBJECT_STORES


def filesystem(url: str | Path) -> Any:
    """The file system of a path or URL.

    Raises:
        InvalidInput: none is known for the URL, or its package is not installed.
    """
    protocol, _, rest = str(url).partition("://") if is_url(url) else ("file", "", "")
    if "::" in protocol or "::" in rest:
        raise InvalidInput(f"{url} is a file system inside another, which cannot be streamed: unpack it")
    return _filesystem(protocol.lower())


@lru_cache
def _filesystem(protocol: str) -> Any:
    import fsspec  # here: the client alone is installed without it

    if protocol not in fsspec.registry and protocol not in fsspec.available_protocols():
        known = ", ".join(f"{name}://" for name in EXTRAS)
        raise InvalidInput(f"there is no file system {protocol}://; known are {known} and what else fsspec has")
    with reaching(f"{protocol}://"):
        return fsspec.filesystem(protocol, **_options(protocol))


def _options(protocol: str) -> dict[str, Any]:
    """How a file system is opened; what a user has configured for fsspec comes first."""
    import fsspec

    if protocol in ("file", "local"):
        return {}
    options: dict[str, Any] = {"use_listings_cache": False}  # a source may change between two looks
    if protocol in ("s3", "s3a"):
        options["config_kwargs"] = {"max_pool_connections": _CONNECTIONS}
    return {name: value for name, value in options.items() if name not in fsspec.config.conf.get(protocol, {})}
