"""``scot plan``: what a workload needs, where the numbers come from, and the plan beside a finished run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scot.cli import main
from scot.data.run_report import RunReport
from scot.errors import InvalidInput
from scot.index.config import CollectionConfig, shards_for
from scot.plan.check import compare
from scot.plan.coefficients import coefficients
from scot.plan.stages import STAGES, Planner, Stage
from scot.plan.workload import Prices, Workload

ROOT = Path(__file__).resolve().parents[3]
LOAD = Workload(images=1_000_000, gpu="L4", gpus=4)


def stage(name: str, load: Workload = LOAD) -> Stage:
    return STAGES[name](Planner(load))


def value(name: str) -> float:
    return coefficients().values[name].value


def test_every_coefficient_names_a_command_that_exists_or_a_page_and_the_day_it_was_read() -> None:
    known = coefficients()
    for source in [each.source for each in known.values.values()] + [known.gpu_source, known.encoder_source]:
        kind, _, what = source.partition(": ")
        if kind == "cited":
            assert re.search(r"https://\S+ \(20\d\d-\d\d-\d\d\)", what), source
        else:
            assert kind in ("measured", "computed"), source
            files = re.findall(r"(?:benchmarks|docs|scot)/[\w/.-]*\w", what)
            assert files, source
            for file in files:
                assert list(ROOT.glob(f"{file}*")), f"{file} of {source!r} does not exist"


def test_edits_without_a_model_take_the_cores_and_with_one_its_tokens() -> None:
    load = replace(LOAD, captions=2, edits_per_caption=3, cores=8)
    without = stage("edits", load)
    assert without.core_hours == pytest.approx(2_000_000 / value("edits.slots_captions_s_core") / 3_600)
    assert without.hours == pytest.approx(without.core_hours / 8)
    model = stage("edits", replace(load, engine="vllm", llm_billions=8))
    tokens = 2_000_000 * (value("edits.prompt_tokens") + 3 * value("edits.completion_tokens"))
    assert (model.tokens, model.paid_tokens, model.core_hours) == (pytest.approx(tokens), 0, 0)
    new = 2_000_000 * (value("edits.new_prompt_tokens") + 3 * value("edits.completion_tokens"))
    assert model.gpu_hours == pytest.approx(new * 16e9 / (value("edits.llm_peak_share") * 121e12) / 3_600)
    paid = stage("edits", replace(load, engine="openai"))
    assert (paid.hours, paid.paid_tokens) == (None, pytest.approx(tokens))


def test_encoding_waits_for_the_slower_of_gpus_and_decoding() -> None:
    fast = stage("encoding", replace(LOAD, cores=10_000))
    assert fast.hours == pytest.approx(fast.gpu_hours / 4)
    slow = stage("encoding", replace(LOAD, cores=1))
    assert slow.hours == pytest.approx(1_000_000 * value("encoding.decode_core_ms") / 3.6e6)
    assert any("decoding keeps up" in note and "estimate" in note for note in slow.notes)
    alone = stage("encoding", replace(LOAD, gpu=""))
    assert alone.hours is not None
    assert alone.hours > 10 * fast.gpu_hours
    with_states = stage("encoding", replace(LOAD, states="int8"))
    assert 1_000_000 * 257 * 1_024 / 1e9 < with_states.gb - fast.gb < 2 * 1_000_000 * 257 * 1_024 / 1e9


@pytest.mark.parametrize("name", STAGES)
def test_twice_the_data_is_twice_the_disk_and_at_least_as_long(name: str) -> None:
    load = replace(LOAD, gpus=1, cores=1_000)
    one, two = stage(name, load), stage(name, replace(load, images=2_000_000))
    assert two.gb == pytest.approx(2 * one.gb)
    assert (two.hours or 0.0) >= (one.hours or 0.0)


def test_a_store_has_machines_for_its_memory_and_for_its_searches() -> None:
    load = replace(LOAD, images=1_000_000_000, node_gb=256)
    full = stage("indexing", load)
    cold = stage("indexing", replace(load, layout=CollectionConfig(quantization="turbo", vectors_memory="cold")))
    assert full.memory_gb == pytest.approx(1e9 * (4 * 768 + value("indexing.item_bytes")) / 1e9)
    assert cold.memory_gb == pytest.approx(1e9 * (4 * 768 / 8 + value("indexing.item_bytes")) / 1e9)
    assert "100 shards on 4 machines" in cold.notes[0]
    two = replace(load, layout=CollectionConfig(quantization="turbo", vectors_memory="cold", replication_factor=2))
    assert stage("indexing", two).memory_gb == pytest.approx(2 * cold.memory_gb)
    quiet, busy = (stage("serving", replace(two, queries_per_s=rate)) for rate in (1, 1_000))
    assert ("8 machines" in quiet.machines, "the searches want" in busy.notes[-1]) == (True, True)
    assert busy.node_hours > quiet.node_hours
    cold_cache, warm_cache = (stage("serving", replace(LOAD, gpu="", cache_hits=hits)) for hits in (0.0, 1.0))
    assert warm_cache.core_hours < cold_cache.core_hours


@pytest.mark.parametrize(("items", "shards"), [(1, 1), (10_000_000, 1), (10_000_001, 2), (1_000_000_000, 100)])
def test_a_collection_has_a_shard_for_ten_million_items(items: int, shards: int) -> None:
    assert shards_for(items) == shards


def test_a_price_is_the_sum_of_what_is_used_times_the_unit_prices() -> None:
    used = Stage("x", 1.0, gb=2, core_hours=3, gpu_hours=5, node_hours=7, paid_tokens=11e6)
    assert used.price(Prices(1000, 100, 10, 1, 0.1)) == pytest.approx(5_000 + 300 + 70 + 2 + 1.1)
    assert not Prices().given


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "images must be at least 1, not 0: say how many with --images"),
        ("--images -1", "images must be at least 1, not -1"),
        ("--images 9 --encoder ViT-Q", "the encoder 'ViT-Q' is unknown to the plan; known: tiny, ViT-B-32"),
        ("--images 9 --gpu X1", "the GPU 'X1' is unknown; known: T4, A10G, L4"),
        ("--images 9 --gpus 0", "gpus must be at least 1, not 0"),
        ("--images 9 --price-gpu-hour -1", "price_gpu_hour must be a number of at least 0, not -1"),
        ("--images 9 --price-node-hour nan", "price_node_hour must be a number of at least 0, not nan"),
        ("--images 9 --queries-per-s inf", "queries_per_s must be a number above 0, not inf"),
        ("--images 9 --cache-hits 1.5", "cache_hits must be from 0 to 1, not 1.5"),
        ("--images 9 --engine vllm", "engine vllm needs a GPU: name its type with --gpu"),
        (
            "--images 9 --engine vllm --gpu L4 --llm-billions 70",
            "a language model of 70 billion parameters takes 140 GB in 16 bits, and one L4 has 24",
        ),
        ("--images 9 --store embedded --shards 4", "the embedded store has one shard and no replicas"),
        ("--check nowhere", "there is no report (_report.json) in nowhere"),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(
    words: str, sentence: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plan", *words.split()]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"scot plan: {sentence}")
    assert (said.err.count("\n"), said.out) == (1, "")


def test_the_command_prints_the_parts_their_price_and_every_source(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--images", "10000000", "--gpu", "l4", "--gpus", "8", "--price-gpu-hour", "0.8"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found["stages"]] == [*list(STAGES)[:-1], "serving, a month"]
    encoding = found["stages"][1]
    assert encoding["price"] == pytest.approx(0.8 * encoding["gpu_hours"])
    assert "edits.completion_tokens" not in found["sources"]  # no model generates these edits
    for name, each in found["sources"].items():
        assert f"{name} = " in text
        assert each["source"] in text


def report(folder: Path, job: str, seconds: float, counts: dict[str, float], **settings: Any) -> str:
    folder.mkdir(parents=True)
    RunReport(job, seconds, counts, settings, cores=2, machine="here").write(folder)
    return str(folder)


def test_a_finished_run_is_compared_with_the_plan_of_its_own_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hours = stage("edits", Workload(images=3_400, cores=2)).hours
    assert hours is not None
    made = {"captions": 3_400.0, "triplets": 10_880.0, "bytes": 1e6}
    report(tmp_path / "work/triplets", "edits", 2 * hours * 3_600, made, engine="slots", edits_per_caption=4)
    steps = {"steps": 100.0, "batch_size": 512.0, "triplets": 10_000.0, "texts": 9_000.0}
    report(tmp_path / "work/runs/first", "pretraining", 60, steps, encoder="tiny@5c8f13159dd6-256d")
    report(tmp_path / "work/reports", "indexing", 60, {"images": 3_400.0}, encoder="tiny", store="embedded")
    encoded = {"images": 3_400.0, "texts": 9_000.0, "triplets": 10_000.0, "bytes": 8e6}
    report(tmp_path / "work/embeddings", "encoding", 60, encoded, encoder="tiny@5c8f13159dd6-256d", states="none")
    assert main(["plan", "--check", str(tmp_path / "work"), "--json"]) == 0
    found = {(each["job"], each["unit"]): each for each in json.loads(capsys.readouterr().out)["compared"]}
    assert found["edits", "hours"]["reported"] == pytest.approx(2 * found["edits", "hours"]["planned"])
    assert found["edits", "triplets"]["planned"] == pytest.approx(13_600 * value("edits.accepted_share"))
    gb = ((3_400 + 9_000) * 512 + 10_000 * value("encoding.row_bytes")) / 1e9
    assert found["encoding", "GB on the disk"]["planned"] == pytest.approx(gb)
    assert {job for job, _ in found} == {"edits", "encoding", "pretraining", "indexing"}
    assert main(["plan", "--check", str(tmp_path / "work/triplets")]) == 0
    assert "2.00 times the plan (3,400 captions; here)" in capsys.readouterr().out


def test_a_report_that_is_none_and_one_of_other_work_are_refused(tmp_path: Path) -> None:
    other = report(tmp_path / "other", "edits", 1, {"captions": 9.0}, engine="rules", edits_per_caption=4)
    with pytest.raises(InvalidInput, match=r"no report in .*other has work that is planned"):
        compare([other], Workload())
    (tmp_path / "_report.json").write_text('{"job": "edits"}')
    with pytest.raises(InvalidInput, match=r"_report\.json is not the report of a job"):
        compare([str(tmp_path)], Workload())
