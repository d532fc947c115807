"""Requests for single pictures that come at the same time, as one gRPC call.

A page asks for each thumbnail by itself. As a call each they would count one by one against the rate of the page's key,
and each would cost the gateway a call.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from scot.v1 import index_pb2
from services.web.calls import Call
from services.web.methods import BY_NAME
from services.web.problems import Problem
from services.web.upstream import Metadata, Upstream

MAX_IDS = 64
"""Of one GetPictures call: the limit of the contract."""
_WAIT_S = 0.003
_METHOD = BY_NAME["GetPictures"]

Found = index_pb2.Picture | Problem | None
"""What one item has: a picture, none, or why it cannot be had."""


@dataclass
class _Batch:
    task: asyncio.Task[dict[str, Found]]
    ids: dict[str, None] = field(default_factory=dict)


class Thumbnails:
    """Gets pictures; requests with the same key for the same collection within 3 ms are one call.

    A request that names itself, by ``x-request-id`` or a trace, is a call of its own, so that it can be found in the
    logs and traces of both services.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._open: dict[tuple[str, str], _Batch] = {}

    async def get(self, item_id: str, collection: str, call: Call) -> index_pb2.Picture | None:
        """The picture of an item, or None if there is none. Raises Problem."""
        if call.named:
            return (await self._call([item_id], collection, call.metadata)).get(item_id)
        key = (collection, call.authorization)
        batch = self._open.get(key)
        if batch is None or (len(batch.ids) == MAX_IDS and item_id not in batch.ids):
            ids: dict[str, None] = {}
            batch = _Batch(asyncio.create_task(self._send(key, ids, call.metadata)), ids)
            self._open[key] = batch
        batch.ids[item_id] = None
        found = (await asyncio.shield(batch.task))[item_id]  # a client that leaves takes nothing from the others
        if isinstance(found, Problem):
            raise found
        return found

    async def _send(self, key: tuple[str, str], ids: dict[str, None], metadata: Metadata) -> dict[str, Found]:
        """What each of the ids has, once a moment has passed."""
        await asyncio.sleep(_WAIT_S)
        if key in self._open and self._open[key].ids is ids:  # a full one has been replaced
            del self._open[key]
        try:
            found = await self._call(list(ids), key[0], metadata)
        except Problem as problem:
            if len(ids) == 1 or not problem.detail.startswith("item_ids["):
                return dict.fromkeys(ids, problem)
            alone = (self._alone(item_id, key[0], metadata) for item_id in ids)  # one of them is malformed
            return dict(zip(ids, await asyncio.gather(*alone), strict=True))
        return {item_id: found.get(item_id) for item_id in ids}

    async def _alone(self, item_id: str, collection: str, metadata: Metadata) -> Found:
        try:
            return (await self._call([item_id], collection, metadata)).get(item_id)
        except Problem as problem:
            return problem

    async def _call(self, ids: list[str], collection: str, metadata: Metadata) -> dict[str, index_pb2.Picture]:
        message = index_pb2.GetPicturesRequest(collection=collection, item_ids=ids)
        response = await self._upstream.call(_METHOD, message, metadata)
        return {picture.item_id: picture for picture in response.pictures}
