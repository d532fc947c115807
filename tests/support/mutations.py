"""Requests that are almost right: serialized messages and pictures, damaged by a seeded hand."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from scot.v1 import index_pb2, search_pb2
from tests.support.bad_images import GOOD_IMAGES

SEARCH, INDEX, HEALTH = "/scot.v1.SearchService/", "/scot.v1.IndexService/", "/grpc.health.v1.Health/"
_PICTURES = [data for data in GOOD_IMAGES.values() if len(data) < 20_000]


def requests(seed: int, number: int) -> Iterator[tuple[str, list[bytes]]]:
    """So many calls: the method's path, and the messages to send (one, unless the method takes a stream)."""
    rng = random.Random(seed)
    methods = list(_WRITTEN)
    for _ in range(number):
        method = rng.choice(methods)
        count = rng.randint(1, 4) if method.endswith("Stream") else 1
        yield method, [_damaged(_WRITTEN[method](rng), rng) for _ in range(count)]


def _damaged(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.1:  # only what is inside of it was damaged
        return data
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        data = rng.choice((_flip, _flip, _overwrite, _cut, _drop, _double, _insert, _field))(data, rng)
    return data


def _flip(data: bytes, rng: random.Random) -> bytes:
    if not data:
        return data
    at = int(rng.random() ** 2 * len(data))  # most often near the beginning, where lengths and headers are
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _overwrite(data: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(data))
    noise = rng.choice((rng.randbytes(8), b"\xff" * 8, bytes(8), b"\x80" * 4, b"\xed\xa0\x80"))
    return data[:at] + noise + data[at + len(noise) :]


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randint(0, len(data))]


def _drop(data: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + data[at + rng.randint(1, 16) :]


def _double(data: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(data))
    return data[: at + rng.randint(1, 64)] + data[at:]


def _insert(data: bytes, rng: random.Random) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.randbytes(rng.randint(1, 32)) + data[at:]


def _field(data: bytes, rng: random.Random) -> bytes:
    """A well-formed field at the end: of any number, of any kind."""
    number, body = rng.randint(1, 15), rng.randbytes(rng.randint(0, 40))
    kind = rng.choice((0, 1, 2, 2, 2, 5))
    content = {0: bytes([rng.randrange(128)]), 1: rng.randbytes(8), 2: bytes([len(body)]) + body, 5: rng.randbytes(4)}
    return data + bytes([number << 3 | kind]) + content[kind]


def _picture(rng: random.Random) -> bytes:
    data = rng.choice(_PICTURES)
    return _damaged(data, rng) if rng.random() < 0.7 else data


def _text(rng: random.Random) -> str:
    return rng.choice(
        ("make it red", "", " ", "\0", "é" * 40, "🙂", "word " * 100, "x" * 2_001, "<end_of_text>", "\u202e")
    )


def _name(rng: random.Random) -> str:
    return rng.choice(("", "", "gallery", "v1", "sum", "sum:0.5", "sum:9", "text_only:1", "..", "a/b", "x" * 129))


def _vector(rng: random.Random) -> search_pb2.Vector:
    odd = rng.choice((0.0, 1.0, 3e38, -1e-45, float("nan"), float("inf")))
    return search_pb2.Vector(values=[odd, *[rng.choice((0.0, 1.0))] * rng.choice((30, 31, 31, 31, 32))])


def _condition(rng: random.Random) -> search_pb2.Condition:
    condition = search_pb2.Condition(field=rng.choice(("n", "colour", "", "a b", 'a"', "a[", "a..b", "日", "x" * 257)))
    match rng.randrange(6):
        case 0:
            condition.exists = rng.random() < 0.5
        case 1:
            condition.match.keyword = _text(rng)
        case 2:
            condition.match.integer = rng.choice((0, 2**63 - 1, -(2**63)))
        case 3:
            condition.range.gte = rng.choice((0.0, 1e308, float("nan"), float("-inf")))
        case 4:
            condition.range.SetInParent()
    return condition


def _query(rng: random.Random) -> bytes:
    query = search_pb2.ComposeSearchRequest(composer=_name(rng), collection=rng.choice(("", "", "", _name(rng))))
    match rng.randrange(5):
        case 0 | 1:
            query.reference.image = _picture(rng)
        case 2:
            query.reference.item_id = rng.choice(("red", "nobody", ""))
        case 3:
            query.reference.vector.CopyFrom(_vector(rng))
    for _ in range(rng.choice((0, 1, 1, 2, 9))):
        query.edits.add(text=_text(rng), weight=rng.choice((None, 0.5, 2.0, float("nan"))), negative=rng.random() < 0.2)
    for _ in range(rng.choice((0, 0, 1, 3))):
        rng.choice((query.filter.must, query.filter.should, query.filter.must_not)).append(_condition(rng))
    query.limit, query.offset = rng.choice((0, 1, 1_000, 2**32 - 1)), rng.choice((0, 0, 10_000, 2**31))
    query.with_vectors = rng.random() < 0.3
    return query.SerializeToString()


def _inputs(rng: random.Random) -> bytes:
    request = search_pb2.EncodeRequest()
    for _ in range(rng.choice((0, 1, 3))):
        if rng.random() < 0.5:
            request.inputs.add(image=_picture(rng))
        else:
            request.inputs.add(text=_text(rng))
    return request.SerializeToString()


def _items(rng: random.Random) -> bytes:
    request = index_pb2.UpsertItemsRequest(collection=rng.choice(("fuzz", "fuzz", "gallery:1")))
    for _ in range(rng.choice((0, 1, 3))):
        item = request.items.add(item_id=rng.choice(("a", "b", "", "é\0", "x" * 513)))
        if rng.random() < 0.5:
            item.image = _picture(rng)
        else:
            item.vector.CopyFrom(_vector(rng))
        item.payload.update({_text(rng): rng.choice((1, "x", None, [1, {"a": []}], float("nan"), 1e308))})
    return request.SerializeToString()


def _ids(rng: random.Random) -> bytes:
    ids = rng.choice((["red"], [], ["", "a"], ["a"] * 1_001, ["é\0", "red"]))
    return index_pb2.GetItemsRequest(collection=rng.choice(("", _name(rng))), item_ids=ids).SerializeToString()


def _page(rng: random.Random) -> bytes:
    return index_pb2.ListItemsRequest(
        collection=rng.choice(("", "fuzz", _name(rng))),
        source=rng.choice(("", "/pictures", _text(rng))),
        after=rng.choice(("", "00000000-0000-0000-0000-000000000000", "x", "é\0")),
        limit=rng.choice((0, 1, 1_000, 1_001, 2**32 - 1)),
    ).SerializeToString()


_WRITTEN: dict[str, Callable[[random.Random], bytes]] = {
    f"{SEARCH}ComposeSearch": _query,
    f"{SEARCH}ComposeSearchStream": _query,
    f"{SEARCH}Encode": _inputs,
    f"{SEARCH}ListComposers": lambda rng: rng.randbytes(rng.randint(0, 8)),
    f"{INDEX}UpsertItems": _items,
    f"{INDEX}UpsertItemsStream": _items,
    f"{INDEX}GetItems": _ids,
    f"{INDEX}GetPictures": _ids,
    f"{INDEX}ListItems": _page,
    f"{INDEX}DeleteItems": lambda rng: index_pb2.DeleteItemsRequest(
        collection="fuzz", item_ids=[rng.choice(("a", "b", "é\0"))]
    ).SerializeToString(),
    f"{INDEX}CollectionInfo": lambda rng: index_pb2.CollectionInfoRequest(collection=_name(rng)).SerializeToString(),
    f"{INDEX}ListCollections": lambda rng: rng.randbytes(rng.randint(0, 8)),
    f"{HEALTH}Check": lambda rng: b"\n\x16scot.v1.SearchService",
}
