"""Targets that a run mines once for every triplet, before its steps: sibling edits, and the image nearest to T_u."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from scot.embeddings.cache import TripletEmbeddings, unit_rows
from scot.errors import InvalidInput
from scot.training.objectives.config import LossConfig

_TEXTS, _IMAGES = 1024, 16_384  # the scores of a block take 64 MiB


@dataclass(frozen=True, slots=True)
class MinedTargets:
    """By triplet: rows of the text table (−1: none) and of the image table. None: the loss does not use them."""

    sibling_NK: torch.Tensor | None = None
    retrieved_N: torch.Tensor | None = None

    @classmethod
    def mine(
        cls, data: TripletEmbeddings, training_N: torch.Tensor, config: LossConfig, device: torch.device
    ) -> MinedTargets:
        """Find what the loss needs among the training triplets and their images; ``device`` computes the cosines.

        Raises:
            InvalidInput: retrieved targets are configured, but there is only one image.
        """
        training_N = training_N.to(data.image_N.device)
        count = config.sibling_negatives
        return cls(
            siblings(data, training_N, count) if count else None,
            retrieved(data, training_N, device) if config.retrieved_weight else None,
        )


def siblings(data: TripletEmbeddings, training_N: torch.Tensor, count: int) -> torch.Tensor:
    """T_u of up to ``count`` other edits of each training triplet's image: ``(N, count)`` rows of the text table.

    They are the next ones in a ring of the image's triplets. The same reference with another edit is the hardest
    negative; the subset recall of CIRR tests it. −1: no such triplet, or one with the same T_u.
    """
    order_T = training_N[torch.argsort(data.image_N[training_N], stable=True)]
    _, size_P = torch.unique_consecutive(data.image_N[order_T], return_counts=True)
    size_T = size_P.repeat_interleave(size_P)
    first_T = (size_P.cumsum(0) - size_P).repeat_interleave(size_P)
    place_T = torch.arange(len(order_T), device=order_T.device) - first_T
    own_T = data.edited_N[order_T]
    found_NK = data.edited_N.new_full((len(data), count), -1)
    for k in range(1, count + 1):
        other_T = own_T[first_T + (place_T + k) % size_T]
        found_NK[order_T, k - 1] = torch.where((k < size_T) & (other_T != own_T), other_T, -1)
    return found_NK


def retrieved(data: TripletEmbeddings, training_N: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The image nearest to each training triplet's T_u by cosine, except its own reference: ``(N,)`` rows.

    R = argmax over the pool's images J ≠ I of T_u·J; the pool is the images of the training triplets. −1: not a
    training triplet.
    """
    pool_P = torch.unique(data.image_N[training_N])
    if len(pool_P) < 2:
        raise InvalidInput("a retrieved target needs at least two training images")
    text_K, text_of_T = torch.unique(data.edited_N[training_N], return_inverse=True)
    best_K2 = torch.cat([_nearest_two(data, part, pool_P, device) for part in text_K.split(_TEXTS)])
    first_T, second_T = best_K2[text_of_T].unbind(1)
    found_N = torch.full_like(data.image_N, -1)
    found_N[training_N] = torch.where(first_T == data.image_N[training_N], second_T, first_T)
    return found_N


def _nearest_two(
    data: TripletEmbeddings, text_K: torch.Tensor, pool_P: torch.Tensor, device: torch.device
) -> torch.Tensor:
    """The rows of the two images nearest to each text, ``(K, 2)``, best first."""
    text_KD = unit_rows(data.text_VD, text_K).to(device)
    scores, rows = [], []
    for part in pool_P.split(_IMAGES):
        score_KP = text_KD @ unit_rows(data.image_UD, part).to(device).T
        best = score_KP.topk(min(2, len(part)), dim=1)
        scores.append(best.values)
        rows.append(part[best.indices.to(part.device)])
    nearest = torch.cat(scores, dim=1).topk(2, dim=1).indices
    return torch.cat(rows, dim=1).gather(1, nearest.to(text_K.device))
