"""Query vectors of queries that come again: the next page, another filter or limit, the same query of another caller.

What is cached is the composed vector, not the results: the store is searched each time, so that every item that was
written, changed or deleted shows at once. A query that names no composer is answered from the cache only by the
composer that answers now, of which a gateway is never less sure than two seconds; never while a rollout splits queries
or has a shadow.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from services.search.composer.embedding_cache import ENTRY_BYTES
from services.search.composer.messages import Composed, Vector
from services.search.rpc.query import SearchQuery

if TYPE_CHECKING:
    from cachetools import LRUCache

_ANSWERING_S = 2.0
"""For how long a gateway remembers which composer answers."""
Count = Callable[[Literal["hit", "miss"]], None]


@dataclass(slots=True)
class QueryCache:
    """An LRU of query vectors. For one event loop.

    Args:
        max_bytes: its size; 0: no cache.
        answering: the composer that answers every query that names none; empty: it depends on the query.
        count: called for each query.
        clock: seconds.
    """

    max_bytes: int
    answering: Callable[[], Awaitable[str]]
    count: Count
    clock: Callable[[], float] = time.monotonic
    _entries: LRUCache[bytes, Composed] | None = field(init=False, default=None)
    _answering: tuple[float, str] = field(init=False, default=(float("-inf"), ""))

    def __post_init__(self) -> None:
        if self.max_bytes:
            from cachetools import LRUCache

            self._entries = LRUCache(self.max_bytes, getsizeof=lambda each: ENTRY_BYTES + each.vector.nbytes)

    def key(self, query: SearchQuery, vectors: Mapping[str, Vector]) -> bytes:
        """Under which the vector of a query is kept (:func:`key_of`); empty where there is no cache."""
        return b"" if self._entries is None else key_of(query, vectors)

    async def get(self, key: bytes, composer: str) -> Composed | None:
        """The vector of the query of a key, which names this composer or none; there is no time in it."""
        if self._entries is None:
            return None
        found = self._entries.get(key)
        if found is not None and not composer:
            answers = await self._answers()
            found = found if answers and found.composer == answers else None
        self.count("miss" if found is None else "hit")
        return found

    def put(self, key: bytes, composed: Composed) -> None:
        """Keep the vector of the query of a key."""
        if self._entries is None or composed.shadow or not composed.repeatable:
            return
        if composed.vector.nbytes + ENTRY_BYTES > self.max_bytes:
            return
        vector_D = composed.vector.copy()  # it may be a row of a batch
        self._entries[key] = replace(composed, vector=vector_D, queue_s=0.0, compose_s=0.0)

    async def _answers(self) -> str:
        asked, name = self._answering
        now = self.clock()
        if now - asked > _ANSWERING_S:
            name = await self.answering()
            self._answering = now, name
        return name


def key_of(query: SearchQuery, vectors: Mapping[str, Vector]) -> bytes:
    """What the query vector depends on, as a hash: the turns with their pictures and vectors, and the named composer.

    An indexed item counts with its id, since its thumbnail may be read, and with its vector, which its picture decides.
    """
    digest = hashlib.blake2b(digest_size=32)

    def add(kind: str, *values: object, data: bytes = b"") -> None:
        head = json.dumps([kind, *values, len(data)]).encode()
        digest.update(b"%d:" % len(head) + head + data)

    add("query", query.composer, query.collection)
    for turn in query.turns:
        add("turn", [(edit.text, edit.weight, edit.negative) for edit in turn.edits])
        for each in turn.references:
            if each.image is not None:
                add("image", each.weight, data=each.image)
            elif each.item_id is not None:
                add("item", each.weight, each.item_id, data=vectors[each.item_id].tobytes())
            elif each.vector is not None:
                add("vector", each.weight, data=each.vector.tobytes())
        for name, item_ids in (("like", turn.like), ("dislike", turn.dislike)):
            for item_id in item_ids:
                add(name, item_id, data=vectors[item_id].tobytes())
    return digest.digest()
