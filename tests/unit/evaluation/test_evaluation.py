"""Evaluation of a drawn gallery: the oracle is the ceiling, baselines are at their best, caches are of one encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scot.cli import main
from scot.encoders import load_encoder
from scot.errors import InvalidInput, NotFound
from scot.evaluation.contact_sheet import SheetRow, contact_sheet
from scot.evaluation.world_run import EvaluateConfig, evaluate
from scot.evaluation.world_vectors import ORACLE, WorldVectors, encode_gallery, evaluate_world
from scot.worlds.drawing import DrawConfig, draw
from tests.support.random_blip2 import save_random_blip2
from tests.support.random_encoder import save_random_encoder


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery") / "wardrobe"
    draw(DrawConfig("wardrobe", folder, "eval", 120, 40, num_workers=1))
    return folder


@pytest.fixture(scope="module")
def vectors(gallery: Path) -> WorldVectors:
    return encode_gallery(gallery, load_encoder("tiny"), gallery.parent / "cache")


class Given:
    """A composer that answers what it was given."""

    name = architecture = "given"
    encoder_id = None
    reads_states = False

    def __init__(self, query_QD: np.ndarray) -> None:
        self._query_QD = torch.from_numpy(query_QD)

    def compose(self, image_BD: torch.Tensor, text_BD: torch.Tensor) -> torch.Tensor:
        return self._query_QD


def test_a_composer_that_knows_the_answer_has_recall_one(vectors: WorldVectors) -> None:
    index = vectors.index
    answers = vectors.gallery_ND[[index[next(iter(query.targets))] for query in vectors.queries]]
    result = evaluate_world(vectors, [Given(answers)])
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
    }


def test_the_reference_does_not_compete(vectors: WorldVectors) -> None:
    index = vectors.index
    references = vectors.gallery_ND[[index[query.reference_id] for query in vectors.queries]]
    result = evaluate_world(vectors, [Given(references)], weights=(0.5,))
    assert result.value("given") == result.value("image_only")
    assert result.value("given", "recall@10") > 0.5


def test_embeddings_are_cached_for_this_encoder_only(gallery: Path, vectors: WorldVectors, tmp_path: Path) -> None:
    cache = gallery.parent / "cache"
    (kept,) = cache.iterdir()
    again = encode_gallery(gallery, load_encoder("tiny"), cache)
    np.testing.assert_array_equal(again.gallery_ND, vectors.gallery_ND)
    assert list(cache.iterdir()) == [kept]
    other = encode_gallery(gallery, load_encoder(save_random_encoder(tmp_path / "model")), cache)
    assert other.gallery_ND.shape[1] == 32
    assert len(list(cache.iterdir())) == 2


def test_the_command_writes_table_json_and_sheet(
    gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(EvaluateConfig([gallery], output=tmp_path))
    assert "oracle" in capsys.readouterr().out
    written = json.loads((tmp_path / "results.json").read_text())["worlds"]["wardrobe"]
    assert written["queries"] == 40
    assert 0 <= written["rows"][ORACLE]["recall@1"]["low"] <= written["rows"][ORACLE]["recall@1"]["value"] <= 1


def test_an_encoder_of_several_vectors_is_ranked_by_the_best_of_them(
    gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = save_random_blip2(tmp_path / "model")
    encoder = load_encoder(name)
    vectors = encode_gallery(gallery, encoder, tmp_path / "cache", multi=True)
    pooled = encode_gallery(gallery, encoder, tmp_path / "cache")
    assert vectors.multi_NVD is not None
    assert vectors.multi_NVD.shape == (120, 6, 24)
    np.testing.assert_allclose(vectors.gallery_ND, pooled.gallery_ND, atol=1e-5)
    again = encode_gallery(gallery, encoder, tmp_path / "cache", multi=True)
    np.testing.assert_array_equal(again.multi_NVD, vectors.multi_NVD)
    # A picture asked for by its own third vector: only the score over all vectors is sure to find it.
    index = vectors.index
    answers = vectors.multi_NVD[[index[next(iter(query.targets))] for query in vectors.queries], 2]
    assert evaluate_world(vectors, [Given(answers)], weights=(0.5,)).value("given") == 1.0
    assert evaluate_world(pooled, [Given(answers)], weights=(0.5,)).value("given") < 1.0

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
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_gallery_with_a_missing_picture_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "wardrobe"
    draw(DrawConfig("wardrobe", folder, "eval", 12, 4, num_workers=1))
    next(iter((folder / "images").rglob("*.png"))).unlink()
    with pytest.raises(InvalidInput, match="not a whole gallery"):
        encode_gallery(folder, load_encoder("tiny"), tmp_path / "cache")
    (folder / "queries.json").unlink()
    with pytest.raises(NotFound, match=r"scot draw --split eval"):
        encode_gallery(folder, load_encoder("tiny"), tmp_path / "cache")


def test_right_answers_are_framed() -> None:
    red, blue = Image.new("RGB", (50, 50), "red"), Image.new("RGB", (80, 20), "blue")
    sheet = contact_sheet([SheetRow(red, "make it blue", [(blue, "0.9", True), (red, "0.1", False)])], title="t")
    colours = {colour for _, colour in sheet.getcolors(1_000_000) or []}
    assert (30, 160, 80) in colours
    plain = contact_sheet([SheetRow(None, "blue", [(blue, "0.9", False)])], title="t")
    assert (30, 160, 80) not in {colour for _, colour in plain.getcolors(1_000_000) or []}
