"""The test of anybody's captioned images: what its queries ask, which answers are right, and what is refused."""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path

import pytest
from PIL import Image

from scot.cli import main
from scot.embeddings.cache import folds
from scot.errors import InvalidInput
from scot.evaluation.base import Benchmark
from scot.evaluation.pairs import find_pairs, read_pairs

COLORS = {"red": (200, 30, 30), "green": (30, 160, 60), "blue": (40, 60, 200), "yellow": (230, 210, 40)}
THINGS, PLACES = ("bench", "bicycle", "boat", "lamp", "chair"), ("a wooden fence", "the brick wall", "an old barn")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each caption has two images; their combinations differ in one or more words."""
    folder = tmp_path_factory.mktemp("catalogue")
    lines = ["id,image,caption"]
    for number, (color, thing, place) in enumerate(product(COLORS, THINGS, PLACES)):
        for copy in range(2):
            name = f"{number}-{copy}"
            Image.new("RGB", (32 + number, 40), COLORS[color]).save(folder / f"{name}.png")
            lines.append(f"{name},{name}.png,a {color} {thing} beside {place}")
    (folder / "captions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def benchmark(source: Path) -> Benchmark:
    return read_pairs([str(source)])


def test_the_right_answers_are_all_images_with_the_other_caption(benchmark: Benchmark) -> None:
    (part,) = benchmark.parts
    assert part.gallery is not None
    assert len(part.gallery) == 120
    assert len(part.queries) == 60  # one a caption
    for query in part.queries:
        numbers = {name.partition("-")[0] for name in query.targets}
        assert len(numbers) == 1
        assert len(query.targets) == 2
        assert query.reference.partition("-")[0] not in numbers
        one, other = query.caption.split(), query.edited_caption.split()
        assert 1 <= len(set(one) ^ set(other)) <= 6
        assert query.edits[0]


def test_captions_of_any_language_need_no_language_identifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "py3langid", None)  # it belongs to the extra `edits`
    colors, things = ("rote", "blaue", "grüne", "gelbe"), ("Lampe", "Bank", "Tasse", "Schale")
    places = ("einem alten Zaun", "der Mauer", "dem Haus")
    rows = [
        (str(number), f"eine {color} {thing} neben {place}")
        for number, (color, thing, place) in enumerate(product(colors, things, places))
    ]
    assert len(find_pairs(rows)) == len(rows)


def test_the_same_source_gives_the_same_queries(source: Path, benchmark: Benchmark) -> None:
    assert read_pairs([str(source)]).parts == benchmark.parts
    few = read_pairs([str(source)], queries=55)
    assert few.parts[0].queries == benchmark.parts[0].queries[:55]


def test_references_may_come_from_the_held_out_captions_alone(source: Path) -> None:
    queries = read_pairs([str(source)], held_out=0.95).parts[0].queries
    captions = [query.caption for query in queries]
    assert 50 <= len(captions) < 60
    assert all(folds(captions) < int(0.95 * 2**32))
    with pytest.raises(InvalidInput, match=r"gives \d queries, and 50 are needed: .* that are held out"):
        read_pairs([str(source)], held_out=0.05)


def test_captions_that_have_nothing_in_common_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    (tmp_path / "a.txt").write_text("a red bench")
    (tmp_path / "b.txt").write_text("two dogs run over the wet sand at noon")
    with pytest.raises(InvalidInput, match="gives 0 queries, and 50 are needed: too few of its 2 captions differ"):
        read_pairs([str(tmp_path)])


def test_the_command_shows_baselines_and_both_oracles(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "pairs", "--source", str(source), "--composer", "tiny-1", "--output", str(tmp_path)]
    assert main(arguments) == 0
    written = json.loads((tmp_path / "results.json").read_text())["worlds"]["pairs"]
    assert (written["queries"], written["gallery"]) == (60, 120)
    names = {name.partition(":")[0] for name in written["rows"]}
    assert names == {
        "tiny-1", "image_only", "text_only", "sum", "slerp", "centred_sum", "oracle", "oracle_moved"
    }  # fmt: skip
    assert (tmp_path / "pairs.png").is_file()
    capsys.readouterr()
    assert main(arguments[:2]) == 2
    assert "--source is missing" in capsys.readouterr().err
