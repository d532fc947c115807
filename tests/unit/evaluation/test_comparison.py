"""Evaluation of a drawn gallery: baselines are at their best, caches are of one encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from scot.cli import main
from scot.composers import save_composer
from scot.composers.architectures import build
from scot.encoders import load_encoder
from scot.errors import InvalidInput, NotFound
from scot.evaluation.comparison import ORACLE, ORACLE_MOVED, compare
from scot.evaluation.contact_sheet import SheetRow, contact_sheet
from scot.evaluation.model import EncodedBenchmark, encode_benchmark
from scot.evaluation.run import EvaluateConfig, evaluate
from scot.evaluation.worlds import read_gallery
from scot.worlds.drawing import DrawConfig, draw
from tests.support.random_blip2 import save_random_blip2
from tests.support.random_encoder import save_random_encoder


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery") / "wardrobe"
    draw(DrawConfig("wardrobe", folder, "eval", 120, 40, num_workers=1))
    return folder


def encode(gallery: Path, cache: Path, name: str = "tiny", *, best_of_vectors: bool = False) -> EncodedBenchmark:
    return encode_benchmark(read_gallery(gallery), load_encoder(name), gallery, cache, best_of_vectors=best_of_vectors)


@pytest.fixture(scope="module")
def encoded(gallery: Path) -> EncodedBenchmark:
    return encode(gallery, gallery.parent / "cache")


def answers(encoded: EncodedBenchmark) -> list[str]:
    return [query.targets[0] for query in encoded.benchmark.parts[0].queries]


def test_a_composer_that_knows_the_answer_has_recall_one(encoded: EncodedBenchmark) -> None:
    result = compare(encoded, [("given", {"": encoded.references("", answers(encoded))})])
    assert result.value("given") == 1.0
    assert result.value("given", "recall_subset@1") == 1.0
    assert result.value(ORACLE) > result.best_baseline().metrics["recall@1"].value
    assert {row.name.split(":")[0] for row in result.rows} == {
        "given",
        "image_only",
        "text_only",
        "sum",
        "slerp",
        "centred_sum",
        ORACLE,
        ORACLE_MOVED,
    }
    assert not any(row.learned for row in result.rows[1:])
    assert result.value(ORACLE_MOVED) > result.best_baseline().metrics["recall@1"].value


def test_the_reference_does_not_compete(encoded: EncodedBenchmark) -> None:
    references = encoded.references("", [query.reference for query in encoded.benchmark.parts[0].queries])
    result = compare(encoded, [("given", {"": references})], weights=(0.5,))
    assert result.value("given") == result.value("image_only")
    assert result.value("given", "recall@10") > 0.5


def test_embeddings_are_cached_for_this_encoder_only(gallery: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = encode(gallery, cache)
    (shard,) = cache.iterdir()
    written = shard.stat().st_mtime_ns
    again = encode(gallery, cache)
    assert torch.equal(again.references(""), first.references(""))
    assert [file.stat().st_mtime_ns for file in cache.iterdir()] == [written]
    other = encode(gallery, cache, save_random_encoder(tmp_path / "model"))
    assert other.references("").shape[1] == 32
    assert len(list(cache.iterdir())) == 2


def test_both_forms_of_the_command_give_the_same_numbers(
    gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = load_encoder("tiny")
    module = build("token_combiner", {"dim": encoder.dim, "image_states": 512, "text_states": 128, "heads": 1})
    torch.nn.init.constant_(module.get_parameter("gate.3.bias"), 2.0)
    reader = tmp_path / "reader"
    save_composer(reader, module, encoder_id=encoder.id, dim=encoder.dim)
    shared = ["--gallery", str(gallery), "--output", str(tmp_path)]
    assert main(["evaluate", *shared, "--composer", str(reader)]) == 0
    rows = json.loads((tmp_path / "results.json").read_text())["worlds"]["wardrobe"]["rows"]
    tuned = next(name for name in rows if name.startswith("sum:"))
    for name, composer in (("reader", str(reader)), (tuned, tuned), ("image_only", "image_only")):
        assert main(["evaluate", "wardrobe", *shared, "--composer", composer]) == 0
        metrics = json.loads((tmp_path / "wardrobe-eval-result.json").read_text())["metrics"]
        assert len(metrics) == 7
        assert {metric: estimate["value"] for metric, estimate in rows[name].items()} == metrics
    capsys.readouterr()


def test_the_command_writes_table_json_and_sheet(
    gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(EvaluateConfig(gallery=[str(gallery)], output=tmp_path))
    assert "oracle" in capsys.readouterr().out
    written = json.loads((tmp_path / "results.json").read_text())["worlds"]["wardrobe"]
    assert written["queries"] == 40
    assert 0 <= written["rows"][ORACLE]["recall@1"]["low"] <= written["rows"][ORACLE]["recall@1"]["value"] <= 1


def test_an_encoder_of_several_vectors_is_ranked_by_the_best_of_them(
    gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = save_random_blip2(tmp_path / "model")
    several = encode(gallery, tmp_path / "cache", name, best_of_vectors=True)
    pooled = encode(gallery, tmp_path / "cache", name)
    vectors_NVD = torch.cat(list(several.vectors[""].blocks()))
    assert vectors_NVD.shape == (120, 6, 24)
    torch.testing.assert_close(several.references(""), pooled.references(""), atol=1e-5, rtol=0)
    again = encode(gallery, tmp_path / "cache", name, best_of_vectors=True)
    assert torch.equal(torch.cat(list(again.vectors[""].blocks())), vectors_NVD)
    # A picture asked for by its own third vector: only the score over all vectors is sure to find it.
    given = [("given", {"": several.vectors[""].rows(answers(several))[:, 2]})]
    assert compare(several, given, weights=(0.5,)).value("given") == 1.0
    assert compare(pooled, given, weights=(0.5,)).value("given") < 1.0

    flags = ["--gallery", str(gallery), "--output", str(tmp_path / "evaluation"), "--best-of-vectors"]
    assert main(["evaluate", *flags, "--encoder", name]) == 0
    assert (
        "best of 6 vectors"
        in json.loads((tmp_path / "evaluation/results.json").read_text())["worlds"]["wardrobe"]["encoder"]
    )
    capsys.readouterr()
    assert main(["evaluate", *flags]) == 1
    assert "has one vector a picture" in capsys.readouterr().err


def test_drawing_again_reuses_and_drawing_otherwise_does_not(gallery: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (gallery / "captions.parquet").stat().st_mtime_ns
    draw(DrawConfig("wardrobe", gallery, "eval", 120, 40, num_workers=2))
    assert "already" in capsys.readouterr().out
    assert (gallery / "captions.parquet").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate"], "--gallery is missing"),
        (["evaluate", "--gallery", "nowhere"], "has no queries.json"),
        (["draw", "--size", "0"], "size must be 1 to 40,000, not 0"),
        (["draw", "--split", "eval", "--size", "20000"], "size must be 1 to 10,000, not 20000"),
        (["draw", "--split", "eval", "--size", "10", "--queries", "9"], "queries must be 1 to half of size"),
    ],
)
def test_wrong_arguments_are_one_sentence(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == (2 if message.startswith("--") else 1)
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_gallery_with_a_missing_picture_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "wardrobe"
    draw(DrawConfig("wardrobe", folder, "eval", 12, 4, num_workers=1))
    next(iter((folder / "images").rglob("*.png"))).unlink()
    with pytest.raises(InvalidInput, match="not a whole gallery"):
        read_gallery(folder)
    (folder / "queries.json").unlink()
    with pytest.raises(NotFound, match=r"scot draw --split eval"):
        read_gallery(folder)


def test_right_answers_are_framed() -> None:
    red, blue = Image.new("RGB", (50, 50), "red"), Image.new("RGB", (80, 20), "blue")
    sheet = contact_sheet([SheetRow(red, "make it blue", [(blue, "0.9", True), (red, "0.1", False)])], title="t")
    colours = {colour for _, colour in sheet.getcolors(1_000_000) or []}
    assert (30, 160, 80) in colours
    plain = contact_sheet([SheetRow(None, "blue", [(blue, "0.9", False)])], title="t")
    assert (30, 160, 80) not in {colour for _, colour in plain.getcolors(1_000_000) or []}
