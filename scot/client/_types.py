"""The arguments and results of the client's methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from PIL import Image

from scot.edit import Edit
from scot.index.filters import Filter
from scot.index.origin import Origin

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vector = npt.NDArray[np.float32]  # (D,)

ImageInput: TypeAlias = "str | PathLike[str] | bytes | Image.Image"
"""The path of an image file, its encoded bytes, or a PIL image."""


Edits: TypeAlias = str | Edit | Sequence[str | Edit]


@dataclass(frozen=True, slots=True)
class Reference:
    """One of several references: exactly one of ``image``, ``item_id`` and ``vector`` ``(D,)``.

    A search starts from the weighted sum of its references. A negative weight is away from the reference.
    """

    image: ImageInput | None = None
    item_id: str | None = None
    vector: npt.ArrayLike | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Turn:
    """An earlier step of a conversation; without references it went on from where the turn before ended."""

    references: Sequence[Reference] = ()
    edits: Edits = ()
    like: Sequence[str] = ()
    dislike: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Rerank:
    """A second look at the first hits by the service's vision-language model; None and 0 are the service's settings.

    ``top`` hits are judged within ``deadline_s`` seconds; ``weight`` is that of a verdict beside the rank.
    """

    top: int = 0
    weight: float | None = None
    deadline_s: float | None = None
    model: str = ""


class Query(TypedDict, total=False):
    """The arguments of a search.

    At most one of ``image``, ``item_id`` and ``vector`` is the reference; a query without one searches by its edits, or
    goes on from where its ``turns`` end. protos/scot/v1/search.proto says how all of it becomes one vector.
    """

    image: ImageInput | None
    """The reference as an image."""
    item_id: str | None
    """The reference as an item of the collection, which the hits then leave out unless ``include_reference`` is set."""
    vector: npt.ArrayLike | None
    """The reference as an image embedding ``(D,)`` of the service's encoder."""
    references: Sequence[Reference]
    """Further references, each with a weight."""
    edits: Edits
    """One text, or several that apply in order; :class:`Edit` gives one a weight or the opposite direction."""
    like: Sequence[str]
    """Items to move towards."""
    dislike: Sequence[str]
    """Items to move away from; the hits leave them out."""
    turns: Sequence[Turn]
    """What was said before, the oldest first. The service stores nothing: leave out the last turn to undo it."""
    composer: str
    """The composer; by default the released one, or the one that a split of the traffic chooses."""
    collection: str
    """The collection; by default the service's own."""
    filter: Filter | None
    """Conditions on the payload."""
    limit: int
    """The number of hits, 1 to 1,000; by default 10."""
    offset: int
    """How many of the best hits to skip; by default 0."""
    score_threshold: float | None
    """Leave out hits with a lower cosine similarity."""
    include_reference: bool
    """Keep an indexed reference among its own hits."""
    diversity: float | None
    """Prefer hits that differ from each other: 0 (by similarity alone, the default) to 1."""
    candidates: int
    """With ``diversity``, how many of the nearest items to choose from; by default twice the limit, at least 100."""
    group_by: str
    """A payload field: the hits are the best of each of its values, and ``limit`` is the number of groups."""
    group_size: int
    """With ``group_by``, the hits of a group; by default 1."""
    rerank: Rerank | None
    """Let a vision-language model judge the first hits, if the service has one; see ``reranked`` of the result."""
    with_vectors: bool
    """Return the vectors of the query and of the hits."""
    session: str
    """Any text that identifies the user: while the traffic is split, a session always gets the same composer."""


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item to store: exactly one of ``image`` and ``vector`` ``(D,)``, and any JSON-like payload."""

    item_id: str
    image: ImageInput | None = None
    vector: npt.ArrayLike | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One image that was found.

    ``score`` is its cosine similarity to the query; ``vector`` ``(D,)`` is set when the query has ``with_vectors``;
    ``origin`` says where the image was indexed from, if whoever stored it told.
    """

    item_id: str
    score: float
    payload: Mapping[str, Any]
    vector: Vector | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class HitGroup:
    """The hits whose payload field, which the query named as ``group_by``, has the value."""

    value: str | int | bool
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class FacetValue:
    """A value of a payload field, and how many items have it."""

    value: str | int | bool
    count: int


@dataclass(frozen=True, slots=True)
class Facets:
    """The values of payload fields, the most frequent first, and the number of items that were counted."""

    values: Mapping[str, tuple[FacetValue, ...]]
    total: int


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The hits of a search, best first, and the composer and encoder that answered it.

    ``timings`` are seconds by stage: decode, queue, compose, search, rerank, total. ``query_vector`` ``(D,)``, a unit
    vector, is set when the query has ``with_vectors``. ``text_truncated``: an edit was longer than the text encoder's
    input. ``groups`` has the hits by group when the query has ``group_by``. ``reranked``: whether the hits are in the
    order of the query's ``rerank``; if not, ``rerank_reason`` says in a word why.
    """

    hits: tuple[Hit, ...]
    composer: str
    encoder: str
    text_truncated: bool
    timings: Mapping[str, float]
    request_id: str
    query_vector: Vector | None = None
    groups: tuple[HitGroup, ...] = ()
    reranked: bool = False
    rerank_reason: str = ""


@dataclass(frozen=True, slots=True)
class Encoded:
    """Embeddings ``(N, D)``, float32 rows of unit length, images first; ``truncated`` has one flag for each row."""

    vectors: npt.NDArray[np.float32]
    encoder: str
    truncated: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class ComposerInfo:
    """A composer that a query can name; ``encoder`` is empty for the baselines, which work with any encoder.

    ``share`` is its part of the requests that name no composer. The results of a ``shadow`` are compared with the
    answers and never returned.
    """

    name: str
    released: bool
    architecture: str
    encoder: str
    metrics: Mapping[str, float]
    share: float = 0.0
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """An item that was not stored, and the reason."""

    item_id: str
    error: str


@dataclass(frozen=True, slots=True)
class UpsertResult:
    """The number of items that were stored, and the items that were refused."""

    upserted: int
    refused: tuple[Refused, ...]


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item of the gallery; ``vector`` ``(D,)`` is set when the call has ``with_vectors``."""

    item_id: str
    payload: Mapping[str, Any]
    vector: Vector | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class ListedItem:
    """An item of the gallery by its id and its origin, if it was stored with one."""

    item_id: str
    origin: Origin | None


@dataclass(frozen=True, slots=True)
class Picture:
    """The thumbnail of an item: an encoded image of at most 256 pixels a side, and its type, such as image/webp."""

    item_id: str
    image: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection: its number of items, and the encoder (of dimension ``dim``) of their vectors.

    ``caption_weight`` is the weight of an item's caption in its vector, 0 where vectors are those of images alone.
    """

    collection: str
    items: int
    encoder: str
    dim: int
    caption_weight: float = 0.0
