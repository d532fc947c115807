"""Captions in the place of images: where they lie, which rows have them, and what is refused without images."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from scot.embeddings.cache import TripletEmbeddings, image_mean
from scot.errors import InvalidInput
from scot.training.config import TrainConfig
from scot.training.data import gather_batch
from scot.training.loop import Trainer
from scot.training.objectives import LossConfig, from_captions, stand_in
from tests.support.synthetic_triplets import ENCODER, synthetic_triplets, write_synthetic_cache

SMALL = TrainConfig(
    projection=64, hidden=64, batch_size=128, steps=120, lr=3e-3, eval_every=40, held_out=0.2, precision="float32"
)


def captions_alone() -> TripletEmbeddings:
    """As ``encode.py --captions-only`` writes them: the captions are the images."""
    data = synthetic_triplets()
    rows_C, image_N = torch.unique(data.caption_N, return_inverse=True)
    return dataclasses.replace(
        data,
        info=dataclasses.replace(data.info, captions_only=True),
        image_ids=[data.texts[row] for row in rows_C],
        image_UD=data.text_VD[rows_C],
        image_N=image_N,
    )


def test_stand_ins_lie_between_the_means() -> None:
    data = synthetic_triplets()
    gap_D = data.image_ND.mean(0) - data.caption_ND.mean(0)
    assert float((data.caption_ND * data.image_ND).sum(1).mean()) < 0.9
    assert float((stand_in(data.caption_ND, gap_D) * data.image_ND).sum(1).mean()) > 0.99


def test_noise_moves_them_by_sigma_and_keeps_them_unit() -> None:
    data = synthetic_triplets()
    gap_D, generator = torch.zeros(data.dim), torch.Generator().manual_seed(0)
    noisy = stand_in(data.caption_ND, gap_D, 0.1, generator)
    torch.testing.assert_close(noisy.norm(dim=1), torch.ones(len(data)))
    # The length of the noise is σ u √D, u in 0 … 1.
    assert 0.5 * 0.05 * data.dim**0.5 < float((noisy - data.caption_ND).norm(dim=1).mean()) < 0.06 * data.dim**0.5


def test_a_share_of_the_rows_has_captions_and_no_patches() -> None:
    data = synthetic_triplets()
    batch = gather_batch(data, torch.arange(1000), states=True)
    mixed = from_captions(batch, 0.3, torch.zeros(data.dim), 0.0, seed=6)
    changed_B = (mixed.image_BD != batch.image_BD).any(1)
    assert 0.25 < float(changed_B.float().mean()) < 0.35
    torch.testing.assert_close(mixed.image_BD[changed_B], normalize(batch.caption_BD[changed_B], dim=-1))
    assert torch.equal(mixed.states[0].mask_BL.any(1), ~changed_B)
    assert torch.equal(mixed.states[1].mask_BL, batch.states[1].mask_BL)
    again = from_captions(batch, 0.3, torch.zeros(data.dim), 0.0, seed=6)
    assert torch.equal(again.image_BD, mixed.image_BD)
    assert from_captions(batch, 0.0, torch.zeros(data.dim), 0.5, seed=6) is batch


@pytest.mark.parametrize("architecture", ["combiner", "token_combiner"])
def test_captions_alone_teach_what_works_on_images(architecture: str) -> None:
    config = dataclasses.replace(SMALL, architecture=architecture, from_captions=1.0, caption_noise=0.01)
    run = Trainer(synthetic_triplets(), config)  # its held-out recall is on images
    list(run.run())
    assert run.best["recall@1"] > 0.5
    unmoved = Trainer(run.data, config, image_mean_D=run.data.caption_ND.mean(0))
    list(unmoved.run())
    assert unmoved.best["recall@1"] < run.best["recall@1"]


def test_a_cache_of_captions_trains_with_the_mean_of_other_images(tmp_path: Path) -> None:
    others = write_synthetic_cache(tmp_path / "images", synthetic_triplets())
    mean_D = image_mean(others, ENCODER)
    torch.testing.assert_close(mean_D, normalize(synthetic_triplets().image_UD.float(), dim=-1).mean(0))
    data = captions_alone()
    run = Trainer(data, dataclasses.replace(SMALL, from_captions=1.0, steps=60), image_mean_D=mean_D)
    assert float(run.gap_D.norm()) > 0.3
    torch.testing.assert_close(run.composer.image_mean_D, mean_D, atol=0.05, rtol=0)
    list(run.run())
    assert run.best["recall@1"] > run.references["image_only"]["recall@1"]
    assert float(Trainer(data, dataclasses.replace(SMALL, from_captions=1.0)).gap_D.norm()) == 0.0


def test_without_images_what_needs_them_is_refused() -> None:
    data = captions_alone()
    for settings in (SMALL, dataclasses.replace(SMALL, from_captions=0.5)):
        with pytest.raises(InvalidInput, match="has no images: pretrain with --from-captions 1"):
            Trainer(data, settings)
    wants_images = dataclasses.replace(SMALL, from_captions=1.0, loss=LossConfig(retrieved_weight=0.5))
    with pytest.raises(InvalidInput, match="a retrieved target"):
        Trainer(data, wants_images)
    with pytest.raises(InvalidInput, match="from_captions must be from 0 to 1"):
        TrainConfig(from_captions=2.0)


def test_a_cache_without_images_has_no_mean(tmp_path: Path) -> None:
    data = synthetic_triplets(images=5)
    folder = write_synthetic_cache(tmp_path / "c", dataclasses.replace(data, image_ids=[], image_UD=data.image_UD[:0],
        image_N=data.image_N[:0], edit_N=data.edit_N[:0], caption_N=data.caption_N[:0], edited_N=data.edited_N[:0],
        triplet_ids=[]))  # fmt: skip
    with pytest.raises(InvalidInput, match="has no images"):
        image_mean(folder, ENCODER)
