"""Caches and galleries that actors of Ray make, with a real (random) encoder; without Ray where it adds nothing."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import torch
from PIL import Image

from ray_jobs import encode, index
from ray_jobs.session import ray_session
from scot import flags
from scot.data.triplets import Triplet, write_triplets
from scot.embeddings.cache import load_cache
from scot.embeddings.encode import encode_triplets
from scot.encoders import load_encoder
from scot.encoders.clip import ClipEncoder
from scot.errors import InvalidInput, NotFound
from scot.index import bulk
from scot.index.payload import ITEM_ID_KEY
from scot.progress import Progress
from tests.support.killed_encoding import content, write_pictures, write_their_triplets
from tests.support.processes import titled
from tests.support.qdrant_server import QdrantServer, qdrant_server, refuse
from tests.support.random_encoder import save_random_encoder

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    with ray_session(num_cpus=2):
        yield


@pytest.fixture(scope="module")
def encoder_name(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_random_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def encoder(encoder_name: str) -> ClipEncoder:
    return load_encoder(encoder_name, device="cpu")


encode_here = partial(encode_triplets, num_workers=0)


def picture(colour: str) -> Image.Image:
    return Image.new("RGB", (40, 40), COLOURS[colour])


def triplet(image_id: str, colour: str, to: str) -> Triplet:
    return Triplet.make(
        image_id, f"a {colour} square", f"make it {to}", f"a {to} square",
        aspect="colour", generator="rules", prompt_version="1", seed=0,
    )  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Three good pictures, one cut short and one that is no picture."""
    folder = tmp_path / "catalogue"
    folder.mkdir()
    lines = ["id,image,caption"]
    for name in COLOURS:
        picture(name).save(folder / f"{name}.png")
        lines.append(f"{name},{name}.png,a {name} square")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    whole = tmp_path / "whole.png"
    Image.fromarray(noise).save(whole)
    (folder / "cut.png").write_bytes(whole.read_bytes()[:3000])
    (folder / "text.png").write_text("not a picture")
    lines += ["cut,cut.png,a cut square", "text,text.png,a text square"]
    (folder / "captions.csv").write_text("\n".join(lines) + "\n")
    return str(folder)


@pytest.fixture
def triplets(tmp_path: Path) -> str:
    rows = [triplet(a, a, b) for a in COLOURS for b in COLOURS if a != b]
    rows += [triplet("cut", "cut", "red"), triplet("text", "text", "red"), triplet("absent", "red", "blue")]
    write_triplets(tmp_path / "triplets", rows, {})
    return str(tmp_path / "triplets")


@pytest.mark.usefixtures("ray")
def test_the_cache_holds_what_the_encoder_says(
    source: str, triplets: str, tmp_path: Path, encoder_name: str, encoder: ClipEncoder
) -> None:
    lines: list[str] = []
    progress = Progress(lines.append)
    done = encode_triplets([source], [triplets], str(tmp_path / "out"), encoder=encoder_name, progress=progress)
    here = encode_here([source], [triplets], str(tmp_path / "here"), encoder=encoder_name)
    assert here.info == done.info
    assert done.info.counts == {"images": 3, "texts": 8, "triplets": 6}
    assert sum(count for reason, count in done.info.rejected.items() if reason.startswith("image_")) == 2
    assert done.info.rejected["triplet_without_image"] == 3
    assert lines[-1].startswith("encoding: 11 of 14 images and texts (")

    data = load_cache(tmp_path / "out", encoder.id)
    assert data.image_ids == list(COLOURS)
    expected = torch.from_numpy(encoder.encode_images([picture(data.image_ids[n]) for n in data.image_N]))
    torch.testing.assert_close(data.image_ND, expected, atol=2e-3, rtol=0)
    for role in ("edit", "caption", "edited"):
        rows = [data.texts[n] for n in getattr(data, f"{role}_N")]
        expected = torch.from_numpy(encoder.encode_texts(rows))
        torch.testing.assert_close(getattr(data, f"{role}_ND"), expected, atol=2e-3, rtol=0)
    assert [data.texts[n] for n in data.edited_N][:2] == ["a green square", "a blue square"]


def test_a_rerun_encodes_nothing_and_more_triplets_only_what_is_new(
    source: str, triplets: str, tmp_path: Path, encoder_name: str
) -> None:
    out = str(tmp_path / "out")
    first = encode_here([source], [triplets], out, encoder=encoder_name)
    files = {path: path.stat().st_mtime_ns for path in Path(out).rglob("*")}
    again = encode_here([source], [triplets], out, encoder=encoder_name)
    assert again.info == first.info
    assert {path: path.stat().st_mtime_ns for path in Path(out).rglob("*")} == files

    write_triplets(triplets, [triplet("red", "red", "blue"), triplet("red", "red", "pink")], {})
    more = encode_here([source], [triplets], out, encoder=encoder_name)
    assert (more.reused_images, more.reused_texts) == (1, 3)
    assert more.info.counts == {"images": 1, "texts": 5, "triplets": 2}


def test_hidden_states_of_pictures_and_edits_are_kept_where_they_are_wanted(
    source: str, triplets: str, tmp_path: Path, encoder_name: str, encoder: ClipEncoder
) -> None:
    out = str(tmp_path / "out")
    encode_here([source], [triplets], out, encoder=encoder_name)
    told = encode_here([source], [triplets], out, encoder=encoder_name, states=True)
    edits = 3  # the captions' vectors are taken over
    assert (told.reused_images, told.reused_texts) == (0, told.info.counts["texts"] - edits)
    again = encode_here([source], [triplets], out, encoder=encoder_name, states=True)
    assert again.info == told.info
    assert again.reused_images == told.info.counts["images"]

    data = load_cache(out, encoder.id)
    rows = torch.arange(len(data))
    patches, words = data.states(rows)
    pixels = [encoder.preprocess(picture(data.image_ids[n])) for n in data.image_N]
    tokens = [text.tokens for text in encoder.tokenize([data.texts[n] for n in data.edit_N])]
    for ours, (_, theirs) in (
        (patches, encoder.encode_pixels_states(pixels)),
        (words, encoder.encode_tokens_states(tokens)),
    ):
        for row, states in enumerate(theirs):
            expected = torch.from_numpy(states).float()
            torch.testing.assert_close(ours.values_BLW[row][ours.mask_BL[row]].float(), expected, atol=5e-3, rtol=0)
    captions = torch.unique(data.edited_N)
    assert data.text_states is not None
    assert not data.text_states.rows(captions).mask_BL.any()


def test_states_of_another_encoder_are_not_taken_over(source: str, triplets: str, tmp_path: Path) -> None:
    first, second = (save_random_encoder(tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two")))
    out = str(tmp_path / "out")
    encode_here([source], [triplets], out, encoder=first, states=True)
    encode_here([source], [triplets], out, encoder=second)
    again = encode_here([source], [triplets], out, encoder=second, states=True)
    fresh = encode_here([source], [triplets], str(tmp_path / "fresh"), encoder=second, states=True)
    assert again.info.hash == fresh.info.hash


def test_a_run_that_was_killed_ends_as_one_that_was_not(
    source: str, triplets: str, tmp_path: Path, encoder_name: str
) -> None:
    whole = encode_here([source], [triplets], str(tmp_path / "whole"), encoder=encoder_name)
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    (tmp_path / "killed" / "_manifest.json").unlink()
    shutil.rmtree(tmp_path / "killed" / "texts")
    resumed = encode_here([source], [triplets], str(tmp_path / "killed"), encoder=encoder_name)
    assert resumed.reused_images == 3
    assert resumed.info.hash == whole.info.hash


def test_nothing_left_is_refused_with_the_reason(source: str, tmp_path: Path, encoder_name: str) -> None:
    write_triplets(tmp_path / "t", [triplet("text", "text", "red")], {})
    with pytest.raises(InvalidInput, match="none of the 1 triplets has a usable picture"):
        encode_here([source], [str(tmp_path / "t")], str(tmp_path / "out"), encoder=encoder_name)
    assert not (tmp_path / "out" / "_manifest.json").exists()


def test_bad_input_is_told_before_anything_starts(source: str, triplets: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(NotFound, match="nothing at"):
        encode_here([str(tmp_path / "absent")], [triplets], out)
    with pytest.raises(NotFound, match="there is no folder"):
        encode_here([source], [str(tmp_path / "absent")], out)
    with pytest.raises(InvalidInput, match="cannot be loaded"):
        encode_here([source], [triplets], out, encoder=f"local-dir:{tmp_path}/absent")
    if not torch.cuda.is_available():
        with pytest.raises(InvalidInput, match="on a GPU, and PyTorch finds none here"):
            encode_here([source], [triplets], out, use_gpu=True)


def test_triplets_of_several_engines_are_one_cache(
    source: str, triplets: str, tmp_path: Path, encoder_name: str
) -> None:
    pink = triplet("red", "red", "pink")
    write_triplets(tmp_path / "more", [triplet("red", "red", "blue"), pink], {})
    both = [triplets, str(tmp_path / "more")]
    done = encode_here([source], both, str(tmp_path / "out"), encoder=encoder_name)
    assert done.info.counts["triplets"] == 7
    assert done.info.rejected["duplicate_triplet"] == 1
    assert load_cache(tmp_path / "out").triplet_ids[-1] == pink.triplet_id


def test_captions_alone_stand_in_for_their_images(triplets: str, tmp_path: Path, encoder_name: str) -> None:
    out = str(tmp_path / "out")
    done = encode_here([], [triplets], out, encoder=encoder_name, captions_only=True, states=True)
    assert done.info.captions_only
    assert done.info.counts["triplets"] == 9  # those whose images are broken or absent, too
    data = load_cache(out)
    assert [data.image_ids[n] for n in data.image_N] == [data.texts[n] for n in data.caption_N]
    torch.testing.assert_close(data.image_ND, data.caption_ND, rtol=0, atol=0)
    assert not data.states(torch.arange(9))[0].mask_BL.any()
    assert encode_here([], [triplets], out, encoder=encoder_name, captions_only=True, states=True).info == done.info
    with pytest.raises(InvalidInput, match="takes no source"):
        encode_here([out], [triplets], out, captions_only=True)


@pytest.mark.usefixtures("ray")
def test_a_worker_that_is_killed_changes_nothing(tmp_path: Path, encoder_name: str) -> None:
    inputs: dict[str, Any] = {
        "sources": [write_pictures(tmp_path / "pictures", 600)],
        "triplets": [write_their_triplets(tmp_path / "triplets", 600)],
        "encoder": encoder_name,
        "chunk_size": 16,
    }
    whole, out = tmp_path / "whole", tmp_path / "out"
    encode_here(**inputs, output=str(whole))
    killed: list[int] = []

    def kill() -> None:
        while not killed:
            if list(out.glob("images/*.parquet")) and (workers := titled("ray::ChunkEncoder")):
                killed.extend(workers)
                os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    encode_triplets(**inputs, output=str(out), num_workers=1)
    killer.join()
    assert content(out) == content(whole)


@pytest.mark.usefixtures("ray")
def test_the_job_says_what_it_did(
    source: str, triplets: str, tmp_path: Path, encoder_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--source", source, "--triplets", triplets, "--output", str(tmp_path / "o"), "--encoder", encoder_name]
    assert flags.run("encode.py", encode.main, encode.EncodeConfig, arguments) == 0
    assert "encoded 6 triplets, 3 images, 13 texts, 2 pairs to measure" in capsys.readouterr().out
    assert flags.run("encode.py", encode.main, encode.EncodeConfig, arguments) == 0
    assert "is up to date" in capsys.readouterr().out
    assert flags.run("encode.py", encode.main, encode.EncodeConfig, arguments[:4]) == 2
    assert capsys.readouterr().err == "encode.py: --output is missing\n"


@pytest.mark.usefixtures("ray")
def test_workers_fill_a_collection_though_a_run_ends_and_one_of_them_is_killed(
    tmp_path: Path, encoder_name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bulk, "PART", 16)
    killed: list[int] = []
    with qdrant_server() as server:
        words = ["--source", write_pictures(tmp_path / "pictures", 240), "--encoder", encoder_name, "--device", "cpu"]
        words += ["--qdrant-url", server.url, "--qdrant-grpc-port", str(server.grpc_port)]
        words += ["--new-collection", "--num-workers", "2"]
        refused = refuse(grpc.StatusCode.INVALID_ARGUMENT, "no")

        def ends_in_the_midst(context: grpc.ServicerContext) -> None:
            if server.methods().count("Upsert") > 4:
                refused(context)

        def kills_a_worker(context: grpc.ServicerContext) -> None:
            if not killed and server.methods().count("Upsert") == 3:
                killed.append(min(titled("ray::PartLoader")))
                os.kill(killed[0], signal.SIGKILL)

        server.always = ends_in_the_midst
        assert index.run(words) == 1
        assert "the vector store refused the request" in capsys.readouterr().err
        there = len(asyncio.run(_all(server, "gallery-1")))
        assert bulk.PART <= there <= 4 * bulk.PART
        server.received.clear()
        server.always = kills_a_worker
        assert index.run(words) == 0
        said = capsys.readouterr().out
        assert killed
        continued = re.search(r"continuing with gallery-1, which contains (\d+) items", said)
        assert continued
        before, there = there, int(continued[1])
        assert before <= there <= before + bulk.PART  # the other worker may end what it had begun
        assert "gallery now points at gallery-1\n" in said
        sent = [point for call in server.received if call.method == "Upsert" for point in call.request.points]
        # Two parts are in progress in a worker; what a killed one had not finished is begun again.
        assert 240 - there <= len(sent) <= 240 - there + 3 * bulk.PART
        found = {point.payload[ITEM_ID_KEY] for point in asyncio.run(_all(server, "gallery"))}
        assert found == {f"image-{number:08d}" for number in range(240)}


async def _all(server: QdrantServer, collection: str) -> list[Any]:
    points, _ = await server.engine.scroll(collection, limit=1_000)
    return list(points)
