"""The official annotation files, where present: counts, closed galleries, scores against the authors' definitions."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scot.cli import main
from scot.evaluation.base import Benchmark, Query
from scot.evaluation.circo import CircoConfig
from scot.evaluation.circo import load as circo
from scot.evaluation.cirr import CirrConfig
from scot.evaluation.cirr import load as cirr
from scot.evaluation.fashioniq import FashionIqConfig
from scot.evaluation.fashioniq import load as fashioniq
from scot.evaluation.genecis import GenecisConfig
from scot.evaluation.genecis import load as genecis
from scot.evaluation.rankings import read_rankings
from scot.evaluation.scoring import score
from tests.support.official_annotations import official
from tests.support.small_benchmarks import load_json, write_json

LOADERS: dict[str, Callable[[], Benchmark]] = {
    "cirr val": lambda: cirr(CirrConfig(official("cirr"))),
    "cirr test1": lambda: cirr(CirrConfig(official("cirr"), split="test1")),
    "fashioniq val": lambda: fashioniq(FashionIqConfig(official("fashioniq"))),
    "circo val": lambda: circo(CircoConfig(official("circo"))),
    "circo test": lambda: circo(CircoConfig(official("circo"), split="test")),
    "genecis val": lambda: genecis(GenecisConfig(official("genecis"))),
}


@pytest.mark.parametrize(
    ("which", "queries", "galleries"),
    [
        ("cirr val", [4_181], [2_297]),
        ("cirr test1", [4_148], [2_315]),
        ("fashioniq val", [2_017, 2_038, 1_961], [3_817, 6_346, 5_373]),
        ("circo val", [220], [None]),
        ("circo test", [800], [None]),
    ],
)
def test_queries_and_galleries_are_as_many_as_published(
    which: str, queries: list[int], galleries: list[int | None]
) -> None:
    benchmark = LOADERS[which]()
    assert [len(part.queries) for part in benchmark.parts] == queries
    assert [part.gallery and len(part.gallery) for part in benchmark.parts] == galleries
    assert benchmark.deviations == ()
    assert benchmark.answered == ("test" not in which)


def test_genecis_templates_hold_fifteen_pictures_with_the_target_and_without_the_reference() -> None:
    benchmark = LOADERS["genecis val"]()
    assert [(part.name, len(part.queries)) for part in benchmark.parts] == [
        ("focus_object", 1_960),
        ("change_object", 1_960),
    ]
    for part in benchmark.parts:
        # One template of change_object names its target in its gallery too: fourteen distinct pictures.
        sizes = [len(query.candidates) for query in part.queries]
        assert sizes.count(15) == 1_960 - (part.name == "change_object")
        assert all(query.targets[0] in query.candidates for query in part.queries)
        assert all(query.reference not in query.candidates for query in part.queries)
    assert benchmark.deviations == ("tasks: 2 of 4, the published mean is over four",)


@pytest.mark.parametrize("which", ["cirr val", "cirr test1", "fashioniq val"])
def test_every_reference_target_and_member_is_in_its_gallery(which: str) -> None:
    for part in LOADERS[which]().parts:
        names = {name for query in part.queries for name in query.names()}
        assert names <= set(part.gallery or ())


def test_the_subset_of_cirr_is_five_others_with_the_target_among_them() -> None:
    (part,) = LOADERS["cirr val"]().parts
    assert {len(query.subset) for query in part.queries} == {5}
    assert all(query.reference not in query.subset and query.targets[0] in query.subset for query in part.queries)


def test_the_val_split_of_fashioniq_is_the_smaller_one() -> None:
    benchmark = fashioniq(FashionIqConfig(official("fashioniq"), gallery_split="val"))
    assert [len(part.gallery or ()) for part in benchmark.parts] == [2_628, 3_089, 2_902]
    assert benchmark.deviations[0].startswith("gallery_split=val")


def test_the_authors_example_of_a_circo_submission_scores_as_their_code_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their code: https://github.com/miccunifi/CIRCO, src/evaluation.py; here in numpy, from its definitions."""
    folder = official("circo")
    example = folder / "submission_val_example.json"
    arguments = ["evaluate", "circo", "--annotations", str(folder), "--rankings", str(example)]
    assert main([*arguments, "--json", str(tmp_path / "out.json")]) == 0
    assert "0.49" in capsys.readouterr().out
    result = load_json(tmp_path / "out.json")
    assert (result["benchmark"], result["split"], result["queries"]) == ("circo", "val", 220)
    answers = {str(entry["id"]): entry for entry in json.loads((folder / "val.json").read_text())}
    expected: dict[str, list[float]] = {}
    for query_id, predictions in load_json(example).items():
        truth = answers[query_id]
        hits = np.isin(predictions, truth["gt_img_ids"])
        precisions = np.cumsum(hits) * hits / np.arange(1, len(hits) + 1)
        for k in (5, 10, 25, 50):
            ap = float(precisions[:k].sum() / min(len(truth["gt_img_ids"]), k))
            expected.setdefault(f"map@{k}", []).append(ap)
            expected.setdefault(f"recall@{k}", []).append(float(truth["target_img_id"] in predictions[:k]))
            for aspect in truth["semantic_aspects"] if k == 10 else ():
                expected.setdefault(f"map@10/{aspect}", []).append(ap)
    assert result["metrics"] == pytest.approx({name: np.mean(each) for name, each in expected.items()}, abs=1e-12)
    assert result["metrics"]["map@5"] == pytest.approx(0.004861111111111111, abs=1e-15)


def test_random_rankings_of_cirr_score_as_defined(tmp_path: Path) -> None:
    benchmark, rng = LOADERS["cirr val"](), random.Random(0)
    (part,) = benchmark.parts
    whole: dict[str, list[str]] = {}
    subset: dict[str, list[str]] = {}
    for query in part.queries:
        others = [name for name in rng.sample(list(part.gallery or ()), 60) if name != query.reference]
        if rng.random() < 0.5:
            others = [name for name in others if name != query.targets[0]]
            others.insert(rng.randrange(50), query.targets[0])
        whole[query.query_id] = others[:50]
        subset[query.query_id] = rng.sample(query.subset, 3)
    head = {"version": "rc2"}
    files = [
        write_json(tmp_path / "recall.json", {**head, "metric": "recall", **whole}),
        write_json(tmp_path / "subset.json", {**head, "metric": "recall_subset", **subset}),
    ]
    metrics = score(benchmark, read_rankings(files, benchmark)).metrics
    answers = {str(entry["pairid"]): entry["target_hard"] for entry in raw("cirr", "cap.rc2.val.json")}
    for k in (1, 5, 10, 50):
        assert metrics[f"recall@{k}"] == pytest.approx(np.mean([answers[q] in whole[q][:k] for q in answers]))
    for k in (1, 2, 3):
        assert metrics[f"recall_subset@{k}"] == pytest.approx(np.mean([answers[q] in subset[q][:k] for q in answers]))
    assert metrics["mean_r5_rsub1"] == (metrics["recall@5"] + metrics["recall_subset@1"]) / 2
    assert 0.2 < metrics["recall@50"] < 0.6


def test_the_mean_of_fashioniq_is_over_categories_not_queries(tmp_path: Path) -> None:
    benchmark = LOADERS["fashioniq val"]()
    content = {}
    for part in benchmark.parts:
        fillers = list(part.gallery or ())[:60]
        right = {"dress": 1.0, "shirt": 0.25, "toptee": 0.0}[part.name] * len(part.queries)
        content[part.name] = {
            query.query_id: first(query, fillers) if int(query.query_id) < right else without(query, fillers)
            for query in part.queries
        }
    metrics = score(benchmark, read_rankings([write_json(tmp_path / "fiq.json", content)], benchmark)).metrics
    assert metrics["dress/recall@10"] == 1.0
    assert metrics["shirt/recall@10"] == pytest.approx(510 / 2_038)
    assert metrics["toptee/recall@50"] == 0.0
    assert metrics["mean/recall@10"] == pytest.approx((1 + 510 / 2_038) / 3)


def raw(benchmark: str, name: str) -> Any:
    return json.loads((official(benchmark) / name).read_text(encoding="utf-8"))


def first(query: Query, fillers: list[str]) -> list[str]:
    return [query.targets[0], *without(query, fillers)][:50]


def without(query: Query, fillers: list[str]) -> list[str]:
    return [name for name in fillers if name not in query.targets][:50]
