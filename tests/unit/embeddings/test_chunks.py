"""Chunks of a run: the same for the same inputs, each image and text once, never too large; and what is taken over."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from scot.data.key_table import KeyTable
from scot.data.records import CaptionedImage
from scot.data.triplets import Triplet, write_triplets
from scot.embeddings import cache
from scot.embeddings.chunks import Chunk, chunk_rows, image_chunks, text_chunks
from scot.embeddings.earlier_vectors import EarlierVectors
from scot.embeddings.hidden_states import StateType, pack, place_bytes, unpack
from scot.embeddings.needed import Needed
from scot.embeddings.pairs import ImagePair
from scot.pool import ThreadPool


def table(keys: Sequence[str]) -> KeyTable:
    numbers = KeyTable()
    numbers.add(keys)
    return numbers


def triplet(image_id: str, edit: str, to: str) -> Triplet:
    return Triplet.make(
        image_id, f"caption {image_id}", edit, to, aspect="colour", generator="rules", prompt_version="1", seed=0
    )


def test_images_come_in_order_and_only_those_that_are_wanted() -> None:
    records = [CaptionedImage(str(n), Path("pictures") / f"{n}.png", (), {}) for n in range(300)]
    chunks = list(image_chunks(records, table([str(n) for n in range(0, 300, 2)]), 40))
    assert [len(chunk.keys) for chunk in chunks] == [40, 40, 40, 30]
    assert [chunk.number for chunk in chunks] == [0, 1, 2, 3]
    assert [key for chunk in chunks for key in chunk.keys] == [str(n) for n in range(0, 300, 2)]
    assert chunks[0].images[1].image == Path("pictures/2.png").absolute()


def test_a_chunk_of_large_files_is_smaller() -> None:
    records = [CaptionedImage(str(n), bytes(2**24), (), {}) for n in range(5)]
    chunks = image_chunks(records, table([str(n) for n in range(5)]), 512)
    assert [chunk.keys for chunk in chunks] == [("0", "1"), ("2", "3"), ("4",)]
    assert chunk_rows(512, 257 * 1024 * 2) == 127  # a ViT-L/14's states
    assert chunk_rows(512, 0) == 512
    assert chunk_rows(512, 2**40) == 1


def test_texts_come_once_and_edits_are_marked() -> None:
    texts = [["a", "b"], ["b", "a", "c"], [], ["d", "a", "e"]]
    numbers = table([text for some in texts for text in some])
    chunks = list(text_chunks(texts, numbers, table(["b", "e"]), 2))
    assert [chunk.keys for chunk in chunks] == [("a", "b"), ("c", "d"), ("e",)]
    assert [chunk.edits for chunk in chunks] == [(False, True), (False, False), (True,)]
    assert [chunk.edits for chunk in text_chunks(texts, numbers, None, 2)] == [(), (), ()]


def test_a_chunks_hash_depends_on_all_that_decides_its_vectors() -> None:
    chunk = Chunk("texts", 0, ("a", "b"), edits=(True, False))
    others = [
        Chunk("images", 0, ("a", "b"), edits=(True, False)),
        Chunk("texts", 1, ("a", "b"), edits=(True, False)),
        Chunk("texts", 0, ("b", "a"), edits=(True, False)),
        Chunk("texts", 0, ("a", "b"), edits=(False, False)),
    ]
    hashes = {chunk.hash("one"), chunk.hash("two"), *(other.hash("one") for other in others)}
    assert len(hashes) == 6
    assert chunk.hash("one") == Chunk("texts", 0, ("a", "b"), edits=(True, False)).hash("one")


def test_a_triplet_that_two_folders_have_counts_once(tmp_path: Path) -> None:
    first = [triplet("x", "make it red", "red x"), triplet("y", "make it red", "red y")]
    second = [triplet("z", "make it blue", "blue z"), first[1], triplet("x", "make it blue", "blue x")]
    folders = [str(tmp_path / "first"), str(tmp_path / "second")]
    for folder, rows in zip(folders, (first, second), strict=True):
        write_triplets(folder, rows, {}, shard_size=2)
    tested = ImagePair("x", "make it pink", "caption x", "pink x", ("y",))
    needed = Needed.survey(folders, captions_only=False, states=True, find_pairs=lambda captioned: [tested])
    assert (needed.rows, needed.repeated) == (5, 1)
    rows = [row for every in needed.tables() for row in every.to_pylist()]
    assert [row["triplet_id"] for row in rows] == [each.triplet_id for each in (*first, second[0], second[2])]
    texts = list(dict.fromkeys(text for some in needed.all_texts() for text in some))
    assert needed.texts.find(texts).tolist() == list(range(len(texts)))
    assert texts[-2:] == ["make it pink", "pink x"]
    assert needed.edits is not None
    assert needed.edits.find(["make it red", "make it blue", "make it pink", "red x"]).tolist() == [0, 1, 2, -1]


def test_only_the_first_captions_are_asked_for_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scot.embeddings.needed.MOST_CAPTIONED", 3)
    write_triplets(tmp_path, [triplet(str(n), "make it red", f"red {n}") for n in range(9)], {}, shard_size=2)
    asked: list[Sequence[tuple[str, str]]] = []
    Needed.survey(
        [str(tmp_path)], captions_only=False, states=False, find_pairs=lambda pairs: asked.append(pairs) or ()
    )
    assert asked == [[("0", "caption 0"), ("1", "caption 1"), ("2", "caption 2")]]


def test_vectors_of_a_cache_in_large_shards_are_taken_over(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    keys, vectors_ND = [f"text {n}" for n in range(100)], rng.normal(size=(100, 8)).astype(np.float16)
    output = str(tmp_path)
    cache.write_vectors(
        output, cache.TEXTS, [cache.vector_table("text", keys, vectors_ND, 8)], encoder_id="e", dim=8, source="s"
    )
    chunk = Chunk(cache.TEXTS, 0, ("text 70", "absent", "text 3"))

    def taken(encoder_id: str, dim: int = 8, *, states: bool = False) -> dict[int, list[float]]:
        earlier = EarlierVectors(
            output, cache.TEXTS, lambda extra: extra.get("encoder_id") == encoder_id, dim, states=states
        )
        marked = Chunk(cache.TEXTS, 0, chunk.keys, edits=(True, False, False)) if states else chunk
        return {place: vector.tolist() for place, (vector, _) in earlier.take(marked).items()}

    assert taken("e") == {0: vectors_ND[70].tolist(), 2: vectors_ND[3].tolist()}
    assert taken("e", states=True) == {2: vectors_ND[3].tolist()}  # the edit has no states there
    assert taken("other") == taken("e", dim=9) == {}
    (shard,) = (tmp_path / cache.TEXTS).glob("*.parquet")
    shard.write_bytes(shard.read_bytes()[:-9])
    assert taken("e") == {}


@pytest.mark.parametrize("kind", ["float16", "int8"])
def test_states_come_back_as_they_were_stored(kind: StateType) -> None:
    states_LW = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float16)
    states_LW[2] = 0
    stored = pack(states_LW, kind)
    assert len(stored) == 5 * place_bytes(16, kind)
    back_LW = unpack(stored, 16, kind)
    assert back_LW.shape == (5, 16)
    assert np.abs(back_LW.astype(float) - states_LW).max() <= (0.0 if kind == "float16" else 0.02)
    assert (back_LW[2] == 0).all()
    assert pack(None, kind) == b""
    assert unpack(b"", 16, kind).shape == (0, 16)


def test_a_pool_of_threads_gives_every_result_and_the_first_error() -> None:
    stopped: list[bool] = []

    def work(number: int) -> int:
        if number == 50:
            raise ValueError("fifty")
        return number * number

    pool: ThreadPool[int, int] = ThreadPool(work, 3, lambda: stopped.append(True))
    found = [square for number in range(50) for square in pool.submit(number)]
    found += pool.drain()
    assert sorted(found) == [number * number for number in range(50)]
    pool.submit(50)
    with pytest.raises(ValueError, match="fifty"):
        pool.drain()
    pool.close()
    assert stopped == [True]
