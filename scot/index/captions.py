"""Vectors of pictures with captions: one stored vector an item, ``normalize(image + weight caption)``.

The weight belongs to the collection (:class:`~scot.index.config.CollectionConfig`); an item without a caption has the
vector of its image. docs/adr/0030 has what it brings, and what wrong captions cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from scot.embeddings.images import EmbeddedBatch
from scot.encoders.base import Encoder, Vectors
from scot.index.sync_plan import Pending


def captions_of(payload: Mapping[str, Any]) -> list[str]:
    """The captions in an item's payload: the texts of ``captions``, or else ``caption``."""
    several = payload.get("captions")
    found = several if isinstance(several, list) else [payload.get("caption")]
    return [text for text in found if isinstance(text, str) and text.strip()]


def summed(image_ND: Vectors, captions: Sequence[Sequence[str]], caption_MD: Vectors, weight: float) -> Vectors:
    """normalize(i + w c) for N images; c is the normalized mean of an image's captions.

    Args:
        image_ND: unit vectors.
        captions: of each image; without any, its vector stays as it is.
        caption_MD: the unit vectors of all captions, in order.
        weight: w.
    """
    sum_ND = image_ND.astype(np.float32, copy=True)
    at = 0
    for row, texts in enumerate(captions):
        if texts:
            mean_D = caption_MD[at : at + len(texts)].mean(axis=0)
            length = float(np.linalg.norm(mean_D))
            sum_D = image_ND[row] + (weight / length if length > 0 else 0.0) * mean_D
            sum_ND[row] = sum_D / max(float(np.linalg.norm(sum_D)), 1e-12)
            at += len(texts)
    return sum_ND


def with_captions(batch: EmbeddedBatch[Pending], encoder: Encoder, weight: float) -> EmbeddedBatch[Pending]:
    """The batch with the captions in its vectors; the same batch where the weight is 0 or no picture has one."""
    captions = [captions_of(picture.payload) for picture in batch.sources]
    texts = [text for each in captions for text in each]
    if not weight or not texts:
        return batch
    return replace(batch, vectors=summed(batch.vectors, captions, encoder.encode_texts(texts), weight))
