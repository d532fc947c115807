"""The client of a SCOT service.

>>> from scot.client import ScotClient                                             # doctest: +SKIP
>>> with ScotClient("localhost:9000") as client:                                   # doctest: +SKIP
...     for hit in client.search(image="cat.png", edits="make it red").hits:
...         print(hit.item_id, hit.score)

:class:`AsyncScotClient` has the same methods, to be awaited. Every method raises what :mod:`scot.errors` names:
``InvalidInput`` (the message says which field), ``NotFound``, ``EncoderMismatch``, ``Overloaded``,
``DeadlineExceeded``, ``Unavailable`` when no service answers, and so on.
"""

from __future__ import annotations

from scot.client._async import AsyncScotClient
from scot.client._sync import ScotClient
from scot.client._types import (
    CollectionInfo,
    ComposerInfo,
    Encoded,
    Facets,
    FacetValue,
    Hit,
    HitGroup,
    ListedItem,
    NewItem,
    Picture,
    Query,
    Reference,
    Refused,
    Rerank,
    SearchResult,
    StoredItem,
    Turn,
    UpsertResult,
)
from scot.edit import Edit
from scot.index.filters import DatetimeRange, Exists, Filter, Match, MatchAny, MatchText, Range
from scot.index.origin import Origin

__all__ = [
    "AsyncScotClient",
    "CollectionInfo",
    "ComposerInfo",
    "DatetimeRange",
    "Edit",
    "Encoded",
    "Exists",
    "FacetValue",
    "Facets",
    "Filter",
    "Hit",
    "HitGroup",
    "ListedItem",
    "Match",
    "MatchAny",
    "MatchText",
    "NewItem",
    "Origin",
    "Picture",
    "Query",
    "Range",
    "Reference",
    "Refused",
    "Rerank",
    "ScotClient",
    "SearchResult",
    "StoredItem",
    "Turn",
    "UpsertResult",
]
