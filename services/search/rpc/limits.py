"""The limits of requests; the only place where these numbers are written (docs/api.md shows them, by a test)."""

from __future__ import annotations

from scot.data import payload
from scot.data.images import DEFAULT_LIMITS
from scot.rerank import config

DEFAULT_HITS = 10
DEFAULT_FACET_VALUES = 10
MAX_HITS = 1_000
MAX_OFFSET = 10_000
MAX_EDITS = 8  # of a turn
MAX_TURNS = 16  # before the request's own
MAX_REFERENCES = 8  # of a turn
MAX_WEIGHT = 10  # of a reference, and the negative of it
MAX_IMAGES = 8  # references that are encoded images, in all turns of a request
MAX_FEEDBACK = 64  # likes of a turn, and dislikes
MAX_CANDIDATES = 2_000  # of mmr
MAX_GROUP = 100  # hits of a group
MAX_RERANKED = config.MAX_TOP  # hits of a query that are judged
MAX_RERANK_WEIGHT = 10
SECOND_LOOKS = 16
"""Queries of a gateway that wait for verdicts at a time, half of its places; others keep the first order."""
MAX_RERANK_S = 60  # seconds for the verdicts
MAX_FACETS = 16  # fields of one Facets request
MAX_FACET_VALUES = 1_000  # of one field
MAX_TEXT_CHARS = 2_000
MAX_IMAGE_BYTES = DEFAULT_LIMITS.max_bytes
MAX_ITEMS = 256  # of one UpsertItems request
MAX_IDS = 1_000  # of one DeleteItems or GetItems request
MAX_LISTED = 1_000  # items of one ListItems answer
MAX_PICTURES = 64  # of one GetPictures request
MAX_INPUTS = 64  # of one Encode request
MAX_ID_CHARS = 512
MAX_NAME_CHARS = 128  # of a collection, composer or session
MAX_ORIGIN_CHARS = 4_096  # of an origin's source or path
MAX_FIELD_CHARS = 256  # of a payload field's name in a filter
MAX_CONDITIONS = 64  # of one filter
MAX_ANY = 256  # values of one condition
MAX_PAYLOAD_BYTES = payload.MAX_PAYLOAD_BYTES
MAX_MESSAGE_BYTES = 17 * MAX_IMAGE_BYTES  # of one gRPC message: `scot index` sends up to 16 images at once
STREAM_WINDOW = 16
"""The most queries of one stream that are answered at a time; a faster client waits for the oldest answer."""
MAX_WATCHES = 16
"""Health watches of a gateway; they need no key, and each takes one of its places."""
MAX_AT_WORK = 32
"""Requests that a gateway processes at a time: one batch of the composer."""
MAX_WAITING = 32
"""Requests that wait in a proxy for a gateway; the next one is refused at once."""
SHADOWS = 16
"""Shadow comparisons that wait in a gateway; further queries are not compared."""
HANDLE_BYTES = 3_000_000
"""The most bytes of pixels in one call to another deployment: Serve's throughput mode limits a message to 4 MiB."""
LONGEST_EXPECTED_S = 0.2
"""A proxy lets calls in as long as it expects to answer the next one within this time."""
FEW_IN_FLIGHT = MAX_AT_WORK + MAX_WAITING // 2
"""So many calls are let in through a proxy however long they take, unless their deadlines are too near."""
BULK_INPUTS = 8
"""An Encode call with more inputs gives way to searches, as UpsertItems and DeleteItems do."""
STREAM_QUERIES = 16
"""Queries of all streams of a gateway that are answered at a time; they give way to single ones."""
