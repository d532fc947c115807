"""Edit generation through Ray Data: deterministic, counted, and refusing what it cannot use."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import ray
from PIL import Image

from ray_jobs.generate_edits import GenerateEditsConfig, main
from scot.data.captioned_writer import write_captioned
from scot.data.triplets import read_manifest, read_triplets
from scot.edits.rules import RulesEngine
from scot.errors import Conflict, InvalidInput, NotFound, Unavailable
from scot.ports import free_port
from scot.worlds.drawing import DrawConfig, draw
from tests.support.flat_config import configured
from tests.support.random_encoder import save_random_encoder
from tests.support.rules_endpoint import MODEL, rules_endpoint


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init("local", num_cpus=2, object_store_memory=200 * 2**20, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


job = partial(configured, GenerateEditsConfig, engine="rules")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draw(DrawConfig("scenes", folder, "train", 60, num_workers=1))
    return folder


def test_every_caption_is_edited_as_the_engine_says(pictures: Path, tmp_path: Path) -> None:
    assert main(job(source=[str(pictures)], output=str(tmp_path / "t"), edits_per_caption=3, seed=5)) == 0
    rows = read_triplets(tmp_path / "t").to_pylist()
    assert len({row["image_id"] for row in rows}) == 60
    by_caption: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for row in rows:
        by_caption.setdefault((row["caption"], row["image_id"]), set()).add((row["edit"], row["edited_caption"]))
        assert (row["generator"], row["seed"]) == ("rules", 5)
    for (caption, image_id), edits in by_caption.items():
        made = RulesEngine().edits(caption, count=3, seed=5, image_id=image_id).edits
        assert edits == {(edit.edit, edit.edited_caption) for edit in made}


def test_a_second_run_writes_the_same(pictures: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        main(job(source=[str(pictures)], output=str(tmp_path / name)))
    one, other = read_manifest(tmp_path / "one"), read_manifest(tmp_path / "other")
    assert one.hash == other.hash
    assert one.count > 150
    main(job(source=[str(pictures)], output=str(tmp_path / "one")))
    assert read_manifest(tmp_path / "one").hash == one.hash


def test_captions_that_cannot_be_edited_are_counted(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8))
    captions = {"a": "a red cat on the left", "b": "the annual report", "c": "{'json': [1, 2]} \x07 ignore this"}
    write_captioned(tmp_path / "p", ((name, picture, [text], {}) for name, text in captions.items()))
    main(job(source=[str(tmp_path / "p")], output=str(tmp_path / "t")))
    assert read_manifest(tmp_path / "t").rejected["nothing_to_edit"] == 2
    assert {row["image_id"] for row in read_triplets(tmp_path / "t").to_pylist()} == {"a"}


def test_the_triplets_of_another_run_are_not_replaced_unasked(pictures: Path, tmp_path: Path) -> None:
    run = {"source": [str(pictures)], "output": str(tmp_path / "t")}
    main(job(**run))
    before = read_manifest(tmp_path / "t")
    with pytest.raises(Conflict, match=r"holds triplets of another run .*--overwrite"):
        main(job(**run, seed=1))
    assert read_manifest(tmp_path / "t") == before
    main(job(**run, seed=1, overwrite=True))
    assert set(read_triplets(tmp_path / "t")["seed"].to_pylist()) == {1}


def test_an_openai_endpoint_writes_them(pictures: Path, tmp_path: Path) -> None:
    with rules_endpoint() as url:
        config = configured(
            GenerateEditsConfig,
            engine="openai",
            model=MODEL,
            url=url,
            source=[str(pictures)],
            output=str(tmp_path / "t"),
        )
        assert main(config) == 0
    rows = read_triplets(tmp_path / "t").to_pylist()
    assert len({row["image_id"] for row in rows}) >= 55
    assert {(row["generator"], row["prompt_version"]) for row in rows} == {(f"openai:{MODEL}", "edits-1")}
    tally = read_manifest(tmp_path / "t").extra["tally"]
    assert (tally["prompt_tokens"], tally["completion_tokens"]) == (6_000, 2_400)


def test_an_endpoint_that_stays_away_is_told_and_nothing_is_lost(pictures: Path, tmp_path: Path) -> None:
    run = {"engine": "openai", "model": MODEL, "source": [str(pictures)], "output": str(tmp_path / "t")}
    away = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(Unavailable, match="the endpoint did not answer"):
        main(job(**run, url=away, patience_s=0.0, timeout_s=2.0))
    with rules_endpoint() as url:
        assert main(job(**run, url=url)) == 0


def test_edits_that_the_encoder_hardly_sees_are_refused(pictures: Path, tmp_path: Path) -> None:
    run = {"source": [str(pictures)], "encoder": save_random_encoder(tmp_path / "encoder")}
    off = {"most_caption_edited": 1.0, "least_caption_edited": -1.0, "most_edit_edited": 1.0}
    main(job(**run, **off, output=str(tmp_path / "all"), num_workers=0))  # no workers that load the encoder again
    main(
        configured(
            GenerateEditsConfig,
            **run,
            output=str(tmp_path / "some"),
            most_caption_edited=0.9,
            least_picture_caption=0.0,
        )
    )
    some, all_ = read_manifest(tmp_path / "some"), read_manifest(tmp_path / "all")
    assert some.rejected["near_identical"] > 0
    assert some.rejected["caption_misfits"] > 0
    refused = sum(
        some.rejected.get(name, 0) for name in ("near_identical", "unrelated", "gives_all_away", "caption_misfits")
    )
    assert some.count + refused == all_.count


def test_nothing_to_do_is_one_sentence(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        main(job(source=[str(tmp_path / "nowhere")], output=str(tmp_path / "t")))
    with pytest.raises(InvalidInput, match="--output is missing"):
        main(job(source=[str(pictures)]))
    with pytest.raises(
        InvalidInput, match="engine must be one of auto, rules, slots, pairs, openai, vllm, service, not 'magic'"
    ):
        main(job(source=[str(pictures)], output=str(tmp_path / "t"), engine="magic"))
    with pytest.raises(InvalidInput, match="edits_per_caption must be 1 to 16, not 0"):
        main(job(source=[str(pictures)], output=str(tmp_path / "t"), edits_per_caption=0))
    write_captioned(tmp_path / "p", [("a", Image.new("RGB", (8, 8)), ["the annual report"], {})])
    with pytest.raises(InvalidInput, match="nothing to edit in 1 captions"):
        main(job(source=[str(tmp_path / "p")], output=str(tmp_path / "t")))
