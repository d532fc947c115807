"""The bulk towers of the service: every call gets its own rows, in the dtype that was asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scot.encoders import load_encoder
from services.search.app import build
from services.search.composer.encoder_replica import EncoderReplica
from services.search.composer.messages import EncodedText
from services.search.settings import from_args
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


def test_each_text_has_its_vector_and_tells_whether_it_fits(tmp_path: Path) -> None:
    encoder = save_random_encoder(tmp_path / "encoder")
    calls = [["red"], ["a " * 500, "make it blue"], ["red"]]

    async def run() -> list[list[EncodedText]]:
        replica = EncoderReplica(from_args({"encoder": encoder, "store": "unused", "device": "cpu"}))
        return await asyncio.gather(*(replica.texts(call) for call in calls))

    alone = load_encoder(encoder, device="cpu")
    answers = asyncio.run(run())
    assert [[each.truncated for each in answer] for answer in answers] == [[False], [True, False], [False]]
    for found, call in zip(answers, calls, strict=True):
        np.testing.assert_allclose([each.vector for each in found], alone.encode_texts(call), atol=1e-5)


def test_on_demand_there_is_no_replica_until_it_is_needed() -> None:
    settings: dict[str, object] = {"store": "unused"}
    always, on_demand = (build({**settings, "encoder_on_demand": each}) for each in (False, True))

    def scaling(app: Any) -> Any:
        encoder = app._bound_deployment.init_args[2]._bound_deployment
        return encoder._deployment_config.autoscaling_config

    assert scaling(always) is None
    found = scaling(on_demand)
    assert (found.min_replicas, found.initial_replicas, found.max_replicas) == (0, 0, 1)


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
