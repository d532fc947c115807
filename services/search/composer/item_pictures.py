"""The pictures of indexed items, for composers that read them or their patches: their thumbnails, encoded again.

The store has an item's vector alone. Its thumbnail is there in any case, is dropped with the item, is the same for
every replica and fits every encoder; what the image tower makes of it is cached with other embeddings (docs/adr/0028).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from scot.data.images import decode_image
from scot.errors import ImageRefused, ScotError
from services.search.composer.messages import ComposeJob

if TYPE_CHECKING:
    from scot.encoders.pixel_budget import PixelBudget
    from scot.encoders.resizing import Pixels, Resizing
    from scot.index.thumbnails import Thumbnails
    from services.search.composer.embedding_cache import CachedEncoder

logger = logging.getLogger("ray.serve")


class ItemPictures:
    """Finds the pictures of items. Methods block, and may be called in any thread.

    Args:
        thumbnails: where the thumbnails are.
        encoder: the cache of what the image tower made of them.
        resizing: how images are prepared for it.
        reads_picture: whether some composer of a job reads the picture or its patches; it may load composers.
    """

    def __init__(
        self,
        thumbnails: Thumbnails,
        encoder: CachedEncoder,
        resizing: Resizing | PixelBudget,
        reads_picture: Callable[[ComposeJob], bool],
    ) -> None:
        self._thumbnails, self._encoder, self._resizing = thumbnails, encoder, resizing
        self._reads_picture = reads_picture

    def found(self, job: ComposeJob) -> ComposeJob:
        """The job with the picture of its item; the same job where no composer reads it, or there is none."""
        if job.item is None or not self._reads_picture(job):
            return job
        # A pair is embedded from the picture itself; of it, the tower's output is of no use.
        cached = None if self._encoder.has_pairs else self._encoder.cached_item(job.item, job.item_vector)
        picture = self._pixels(job) if cached is None else cached
        return job if picture is None else replace(job, picture=picture)

    def _pixels(self, job: ComposeJob) -> Pixels | None:
        assert job.item is not None
        collection, item_id = job.item
        try:
            data = self._thumbnails.read(collection, [item_id]).get(item_id)
            return None if data is None else self._resizing(decode_image(data))
        except ImageRefused as error:
            logger.warning("the thumbnail of item %r cannot be decoded: %s", item_id, error)
        except ScotError as error:  # the query is answered as if the item had none
            logger.error("%s", error)
        return None
