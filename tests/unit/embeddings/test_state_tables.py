"""Hidden states in the embedding cache: gathered by row, written, read, mapped, and refused when damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from scot.embeddings import cache
from scot.embeddings.cache import load_cache
from scot.embeddings.hidden_states import StateTable
from scot.embeddings.memory_mapped import map_cache, open_cache, size_in_memory
from scot.errors import InvalidInput
from tests.support.synthetic_triplets import state_rows, synthetic_triplets, write_states, write_synthetic_cache

TABLE = StateTable(torch.arange(10.0).reshape(5, 2).half(), torch.tensor([0, 2, 2, 5]))


def test_rows_are_put_side_by_side() -> None:
    values_BLW, mask_BL = TABLE.rows(torch.tensor([2, 0, 1, 2]))
    assert mask_BL.tolist() == [[True] * 3, [True, True, False], [False] * 3, [True] * 3]
    assert values_BLW[0].tolist() == values_BLW[3].tolist() == [[4, 5], [6, 7], [8, 9]]
    assert values_BLW[1, :2].tolist() == [[0, 1], [2, 3]]
    assert values_BLW.isfinite().all()
    assert TABLE.rows(torch.tensor([1, 1])).values_BLW.shape == (2, 0, 2)
    assert TABLE.width == 2


def test_a_cache_keeps_its_states_in_memory_and_mapped(tmp_path: Path) -> None:
    data = synthetic_triplets(images=40)
    folder = write_synthetic_cache(tmp_path / "cache", data, states=True)
    rows = torch.tensor([0, 7, 3, 150])
    for read in (load_cache(folder), map_cache(folder, tmp_path / "scratch")):
        assert read.info.states == data.info.states
        for ours, theirs in zip(read.states(rows), data.states(rows), strict=True):
            assert torch.equal(ours.mask_BL, theirs.mask_BL)
            assert torch.equal(ours.values_BLW[ours.mask_BL], theirs.values_BLW[theirs.mask_BL])


def test_states_count_as_memory(tmp_path: Path) -> None:
    data = synthetic_triplets(images=40)
    plain = load_cache(write_synthetic_cache(tmp_path / "plain", data)).info
    told = load_cache(write_synthetic_cache(tmp_path / "told", data, states=True)).info
    assert data.image_states is not None
    assert data.text_states is not None
    stored = data.image_states.values_TW.nbytes + data.text_states.values_TW.nbytes
    assert size_in_memory(told) == size_in_memory(plain) + stored
    assert open_cache(tmp_path / "plain").image_states is None


def test_a_cache_without_states_says_so(tmp_path: Path) -> None:
    read = load_cache(write_synthetic_cache(tmp_path / "cache", synthetic_triplets(images=20)))
    with pytest.raises(InvalidInput, match="no hidden states: encode again with --states"):
        read.states(torch.tensor([0]))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda rows: rows[:-1], "hidden states of 19 rows, not of 20"),
        (lambda rows: [b"x" * 7, *rows[1:]], "not 64 wide"),
        (lambda rows: [np.full(64, np.nan, np.float16).tobytes(), *rows[1:]], "not finite"),
    ],
    ids=["a row less", "of another width", "not a number"],
)
def test_damaged_states_are_refused(tmp_path: Path, damage: object, said: str) -> None:
    data = synthetic_triplets(images=20)
    folder = write_synthetic_cache(tmp_path / "cache", data, states=True)
    assert data.image_states is not None
    rows = damage(state_rows(data.image_states))  # type: ignore[operator]
    ids = list(data.image_ids)[: len(rows)]
    written = write_states(folder, "image_states", ids, rows, width=64)
    info = cache.read_info(folder)
    hashes = [cache.read_manifest(f"{folder}/{part}", kind).hash for part, kind in info.parts.items()]  # type: ignore[attr-defined]
    assert written.hash in hashes
    cache.write_info(folder, cache.CacheInfo(**{**cache.asdict(info), "hash": cache.content_hash(hashes)}))  # type: ignore[attr-defined]
    for read in (load_cache, lambda folder: map_cache(folder, tmp_path / "scratch")):
        with pytest.raises(InvalidInput, match=said):
            read(folder)
