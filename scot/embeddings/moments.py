"""The mean and the covariance of vectors: what unlabelled images say about where and how widely images lie."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import normalize

from scot.embeddings.cache import IMAGES, check_cache, vector_shards
from scot.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Moments:
    """Of ``count`` unit vectors: the mean ``(D,)`` and the covariance ``(D, D)``, float32."""

    mean_D: torch.Tensor
    covariance_DD: torch.Tensor
    count: int

    @classmethod
    def of(cls, parts: Iterable[torch.Tensor | npt.NDArray[np.float16]]) -> Moments:
        """The moments of the rows of ``parts``, each ``(n, D)``, which are normalised first.

        Raises:
            InvalidInput: there is no row.
        """
        count, total_D, products_DD = 0, torch.zeros(()), torch.zeros(())
        for part in parts:
            rows_ND = torch.from_numpy(np.array(part, np.float64)) if isinstance(part, np.ndarray) else part.double()
            rows_ND = normalize(rows_ND, dim=-1)
            count += len(rows_ND)
            total_D, products_DD = total_D + rows_ND.sum(0), products_DD + rows_ND.T @ rows_ND
        if not count:
            raise InvalidInput("no vector has no mean")
        mean_D = total_D / count
        return cls(mean_D.float(), (products_DD / count - torch.outer(mean_D, mean_D)).float(), count)


def image_moments(folder: str | Path, encoder_id: str) -> Moments:
    """The moments of a cache's images, shard by shard.

    Raises:
        NotFound, EncoderMismatch, InvalidInput: the cache cannot be used, is of another encoder, or has no images.
    """
    info, manifests = check_cache(folder, encoder_id)
    if info.captions_only or not manifests[IMAGES].count:
        raise InvalidInput(f"the embedding cache {folder} has no images")
    return Moments.of(vectors_ND for _, vectors_ND in vector_shards(folder, IMAGES, manifests[IMAGES], info.dim))
