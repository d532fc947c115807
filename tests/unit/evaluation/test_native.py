"""An embedder composes queries by itself: in every benchmark, beside trained composers, and at the gate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scot.cli import main
from scot.composers import NativeComposer, Registry, baseline, native_composer, open_composer, save_composer
from scot.composers.architectures import build
from scot.encoders import PairEncoder, load_encoder
from scot.errors import InvalidInput
from scot.evaluation.model import encode_benchmark
from scot.evaluation.promotion import compare, promote
from scot.evaluation.worlds import read_gallery
from scot.worlds.drawing import DrawConfig, draw
from tests.support.random_embedder import save_random_clip, save_random_qwen3_vl
from tests.support.small_benchmarks import load_json, small_benchmarks

FOLDERS = {"cirr": "CIRR", "fashioniq": "FashionIQ", "circo": "CIRCO", "genecis": "GeneCIS", "pinpoint": "PinPoint"}
FOLDERS |= {"icir": "icir"}


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"st:local-dir:{save_random_qwen3_vl(tmp_path_factory.mktemp('embedder'))}"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> PairEncoder:
    encoder = load_encoder(f"st:local-dir:{save_random_clip(tmp_path_factory.mktemp('clip'))}")
    assert isinstance(encoder, PairEncoder)
    return encoder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_benchmarks(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery") / "wardrobe"
    draw(DrawConfig("wardrobe", folder, "eval", 60, 20, num_workers=1))
    return folder


@pytest.mark.parametrize("benchmark", FOLDERS)
def test_every_benchmark_is_run_by_the_embedder_itself(
    benchmark: str, embedder: str, home: Path, tmp_path: Path
) -> None:
    root = str(home / FOLDERS[benchmark])
    words = ["evaluate", benchmark, "--annotations", root, "--images", root, "--output", str(tmp_path)]
    assert main([*words, "--encoder", embedder, "--composer", "native"]) == 0
    result = load_json(tmp_path / f"{benchmark}-val-result.json")
    assert result["model"]["composer"] == "native"
    assert result["model"]["encoder"].startswith("st:local-dir@")
    assert list((tmp_path / "cache").glob("pairs-*.safetensors"))


def test_queries_are_the_embedded_pairs_and_are_kept(
    clip: PairEncoder, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = encode_benchmark(read_gallery(gallery), clip, gallery, tmp_path)
    (queries,) = encoded.compose(native_composer(clip))
    part = encoded.benchmark.parts[0]
    for row, query in enumerate(part.queries):
        with Image.open(encoded.images[part.name][query.reference].file) as picture:
            pixels = clip.preprocess(picture.convert("RGB"))
        rows, _ = clip.encode_pairs([[pixels]] * len(query.edits), query.edits)
        expected = rows.mean(0) / np.linalg.norm(rows.mean(0))
        np.testing.assert_allclose(queries[part.name][row].numpy(), expected, atol=1e-5)
    monkeypatch.setattr(type(clip), "encode_pairs", None)  # a call would fail
    (again, other) = encoded.compose(native_composer(clip), baseline("sum"))
    np.testing.assert_array_equal(again[part.name].numpy(), queries[part.name].numpy())
    assert not np.allclose(other[part.name].numpy(), queries[part.name].numpy(), atol=1e-3)


def trained(registry: Path, encoder: PairEncoder) -> Registry:
    module = build("combiner", {"dim": encoder.dim, "projection": 4, "hidden": 4})
    save_composer(registry.parent / "made", module, encoder_id=encoder.id, dim=encoder.dim)
    composers = Registry(registry)
    composers.publish(registry.parent / "made", "v1", release=False)
    return composers


def test_the_gate_measures_a_first_release_against_the_embedder_itself(
    clip: PairEncoder, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scot.evaluation.promotion.load_encoder", lambda name: clip)
    where: Any = {"galleries": [gallery], "encoder": "clip", "cache": tmp_path / "cache"}
    registry = trained(tmp_path / "composers", clip)
    checks = compare(registry, "native", "v1", **where)
    assert {check.metric for check in checks} >= {"recall@1", "recall_subset@1"}
    assert all(check.other is not None for check in checks)
    decision = promote(registry, "v1", **where)
    assert decision.outcome == "first release"
    assert decision.compared_with == "native"
    assert "native composer" in decision.summary
    by_metric = {check.metric: check.candidate for check in checks}
    assert {check.metric: check.other for check in decision.checks}.items() <= by_metric.items()


def test_it_stands_beside_trained_composers(
    embedder: str, gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "--gallery", str(gallery), "--encoder", embedder, "--composer", "native"]
    assert main([*words, "--output", str(tmp_path), "--json"]) == 0
    (world,) = json.loads(capsys.readouterr().out)["worlds"].values()
    assert {"native", "sum", "image_only", "oracle"} <= {name.partition(":")[0] for name in world["rows"]}


def test_other_encoders_have_none(clip: PairEncoder, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"tiny@.* does not embed a picture and a text together"):
        native_composer(load_encoder("tiny"))
    assert isinstance(open_composer("native", None, clip), NativeComposer)
    registry = trained(tmp_path / "composers", clip)
    with pytest.raises(InvalidInput, match="version 'native' must be"):
        registry.publish(tmp_path / "made", "native")
