"""How much one request may ask for; the only place these numbers are written (docs/api.md shows them, by a test)."""

from __future__ import annotations

from scot.data.images import DEFAULT_LIMITS

DEFAULT_HITS = 10
MAX_HITS = 1_000
MAX_OFFSET = 10_000
MAX_EDITS = 8
MAX_TEXT_CHARS = 2_000
MAX_IMAGE_BYTES = DEFAULT_LIMITS.max_bytes
MAX_ITEMS = 256  # of one UpsertItems request
MAX_IDS = 1_000  # of one DeleteItems or GetItems request
MAX_INPUTS = 64  # of one Encode request
MAX_ID_CHARS = 512
MAX_NAME_CHARS = 128  # of a collection, composer or session
MAX_FIELD_CHARS = 256  # of a payload field's name in a filter
MAX_CONDITIONS = 64  # of one filter
MAX_PAYLOAD_BYTES = 65_536
MAX_MESSAGE_BYTES = 17 * MAX_IMAGE_BYTES  # of one message on the wire: `scot index` sends up to 16 pictures at once
STREAM_WINDOW = 16  # queries of one stream that are worked on at the same time
"""At most this many queries of a stream are in work; the client's sending waits for the oldest answer."""
MAX_WATCHES = 16
"""Watches of a gateway's health, which nobody needs a key for and each of which keeps one of its places."""
MAX_AT_WORK = 32
"""Requests that a gateway works on at a time: a batch of the composer's."""
MAX_WAITING = 32
"""Requests that a proxy keeps waiting for a gateway; what the next is told, it is told at once."""
SHADOWS = 16
"""Comparisons with a shadow that wait in a gateway; more queries go without."""
HANDLE_BYTES = 3_000_000
"""Pixels sent to another deployment at once: Serve's throughput mode caps a message at 4 MiB."""
