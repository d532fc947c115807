"""The whole way at URLs, on a real S3 server: edits, embeddings, a composer, its evaluation and a gallery."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ray_jobs import generate_edits, index, pretrain
from scot import flags
from scot.composers import Registry, save_composer
from scot.composers.combiner import Combiner, CombinerConfig
from scot.data import one_writer as one_writer_module
from scot.data.mirror import Mirror
from scot.data.one_writer import one_writer
from scot.data.storage import Folder
from scot.data.triplets import read_triplets
from scot.embeddings.cache import load_cache
from scot.embeddings.encode import encode_triplets
from scot.errors import Conflict, InvalidInput, ScotError, Unavailable
from scot.evaluation.run import EvaluateConfig, evaluate
from scot.index import sync_plan
from scot.worlds.drawing import DrawConfig, draw
from tests.support.s3_server import EXPIRED, SLOW_DOWN, Request, S3Server, Weather, impatient

COLOURS, THINGS = ("red", "blue", "green", "yellow"), ("dog", "cup", "car", "shirt", "chair")


@pytest.fixture(scope="module")
def shop(s3_server: S3Server) -> str:
    """A folder of captioned images at a URL."""
    rng = np.random.default_rng(0)
    rows = ["image,caption"]
    for number in range(60):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(file, "PNG")
        s3_server.put(f"s3://shop/catalogue/im/{number:02d}.png", file.getvalue())
        rows.append(f"im/{number:02d}.png,a {COLOURS[number % 4]} {THINGS[number % 5]} on a table {number // 20}")
    s3_server.put("s3://shop/catalogue/captions.csv", "\n".join(rows).encode())
    return "s3://shop/catalogue"


@pytest.fixture(scope="module")
def catalogue(s3_server: S3Server, shop: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on the disk."""
    folder = tmp_path_factory.mktemp("catalogue")
    s3_server.files.get(shop.removeprefix("s3://"), str(folder / "catalogue"), recursive=True)
    return folder / "catalogue"


@pytest.fixture(scope="module")
def triplets(shop: str) -> str:
    run_edits(shop, "s3://shop/triplets")
    return "s3://shop/triplets"


@pytest.fixture(scope="module")
def embeddings(shop: str, triplets: str) -> str:
    encode_here([shop], [triplets], "s3://shop/embeddings")
    return "s3://shop/embeddings"


encode_here = partial(encode_triplets, num_workers=0, chunk_size=16)


def run_edits(source: str, output: str) -> int:
    flag_list = ["--source", source, "--output", output, "--num-workers", "0", "--engine", "rules"]
    return flags.run("generate_edits.py", generate_edits.main, generate_edits.GenerateEditsConfig, flag_list)


def objects(s3: S3Server, folder: str) -> dict[str, bytes]:
    """The content of a folder at a URL, but its lock."""
    key = folder.removeprefix("s3://")
    found = s3.files.find(key)
    return {name.removeprefix(key): s3.files.cat_file(name) for name in found if not name.endswith(".lock")}


def test_edits_are_those_of_the_disk(s3: S3Server, triplets: str, catalogue: Path, tmp_path: Path) -> None:
    assert run_edits(str(catalogue), str(tmp_path / "triplets")) == 0
    assert read_triplets(triplets).equals(read_triplets(tmp_path / "triplets"))
    assert not s3.files.exists("shop/triplets/.lock")
    before = objects(s3, triplets)
    assert run_edits("s3://shop/catalogue", triplets) == 0
    assert objects(s3, triplets) == before


def test_vectors_are_those_of_the_disk(embeddings: str, triplets: str, catalogue: Path, tmp_path: Path) -> None:
    encode_here([str(catalogue)], [triplets], str(tmp_path / "embeddings"))
    here, there = load_cache(tmp_path / "embeddings"), load_cache(embeddings)
    assert here.image_ids == there.image_ids
    assert here.texts == there.texts
    assert here.image_UD.equal(there.image_UD)
    assert here.text_VD.equal(there.text_VD)


@pytest.fixture
def quick_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"BEAT_S": 0.1, "DEAD_S": 1.0, "LOOK_S": 0.1}.items():
        monkeypatch.setattr(one_writer_module, name, seconds)


@pytest.mark.usefixtures("quick_leases")  # the lease of the run that fails stays
@pytest.mark.parametrize("fault", [SLOW_DOWN, EXPIRED])
def test_a_run_that_cannot_write_continues_later(
    fault: Any, s3: S3Server, shop: str, triplets: str, embeddings: str
) -> None:
    output = f"s3://shop/again-{fault[0]}"
    written = 0

    def refuse(request: Request) -> Any:
        nonlocal written
        written += request.method == "PUT" and request.target.endswith(".parquet")
        return fault if written > 4 and request.method == "PUT" else None

    s3.weather = Weather(refuse=refuse)
    with (
        impatient(),
        pytest.raises(ScotError, match=r"cannot be written: (the store throttles|the credentials have expired)"),
    ):
        encode_here([shop], [triplets], output)
    s3.weather = Weather()
    finished = [name for name in objects(s3, output) if name.endswith(".parquet")]
    assert finished
    done = encode_here([shop], [triplets], output)
    assert done.reused_images + done.reused_texts >= 16
    assert objects(s3, output) == objects(s3, embeddings)


def test_an_image_that_cannot_be_read_for_now_ends_the_run_and_is_not_left_out(
    s3: S3Server, shop: str, triplets: str, embeddings: str
) -> None:
    s3.weather = Weather(refuse=lambda request: EXPIRED if request.reads and "/im/07" in request.target else None)
    with pytest.raises(ScotError, match=r"im/07\.png cannot be read: the credentials have expired; log in again"):
        encode_here([shop], [triplets], "s3://shop/refused")
    s3.weather = Weather()
    encode_here([shop], [triplets], "s3://shop/refused")
    assert objects(s3, "s3://shop/refused") == objects(s3, embeddings)


def test_a_source_that_changes_while_it_is_encoded(s3: S3Server, triplets: str, catalogue: Path) -> None:
    s3.files.put(f"{catalogue}/", "shop/changing/", recursive=True)

    def change(request: Request) -> None:
        if request.reads and "/changing/im/05" in request.target:
            s3.files.pipe_file("shop/changing/im/59.png", b"another")

    s3.weather = Weather(before=change)
    with pytest.raises(InvalidInput, match="changed while it was read"):
        encode_here(["s3://shop/changing"], [triplets], "s3://shop/changed")
    assert not s3.files.exists("shop/changed/_manifest.json")


@pytest.mark.usefixtures("quick_leases")
def test_two_runs_into_one_output(s3: S3Server, shop: str, triplets: str) -> None:
    output = "s3://shop/two"
    with one_writer(output) as still_alone:
        with pytest.raises(Conflict, match=r"another run writes s3://shop/two: wait until it .* it runs on "):
            encode_here([shop], [triplets], output)
        with pytest.raises(Conflict, match="another run writes s3://shop/two"), one_writer(output):
            pass
        still_alone()
    assert not Folder(output).exists(".lock")


@pytest.mark.usefixtures("quick_leases")
def test_the_lease_of_a_dead_run_is_taken_over_and_a_late_owner_notices(s3: S3Server) -> None:
    output = "s3://shop/dead"
    Folder(output).write(".lock", b'{"owner": "somebody", "host": "a machine that was switched off", "beat": 3}')
    with one_writer(output) as still_alone:
        still_alone()
        Folder(output).write(".lock", b'{"owner": "another"}')
        with pytest.raises(Conflict, match="took the output over while this run could not reach it"):
            _until_it_raises(still_alone)
    assert Folder(output).read(".lock") == b'{"owner": "another"}', "the lease of another run stays"


@pytest.mark.usefixtures("quick_leases")
def test_releases_at_once_take_turns_and_do_not_wait_for_a_dead_one(s3: S3Server, tmp_path: Path) -> None:
    module = Combiner(CombinerConfig(dim=4, projection=4, hidden=4))
    save_composer(tmp_path / "run", module, encoder_id="e@1-4d", dim=4, metrics={"recall@1": 0.25})
    s3.put("s3://shop/turns/released.lock", b'{"owner": "somebody", "host": "it was killed", "beat": 0}')
    registry = Registry("s3://shop/turns")
    versions = [registry.publish(tmp_path / "run", release=False) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(registry.release, versions))
    released = [str(registry.released()), *(str(registry.rollback().version) for _ in range(3))]
    assert sorted(released) == versions
    assert not Folder(registry.root).exists("released.lock")


def _until_it_raises(call: Callable[[], None]) -> None:
    while True:
        call()


def pretrain_here(embeddings: str, *more: str) -> int:
    flag_list = [
        *(
            "--embeddings",
            embeddings,
            "--composers",
            "s3://shop/composers",
            "--runs",
            "s3://shop/runs",
            "--name",
            "one",
        ),
        *("--num-workers", "0", "--steps", "6", "--eval-every", "2", "--batch-size", "16"),
        *("--projection", "32", "--hidden", "32", *more),  # small checkpoints: the server here is written in Python
    ]
    return flags.run("pretrain.py", pretrain.main, pretrain.PretrainConfig, flag_list)


@pytest.mark.usefixtures("quick_leases")
def test_a_run_of_pretraining_at_a_url_continues_on_another_machine(
    s3: S3Server, embeddings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = 0

    def refuse(request: Request) -> Any:
        nonlocal checkpoints
        checkpoints += request.method == "PUT" and request.target.endswith("state.json")
        return EXPIRED if checkpoints > 1 and request.method == "PUT" else None

    s3.weather = Weather(refuse=refuse)
    working_folders(tmp_path / "first", monkeypatch)
    assert pretrain_here(embeddings) == 1
    assert "cannot be written: the credentials have expired" in capsys.readouterr().err
    s3.weather = Weather()
    working_folders(tmp_path / "second", monkeypatch)
    assert pretrain_here(embeddings) == 0
    out = capsys.readouterr().out
    assert "resuming from step 2" in out
    assert "report: s3://shop/runs/one/report.md" in out
    assert Registry("s3://shop/composers").versions() == ["v1"]
    kept = {name.split("/")[2] for name in objects(s3, "s3://shop/runs/one") if "checkpoints" in name}
    assert kept == {"step-0000004", "step-0000006"}
    working_folders(tmp_path / "third", monkeypatch)
    assert pretrain_here(embeddings) == 0
    assert "run one is finished" in capsys.readouterr().out


def working_folders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine: one with working folders of its own."""
    monkeypatch.setattr("scot.data.mirror.scratch_folder", lambda: folder)


def test_evaluation_reads_and_writes_urls(
    s3: S3Server, embeddings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(DrawConfig("wardrobe", tmp_path / "gallery", "eval", size=60, queries=10))
    s3.files.put(f"{tmp_path}/gallery/", "shop/gallery/", recursive=True)
    tiny: Any = {"composer": ["tiny-1"], "json": True}
    config = EvaluateConfig(gallery=["s3://shop/gallery"], output="s3://shop/evaluation", **tiny)
    evaluate(config)
    first = objects(s3, "s3://shop/evaluation")
    assert {"/results.json", "/wardrobe.png"} <= first.keys()
    s3.weather = Weather()
    evaluate(config)
    read = {request.target for request in s3.weather.seen if request.reads and "/gallery/images/" in request.target}
    assert len(read) < 60  # those of the contact sheet: the vectors are there
    local = EvaluateConfig(gallery=[str(tmp_path / "gallery")], output=str(tmp_path / "evaluation"), **tiny)
    capsys.readouterr()
    evaluate(local)
    assert (tmp_path / "evaluation" / "results.json").read_bytes() == first["/results.json"]


def test_a_gallery_is_indexed_from_a_url_and_again_without_reading(
    s3: S3Server, shop: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_plan, "_SETTLED_NS", 0)  # the objects are as young as the test
    run = ["--source", shop, "--store", str(tmp_path / "qdrant"), "--thumbnails", "s3://shop/thumbnails"]
    assert index.run(run) == 0
    assert "60 new, 0 updated, 0 unchanged, 0 removed; nothing was refused" in capsys.readouterr().out
    s3.weather = Weather()
    assert index.run(run) == 0
    assert "0 new, 0 updated, 60 unchanged" in capsys.readouterr().out
    assert not any(request.reads and "/im/" in request.target for request in s3.weather.seen)
    assert len(s3.files.find("shop/thumbnails")) == 60


def test_a_mirror_uploads_what_completes_others_last(s3: S3Server, tmp_path: Path) -> None:
    mirror = Mirror("s3://shop/mirrored", tmp_path / "here", last=("state.json", "done.json"))
    mirror.fetch()
    for name in ("done.json", "a/state.json", "a/weights", "notes.txt"):
        (tmp_path / "here" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "here" / name).write_text(name)
    s3.weather = Weather()
    mirror.store()
    order = [request.target.removeprefix("/shop/mirrored/") for request in s3.weather.seen if request.method == "PUT"]
    assert set(order[:2]) == {"a/weights", "notes.txt"}
    assert order[2:] == ["a/state.json", "done.json"]
    (tmp_path / "here" / "notes.txt").unlink()
    s3.weather = Weather()
    mirror.store()
    assert [request.method for request in s3.weather.seen if "notes" in request.target] == ["DELETE"]
    other = Mirror("s3://shop/mirrored", tmp_path / "there")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "left.txt").write_text("of an earlier run here")
    other.fetch()
    assert {path.name for path in (tmp_path / "there").rglob("*") if path.is_file()} == {
        "weights",
        "state.json",
        "done.json",
    }


def test_a_bucket_that_there_is_not(shop: str, triplets: str) -> None:
    with pytest.raises(Unavailable, match="s3://no-such-bucket/e cannot be written: there is no such bucket or folder"):
        encode_here([shop], [triplets], "s3://no-such-bucket/e")
