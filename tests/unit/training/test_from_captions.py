"""Captions in the place of images: where they lie, which rows have them, and what is refused without images."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from scot.embeddings.cache import TripletEmbeddings
from scot.embeddings.moments import Moments, image_moments
from scot.errors import InvalidInput
from scot.training.config import TrainConfig
from scot.training.data import gather_batch
from scot.training.loop import Trainer
from scot.training.objectives import LossConfig, StandIns, from_captions
from scot.training.objectives.stand_ins import FEWEST
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


def between(caption_ND: torch.Tensor, image_ND: torch.Tensor, sigma: float = 0.0) -> StandIns:
    return StandIns.fit(caption_ND, Moments.of([image_ND]), sigma)


def test_stand_ins_lie_between_the_means() -> None:
    data = synthetic_triplets()
    assert float((data.caption_ND * data.image_ND).sum(1).mean()) < 0.9
    stand_ins = between(data.caption_ND, data.image_ND)
    assert float((stand_ins.of(data.caption_ND) * data.image_ND).sum(1).mean()) > 0.99
    assert stand_ins.gap == pytest.approx(float((data.image_ND.mean(0) - data.caption_ND.mean(0)).norm()), abs=1e-5)


def test_noise_moves_them_by_sigma_and_keeps_them_unit() -> None:
    data = synthetic_triplets()
    unmoved = StandIns(torch.zeros(data.dim), torch.zeros(data.dim), sigma=0.1)
    noisy = unmoved.of(data.caption_ND, torch.Generator().manual_seed(0))
    torch.testing.assert_close(noisy.norm(dim=1), torch.ones(len(data)))
    # The length of the noise is σ u √D, u in 0 … 1.
    assert 0.5 * 0.05 * data.dim**0.5 < float((noisy - data.caption_ND).norm(dim=1).mean()) < 0.06 * data.dim**0.5


def images_around(caption_ND: torch.Tensor, noise: float, seed: int) -> torch.Tensor:
    """Images far from their captions, with noise that is three times as wide along every second axis."""
    generator = torch.Generator().manual_seed(seed)
    width_D = torch.ones(caption_ND.shape[1])
    width_D[::2] = 3.0
    noise_ND = torch.randn(caption_ND.shape, generator=generator) * width_D / width_D.norm()
    offset_D = torch.zeros(caption_ND.shape[1])
    offset_D[0] = 2.0
    return normalize(caption_ND + offset_D + noise * noise_ND, dim=-1)


def test_matched_stand_ins_vary_as_images_do_and_nothing_needs_to_be_paired() -> None:
    generator = torch.Generator().manual_seed(0)
    widths_D = torch.linspace(0.2, 2.0, 32)
    caption_ND = normalize(torch.randn(20_000, 32, generator=generator) * widths_D, dim=-1)
    image_ND = images_around(caption_ND[10_000:], noise=0.8, seed=1)  # of other captions
    stand_ins = between(caption_ND[:10_000], image_ND, sigma=-1.0)
    made = Moments.of([stand_ins.of(caption_ND[:10_000], torch.Generator().manual_seed(2))])
    seen = Moments.of([image_ND])
    torch.testing.assert_close(made.mean_D, seen.mean_D, atol=0.02, rtol=0)
    wrong = float((made.covariance_DD - seen.covariance_DD).norm() / seen.covariance_DD.norm())
    plain = Moments.of([between(caption_ND[:10_000], image_ND).of(caption_ND[:10_000])])
    assert wrong < 0.15
    assert float((plain.covariance_DD - seen.covariance_DD).norm() / seen.covariance_DD.norm()) > 3 * wrong
    # The share of a caption in an image: 1 of its length before it was normalised, about √(1 + 4 + 0.64).
    assert stand_ins.scale == pytest.approx(1 / 5.64**0.5, abs=0.06)


def test_few_images_give_a_mean_and_no_covariance() -> None:
    data = synthetic_triplets()
    few = StandIns.fit(data.caption_ND, Moments.of([data.image_ND[: FEWEST - 1]]))
    assert few.root_DD is None
    assert (few.scale, few.sigma) == (1.0, 0.03)
    assert few.gap > 0.3
    none = StandIns.fit(data.caption_ND, None)
    assert (none.gap, none.root_DD, none.sigma) == (0.0, None, 0.03)
    with pytest.raises(InvalidInput, match="no vector has no mean"):
        Moments.of([])


def test_a_share_of_the_rows_has_captions_and_no_patches() -> None:
    data = synthetic_triplets()
    unmoved = StandIns(torch.zeros(data.dim), torch.zeros(data.dim))
    batch = gather_batch(data, torch.arange(1000), states=True)
    mixed = from_captions(batch, 0.3, unmoved, seed=6)
    changed_B = (mixed.image_BD != batch.image_BD).any(1)
    assert 0.25 < float(changed_B.float().mean()) < 0.35
    torch.testing.assert_close(mixed.image_BD[changed_B], normalize(batch.caption_BD[changed_B], dim=-1))
    assert torch.equal(mixed.states[0].mask_BL.any(1), ~changed_B)
    assert torch.equal(mixed.states[1].mask_BL, batch.states[1].mask_BL)
    again = from_captions(batch, 0.3, unmoved, seed=6)
    assert torch.equal(again.image_BD, mixed.image_BD)
    assert from_captions(batch, 0.0, unmoved, seed=6) is batch


@pytest.mark.parametrize("architecture", ["combiner", "token_combiner"])
def test_captions_alone_teach_what_works_on_images(architecture: str) -> None:
    config = dataclasses.replace(SMALL, architecture=architecture, from_captions=1.0, caption_noise=0.01)
    run = Trainer(synthetic_triplets(), config)  # its held-out recall is on images
    list(run.run())
    assert run.best["recall@1"] > 0.5
    unmoved = Trainer(run.data, config, images=Moments.of([run.data.caption_ND]))
    list(unmoved.run())
    assert unmoved.best["recall@1"] < run.best["recall@1"]


def test_a_cache_of_captions_trains_with_the_moments_of_other_images(tmp_path: Path) -> None:
    others = write_synthetic_cache(tmp_path / "images", synthetic_triplets())
    moments = image_moments(others, ENCODER)
    image_UD = normalize(synthetic_triplets().image_UD.float(), dim=-1)
    torch.testing.assert_close(moments.mean_D, image_UD.mean(0))
    torch.testing.assert_close(moments.covariance_DD, torch.cov(image_UD.T, correction=0), atol=1e-6, rtol=0)
    assert moments.count == len(image_UD)
    data = captions_alone()
    run = Trainer(data, dataclasses.replace(SMALL, from_captions=1.0, steps=60), images=moments)
    assert run.stand_ins.gap > 0.3
    torch.testing.assert_close(run.composer.image_mean_D, moments.mean_D, atol=0.05, rtol=0)
    list(run.run())
    assert run.best["recall@1"] > run.references["image_only"]["recall@1"]
    assert Trainer(data, dataclasses.replace(SMALL, from_captions=1.0)).stand_ins.gap == 0.0


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


def test_a_cache_without_images_has_no_moments(tmp_path: Path) -> None:
    data = synthetic_triplets(images=5)
    folder = write_synthetic_cache(tmp_path / "c", dataclasses.replace(data, image_ids=[], image_UD=data.image_UD[:0],
        image_N=data.image_N[:0], edit_N=data.edit_N[:0], caption_N=data.caption_N[:0], edited_N=data.edited_N[:0],
        triplet_ids=[]))  # fmt: skip
    with pytest.raises(InvalidInput, match="has no images"):
        image_moments(folder, ENCODER)
