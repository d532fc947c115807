"""The bulk towers of the service: every call gets its own rows, in the dtype that was asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from scot.encoders import load_encoder
from services.search.composer.encoder_replica import EncoderReplica
from services.search.settings import ServiceSettings, from_args
from tests.support.random_encoder import save_random_encoder


def test_calls_that_go_together_get_their_own_rows(tmp_path: Path) -> None:
    encoder = save_random_encoder(tmp_path / "encoder")
    pixels = list(np.random.default_rng(0).integers(0, 255, (6, 32, 32, 3), np.uint8))
    calls = [pixels[:1], pixels[1:4], pixels[4:]]

    async def run() -> list[np.ndarray]:
        replica = EncoderReplica(from_args({"encoder": encoder, "store": "unused", "device": "cpu"}))
        return await asyncio.gather(*(replica.pixels(call) for call in calls))

    alone = load_encoder(encoder, device="cpu")
    for found, call in zip(asyncio.run(run()), calls, strict=True):
        np.testing.assert_allclose(found, alone.encode_pixels(call), atol=1e-5)


def test_on_demand_the_first_calls_load_the_towers_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = save_random_encoder(tmp_path / "encoder")
    settings = from_args({"encoder": encoder, "store": "unused", "device": "cpu", "encoder_on_demand": True})
    loads: list[str] = []
    load = ServiceSettings.load_encoder
    monkeypatch.setattr(ServiceSettings, "load_encoder", lambda self: loads.append(self.encoder) or load(self))
    pixels = list(np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8))

    async def run() -> list[np.ndarray]:
        replica = EncoderReplica(settings)
        assert not loads
        return await asyncio.gather(replica.pixels(pixels), replica.pixels(pixels))

    first, second = asyncio.run(run())
    assert len(loads) == 1
    np.testing.assert_array_equal(first, second)


def test_the_towers_have_the_dtype_that_was_asked_for(tmp_path: Path) -> None:
    encoder = save_random_encoder(tmp_path / "encoder")
    pixels = list(np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), np.uint8))
    settings = from_args({"encoder": encoder, "store": "unused", "device": "cpu", "dtype": "bfloat16"})

    async def run() -> np.ndarray:
        return await EncoderReplica(settings).pixels(pixels)

    found = asyncio.run(run())
    np.testing.assert_array_equal(found, load_encoder(encoder, device="cpu", dtype="bfloat16").encode_pixels(pixels))
    assert not np.array_equal(found, load_encoder(encoder, device="cpu").encode_pixels(pixels))


def test_an_unknown_dtype_is_refused_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        from_args({"store": "unused", "dtype": "float8"})
    assert "invalid choice 'float8'" in capsys.readouterr().err
