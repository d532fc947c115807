"""The test of an embedding cache measures what ``scot evaluate pairs`` measures, without an encoder."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from ray_jobs import pretrain
from scot.composers import Registry, baseline
from scot.data.triplets import Triplet, write_triplets
from scot.embeddings.cache import load_cache
from scot.embeddings.encode import encode_triplets
from scot.embeddings.memory_mapped import map_cache
from scot.encoders import load_encoder
from scot.evaluation import cached_pairs
from scot.evaluation.cached_pairs import CachedPairs
from scot.evaluation.comparison import compare
from scot.evaluation.model import encode_benchmark
from scot.evaluation.pairs import find_pairs, read_pairs
from tests.support.flat_config import configured
from tests.unit.evaluation.test_pairs import COLORS, PLACES, THINGS

_SHADES = ("pale", "bright", "dark", "muted", "glossy")
_MOMENTS = ("at night", "in the rain")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawing for each caption: a disc whose color, size and height say what the caption says."""
    folder = tmp_path_factory.mktemp("catalogue")
    lines = ["id,image,caption"]
    for number, (shade, color, thing, place) in enumerate(itertools.product(_SHADES, COLORS, THINGS, PLACES)):
        image = Image.new("RGB", (64, 64), (240 - 40 * _SHADES.index(shade),) * 3)
        side = 12 + 8 * THINGS.index(thing)
        ImageDraw.Draw(image).ellipse((4, 4, 4 + side, 60 - 9 * PLACES.index(place)), fill=COLORS[color])
        image.save(folder / f"{number}.png")
        lines.append(f"{number},{number}.png,a {shade} {color} {thing} beside {place}")
    (folder / "captions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def embeddings(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The cache of two edits of each caption."""
    folder = tmp_path_factory.mktemp("cache")
    triplets = []
    for line in (source / "captions.csv").read_text(encoding="utf-8").splitlines()[1:]:
        image_id, _, caption = line.split(",")
        for moment in _MOMENTS:
            made = Triplet.make(
                image_id, caption, f"show it {moment}", f"{caption} {moment}",
                aspect="scene", generator="hand", prompt_version="1", seed=0,
            )  # fmt: skip
            triplets.append(made)
    write_triplets(str(folder / "triplets"), triplets, {})
    encode_triplets(
        [str(source)], [str(folder / "triplets")], str(folder / "out"), num_workers=0, states=True,
        find_pairs=find_pairs,
    )  # fmt: skip
    return str(folder / "out")


def test_it_measures_what_the_command_measures(source: Path, embeddings: str, tmp_path: Path) -> None:
    data = load_cache(embeddings)
    ours = CachedPairs.of(data, data.pairs)
    encoded = encode_benchmark(read_pairs([str(source)]), load_encoder("tiny"), Path(), tmp_path)
    assert ours.benchmark.parts[0].queries == encoded.benchmark.parts[0].queries
    one, other = (compare(each, [("given", each.compose(baseline("sum:0.3"))[0])]) for each in (ours, encoded))
    assert (one.queries, one.gallery, one.encoder) == (other.queries, other.gallery, other.encoder)
    for row, expected in zip(one.rows, other.rows, strict=True):
        for name, estimate in row.metrics.items():  # the cache's vectors are float16
            assert estimate.value == pytest.approx(expected.metrics[name].value, abs=0.03), (row.name, name)


def test_states_are_those_of_the_queries(embeddings: str) -> None:
    data = load_cache(embeddings)
    test = CachedPairs.of(data, data.pairs[:60])
    first = data.pairs[0]
    image, edit = test.states("", 0, [(first.pair.image_id, first.pair.edit)])
    assert data.image_states is not None
    assert torch.equal(image.values_BLW, data.image_states.rows(torch.tensor([first.image])).values_BLW)
    assert edit.mask_BL.any()  # an edit of the test alone has states, too


def test_a_memory_mapped_cache_has_the_same_test(embeddings: str, tmp_path: Path) -> None:
    assert map_cache(embeddings, tmp_path).pairs == load_cache(embeddings).pairs


def test_a_large_gallery_is_sampled_and_keeps_every_answer(embeddings: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_cache(embeddings)
    monkeypatch.setattr(cached_pairs, "GALLERY", 120)
    pairs = data.pairs[:50]
    names = set(CachedPairs.of(data, pairs).benchmark.parts[0].gallery or ())
    assert len(names) < len(data.image_ids)
    assert {name for each in pairs for name in (each.pair.image_id, *each.pair.target_ids)} <= names


def test_pretraining_reports_it_and_releases_by_it(
    embeddings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configured(
        pretrain.PretrainConfig, embeddings=embeddings, composers=str(tmp_path / "composers"),
        runs=str(tmp_path / "runs"), name="run", num_workers=0, projection=16, hidden=16, batch_size=32, steps=2,
        eval_every=1, held_out=0.25, lr=1e-9, precision="float32",
    )  # fmt: skip
    assert pretrain.main(config) == 0
    printed = capsys.readouterr().out
    metrics = Registry(config.composers).metrics("v1")
    assert f"pairs R@1 {metrics['pairs/recall@1']:.3f} R@10 {metrics['pairs/recall@10']:.3f}" in printed
    rivals = {name: value for name, value in metrics.items() if name.startswith("pairs/") and name.count("/") == 2}
    assert {name.split("/")[1].partition(":")[0] for name in rivals} == {
        "image_only", "text_only", "sum", "slerp", "centred_sum", "oracle", "oracle_moved"
    }  # fmt: skip
    best = max(value for name, value in rivals.items() if "oracle" not in name)
    assert metrics["pairs/recall@1"] < best  # two steps that change nothing
    own = metrics["pairs/recall@1"]
    assert f"its held-out recall@1 {own:.3f} on pairs of images is below the {best:.3f} of" in printed
    assert Registry(config.composers).released() is None
    report = (tmp_path / "runs" / "run" / "report.md").read_text(encoding="utf-8")
    assert "| pairs of images | R@1 | R@5 | R@10 |" in report
    assert "| oracle_moved | " in report
    events = (tmp_path / "runs" / "run" / "progress.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(events[-1])["held_out"]["pairs/recall@1"] == own
