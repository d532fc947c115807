"""``scot evaluate`` with a second look: anybody's rankings in, rankings out, judged at a real endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scot.cli import main
from scot.data.captioned import read_captioned
from scot.data.images import decode_image
from scot.data.records import Refusals
from scot.worlds.drawing import DrawConfig, draw
from scot.worlds.queries import read_queries
from tests.support.chat_endpoint import chat_endpoint, said
from tests.support.drawn_judge import MODEL, DrawnJudge, expected_recall
from tests.support.small_benchmarks import load_json

SIZE, QUERIES, TOP = 90, 40, 6


@dataclass(frozen=True)
class Gallery:
    """A drawn gallery, its right answers, the first stage's ranking files, and a judge's endpoint."""

    folder: Path
    rankings: tuple[Path, Path]
    targets: dict[str, frozenset[str]]
    judge: DrawnJudge
    url: str

    def evaluate(self, output: Path, *flags: str, url: str = "") -> int:
        files = [word for file in self.rankings for word in ("--rankings", str(file))]
        judged = ["--rerank-url", url or self.url, "--rerank-model", MODEL, "--rerank-top", str(TOP)]
        places = ["--gallery", str(self.folder), "--output", str(output), "--json", str(output / "result.json")]
        return main(["evaluate", "wardrobe", *places, *files, *judged, *flags])


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    home = tmp_path_factory.mktemp("home")
    folder, output = home / "wardrobe", home / "first"
    draw(DrawConfig("wardrobe", folder, "eval", SIZE, QUERIES, 3))
    assert (
        main(["evaluate", "wardrobe", "--gallery", str(folder), "--composer", "sum:0.5", "--output", str(output)]) == 0
    )
    _, queries = read_queries(folder)
    records = read_captioned(str(folder), Refusals())
    pictures = [(record.image_id, decode_image(record.read())) for record in records]
    judge = DrawnJudge(pictures, {(query.reference_id, query.edit): query.targets for query in queries})
    rankings = (output / "wardrobe-eval-recall.json", output / "wardrobe-eval-recall_subset.json")
    with pytest.MonkeyPatch.context() as patch, chat_endpoint(judge, MODEL) as url:
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield Gallery(folder, rankings, {query.query_id: query.targets for query in queries}, judge, url)


def test_rankings_come_out_in_the_order_of_a_judge_that_knows(
    gallery: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery.judge.error = 0.0
    assert gallery.evaluate(tmp_path, "--rerank-weight", "2") == 0
    out = capsys.readouterr().out
    before, after = (load_json(file) for file in (gallery.rankings[0], tmp_path / "wardrobe-eval-recall.json"))
    ranks = [
        frozenset(place for place, name in enumerate(before[query][:TOP]) if name in right)
        for query, right in gallery.targets.items()
    ]
    result = load_json(tmp_path / "result.json")
    assert result["metrics"]["recall@1"] == pytest.approx(expected_recall(ranks, TOP, 0.0))
    assert result["metrics"]["recall@1"] > sum(0 in right for right in ranks) / len(ranks) + 0.2
    assert result["metrics"]["recall_subset@1"] == result["metrics"]["recall_subset@3"] == pytest.approx(0.825)
    assert result["model"] == {"reranker": f"{MODEL}, rerank-1, first {TOP}, weight 2"}
    for query in gallery.targets:
        assert sorted(after[query][:TOP]) == sorted(before[query][:TOP])
        assert after[query][TOP:] == before[query][TOP:]
    assert "before reranking" in out
    assert "tokens read" in out
    assert "the weights that fit either half: 0." in out or "the weights that fit either half: 1" in out


def test_a_judge_that_knows_nothing_is_given_no_weight(
    gallery: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery.judge.error = 0.5
    assert gallery.evaluate(tmp_path, "--rerank-weight", "0") == 0
    assert "the weights that fit either half: 0 and 0" in capsys.readouterr().out
    files = [load_json(file / "wardrobe-eval-recall.json") for file in (gallery.rankings[0].parent, tmp_path)]
    assert files[0] == files[1]


def test_an_endpoint_that_writes_prose_changes_nothing_and_is_counted(
    gallery: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with chat_endpoint(lambda asked: said("It depends."), MODEL) as url:
        assert gallery.evaluate(tmp_path, url=url) == 0
    assert f"first order kept: {2 * QUERIES} no_probabilities" in capsys.readouterr().out
    assert load_json(tmp_path / "wardrobe-eval-recall.json") == load_json(gallery.rankings[0])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--rerank-url", "http://127.0.0.1:1/v1"], "--rerank-url and --rerank-model are given together"),
        (["--rerank-top", "101"], "rerank_top must be between 1 and 100"),
        (["--rerank-weight", "-1"], "rerank_weight must be a number of at least 0"),
        (["--rerank-url", "x", "--rerank-model", "m", "--rerank-prompt", "none"], "rerank_prompt must be one of"),
    ],
)
def test_wrong_settings_are_one_sentence(
    gallery: Gallery, flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [word for file in gallery.rankings for word in ("--rankings", str(file))]
    places = ["--gallery", str(gallery.folder), "--output", str(tmp_path)]
    assert main(["evaluate", "wardrobe", *places, *files, *flags]) == (2 if "together" in said else 1)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
