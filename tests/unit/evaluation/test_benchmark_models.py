"""A model on every benchmark, end to end: small folders in the authors' layouts, the packaged encoder, baselines."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from scot.cli import main
from scot.composers import save_composer
from scot.composers.architectures import build
from scot.encoders import load_encoder
from scot.evaluation import embedding_store, vector_benchmark, worlds
from scot.evaluation.embedding_store import encode_images
from scot.evaluation.images import ImageFile
from scot.progress import Progress
from scot.worlds.drawing import draw
from tests.support.small_benchmarks import load_json, picture, small_benchmarks, small_cirr

FOLDERS = {
    "cirr": "CIRR",
    "fashioniq": "FashionIQ",
    "circo": "CIRCO",
    "genecis": "GeneCIS",
    "pinpoint": "PinPoint",
    "icir": "icir",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_benchmarks(tmp_path_factory.mktemp("home"))


def model(home: Path, benchmark: str, output: Path, *flags: str) -> int:
    root = str(home / FOLDERS[benchmark])
    places = ["--annotations", root, "--images", root, "--output", str(output)]
    return main(["evaluate", benchmark, *places, "--composer", "sum", *flags])


def ranking_files(benchmark: str, output: Path) -> list[Path]:
    kinds = ["-recall", "-recall_subset"] if benchmark in ("cirr", "wardrobe") else [""]
    split = "eval" if benchmark == "wardrobe" else "val"
    return [output / f"{benchmark}-{split}{kind}.json" for kind in kinds]


@pytest.mark.parametrize("benchmark", list(FOLDERS))
def test_a_model_run_and_its_ranking_files_score_the_same(
    benchmark: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert model(home, benchmark, tmp_path, "--json", str(tmp_path / "out.json"), "--per-query") == 0
    out, err = capsys.readouterr()
    assert f"encoding {benchmark}" in err
    assert "composer sum, encoder tiny@" in out
    result = load_json(tmp_path / "out.json")
    kept = load_json(tmp_path / f"{benchmark}-val-result.json")
    assert kept["metrics"] == result["metrics"]
    assert result["model"]["composer"] == "sum"
    with Image.open(tmp_path / f"{benchmark}-val.png") as sheet:
        assert sheet.size[0] > 800
    files = [word for file in ranking_files(benchmark, tmp_path) for word in ("--rankings", str(file))]
    root = str(home / FOLDERS[benchmark])
    again = [
        "evaluate",
        benchmark,
        "--annotations",
        root,
        *files,
        "--json",
        str(tmp_path / "again.json"),
        "--per-query",
    ]
    assert main(again) == 0
    scored = load_json(tmp_path / "again.json")
    for key in ("queries", "metrics", "per_query", "protocol"):
        assert scored[key] == result[key]


def by_hand(files: dict[str, Path], reference: str, edits: list[str]) -> dict[str, float]:
    """The score of every picture by the sum of reference and edit, from its definition."""
    encoder = load_encoder("tiny")
    images = encoder.encode_images([Image.open(file).convert("RGB") for file in files.values()])
    vector = dict(zip(files, images, strict=True))
    queries = [normalize(torch.from_numpy(vector[reference] + text), dim=0) for text in encoder.encode_texts(edits)]
    query = normalize(torch.stack(queries).sum(0), dim=0).numpy()
    return {name: float(image @ query) for name, image in vector.items()}


def best_of(scores: dict[str, float], ranked: list[str | int], count: int) -> bool:
    """Whether these are the best ``count`` in order, but for what rounding cannot tell apart."""
    names = [str(each) for each in ranked]
    values = [scores[name] for name in names]
    left = [score for name, score in scores.items() if name not in names]
    falling = all(before > after - 1e-5 for before, after in itertools.pairwise([*values, *sorted(left)[-1:]]))
    return falling and len(set(names)) == len(names) == count


def only(scores: dict[str, float], names: set[str]) -> dict[str, float]:
    return {name: score for name, score in scores.items() if name in names}


def test_cirr_ranks_all_but_the_reference_and_the_five_others(home: Path, tmp_path: Path) -> None:
    assert model(home, "cirr", tmp_path) == 0
    whole, subset = (load_json(file) for file in ranking_files("cirr", tmp_path))
    assert (whole["version"], whole["metric"], subset["metric"]) == ("rc2", "recall", "recall_subset")
    entry = json.loads((home / "CIRR/cirr/captions/cap.rc2.val.json").read_text())[3]
    files = {file.stem: file for file in (home / "CIRR/dev").iterdir()}
    scores = by_hand(files, entry["reference"], [entry["caption"]])
    del scores[entry["reference"]]
    assert best_of(scores, whole[str(entry["pairid"])], 50)
    assert best_of(only(scores, set(entry["img_set"]["members"])), subset[str(entry["pairid"])], 3)


def test_fashioniq_averages_both_orders_and_keeps_the_reference(home: Path, tmp_path: Path) -> None:
    assert model(home, "fashioniq", tmp_path) == 0
    entry = json.loads((home / "FashionIQ/captions/cap.shirt.val.json").read_text())[2]
    files = {file.stem: file for file in (home / "FashionIQ/images").iterdir() if "SHIRT" in file.stem}
    edits = ["Is yellow and has sleeves", "has sleeves and Is yellow"]
    ranked = load_json(ranking_files("fashioniq", tmp_path)[0])["shirt"]["2"]
    assert entry["candidate"] in ranked
    assert best_of(by_hand(files, entry["candidate"], edits), ranked, 50)
    assert model(home, "fashioniq", tmp_path, "--caption-order", "first", "--gallery-split", "val") == 0
    ranked = load_json(ranking_files("fashioniq", tmp_path)[0])["shirt"]["2"]
    assert best_of(only(by_hand(files, entry["candidate"], edits[:1]), set(sorted(files)[:8])), ranked, 8)


def test_a_composer_that_reads_states_is_shown_each_reference_and_edit(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load_encoder("tiny")
    module = build("token_combiner", {"dim": encoder.dim, "image_states": 512, "text_states": 128, "heads": 1})
    torch.nn.init.constant_(module.get_parameter("gate.3.bias"), 2.0)
    save_composer(tmp_path / "reader", module, encoder_id=encoder.id, dim=encoder.dim)
    root = str(home / FOLDERS["fashioniq"])
    places = ["--annotations", root, "--images", root, "--composer", str(tmp_path / "reader")]
    monkeypatch.setattr(vector_benchmark, "_CHUNK", 3)
    assert main(["evaluate", "fashioniq", *places, "--output", str(tmp_path / "small")]) == 0
    monkeypatch.setattr(vector_benchmark, "_CHUNK", 256)
    assert main(["evaluate", "fashioniq", *places, "--output", str(tmp_path / "whole")]) == 0
    (small,), (whole,) = (ranking_files("fashioniq", tmp_path / name) for name in ("small", "whole"))
    assert load_json(small) == load_json(whole)


def test_circo_ranks_integer_ids_with_the_reference_among_them(home: Path, tmp_path: Path) -> None:
    files = {str(int(file.stem)): file for file in (home / "CIRCO/COCO2017_unlabeled/unlabeled2017").iterdir()}
    for flags, edit in (([], "is orange"), (["--shared-concept"], "a ball that is orange")):
        assert model(home, "circo", tmp_path, *flags) == 0
        ranked = load_json(ranking_files("circo", tmp_path)[0])["1"]
        assert all(isinstance(each, int) for each in ranked)
        assert 1_007 in ranked
        assert best_of(by_hand(files, "1007", [edit]), ranked, 50)


def test_genecis_ranks_each_templates_own_pictures(home: Path, tmp_path: Path) -> None:
    assert model(home, "genecis", tmp_path) == 0
    ranked = load_json(ranking_files("genecis", tmp_path)[0])
    assert list(ranked) == ["focus_attribute", "change_attribute", "focus_object", "change_object"]
    files = {str(int(file.stem)): file for file in (home / "GeneCIS/val2017").iterdir()}
    for query, start in (("0", 500), ("1", 505)):
        scores = by_hand(files, str(start), ["wall"])
        candidates = {str(start + n) for n in range(1, 6)}
        assert best_of(only(scores, candidates), ranked["change_object"][query], 5)


def test_an_object_is_cut_out_dilated_and_padded_with_black(tmp_path: Path) -> None:
    """As the authors' VAWDataset: right and bottom are 1.7 box sizes from the dilated left and top."""
    file = tmp_path / "1.png"
    Image.new("RGB", (100, 80), "white").save(file)
    cut = ImageFile(file, (40.0, 30.0, 20.0, 10.0)).load()
    # left 40 - 14 = 26, right 26 + 34 = 60; top 30 - 7 = 23, bottom 23 + 17 = 40: 34 x 17 on a square of 34.
    assert cut.size == (34, 34)
    white = np.asarray(cut)[:, :, 0] == 255
    assert np.flatnonzero(white.any(axis=1)).tolist() == list(range(8, 25))
    assert white[8:25].all()
    at_the_edge = ImageFile(file, (0.0, 0.0, 100.0, 20.0)).load()
    assert at_the_edge.size == (100, 100)


def test_pictures_are_decoded_as_pillow_does(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (4, 4), (200, 10, 10, 0))
    clear.save(tmp_path / "clear.png")
    assert ImageFile(tmp_path / "clear.png").load().getpixel((0, 0)) == (200, 10, 10)
    large = Image.effect_noise((1_600, 1_200), 50).convert("RGB")
    large.save(tmp_path / "large.jpg")
    assert ImageFile(tmp_path / "large.jpg").load().size == (1_600, 1_200)


def test_a_hidden_split_gives_submissions_and_no_metrics(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert model(home, "cirr", tmp_path, "--split", "test1") == 0
    assert "server" in capsys.readouterr().out
    assert load_json(tmp_path / "cirr-test1-result.json")["metrics"] == {}
    assert not (tmp_path / "cirr-test1.png").exists()
    files = [str(tmp_path / f"cirr-test1-{kind}.json") for kind in ("recall", "recall_subset")]
    assert main(["evaluate", "validate-submission", *files, "--annotations", str(home / "CIRR")]) == 0


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """CIRR without two pictures (one a reference's), and with one that is none."""
    root = small_cirr(tmp_path / "CIRR")
    (root / "dev" / "dev-0-0-img0.png").unlink()
    (root / "dev" / "dev-50-0-img0.png").unlink()
    (root / "dev" / "dev-55-0-img0.png").write_bytes(b"no picture")
    return tmp_path


def test_missing_pictures_are_named_and_refused(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert model(damaged, "cirr", damaged / "out") == 1
    said = capsys.readouterr().err
    assert "2 of 60 pictures of cirr are missing" in said
    assert "(dev-0-0-img0, dev-50-0-img0)" in said
    for number in (0, 50):
        picture(damaged / "CIRR/dev" / f"dev-{number}-0-img0.png", number)
    assert model(damaged, "cirr", damaged / "out") == 1
    assert "1 of 60 pictures of cirr cannot be decoded" in capsys.readouterr().err


def test_skipped_pictures_are_counted_in_the_result(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert model(damaged, "cirr", damaged / "out", "--skip-missing") == 0
    assert "not the published protocol: skip_missing: 3 pictures" in capsys.readouterr().out
    result = load_json(damaged / "out" / "cirr-val-result.json")
    assert result["queries"] == 5
    assert result["protocol"]["skipped"] == {"pictures": 3, "queries": 1}
    ranked = load_json(damaged / "out" / "cirr-val-recall.json")
    assert "12000" not in ranked
    assert all("dev-55-0-img0" not in names for names in ranked.values())


def test_encoding_goes_on_where_it_was_killed(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_store, "SHARD", 16)
    files = sorted((home / "CIRR/dev").iterdir())
    pictures = {file.stem: ImageFile(file) for file in files}
    encoder = load_encoder("tiny")
    whole = encode_images(pictures, encoder, tmp_path / "whole")
    encode, calls = encoder.encode_pixels, []

    def killed(pixels):  # type: ignore[no-untyped-def]
        calls.append(len(pixels))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(pixels)

    monkeypatch.setattr(encoder, "encode_pixels", killed)
    with pytest.raises(KeyboardInterrupt):
        encode_images(pictures, encoder, tmp_path / "cache")
    lines: list[str] = []
    again = encode_images(pictures, encoder, tmp_path / "cache", progress=Progress(lines.append))
    assert calls == [16, 16, 16, 16, 12]
    assert lines[-1].startswith("encoding images: 28 of 28 images")
    assert again.names == whole.names == tuple(pictures)
    assert torch.equal(torch.cat(list(again.blocks())), torch.cat(list(whole.blocks())))
    assert torch.equal(again.rows(["dev-7-0-img0", "dev-0-0-img0"]), whole.rows(["dev-7-0-img0", "dev-0-0-img0"]))


def test_a_changed_picture_is_encoded_again(tmp_path: Path) -> None:
    file = picture(tmp_path / "a.png", 1)
    encoder = load_encoder("tiny")
    before = encode_images({"a": ImageFile(file)}, encoder, tmp_path / "cache").rows(["a"])
    picture(file, 5)
    after = encode_images({"a": ImageFile(file)}, encoder, tmp_path / "cache").rows(["a"])
    assert not torch.equal(before, after)


def test_a_world_is_drawn_when_no_gallery_is_named_and_scored_again_from_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worlds, "draw", lambda config: draw(replace(config, size=120, queries=40, num_workers=1)))
    flags = ["--composer", "sum:0.3", "--json", "out.json"]
    assert main(["evaluate", "wardrobe", *flags]) == 0
    result = load_json(tmp_path / "out.json")
    assert (result["benchmark"], result["split"], result["queries"]) == ("wardrobe", "eval", 40)
    assert result["metrics"]["recall@50"] > result["metrics"]["recall@1"]
    files = [word for file in ranking_files("wardrobe", Path("evaluation")) for word in ("--rankings", str(file))]
    drawn = "evaluation/gallery/wardrobe"
    assert main(["evaluate", "wardrobe", "--gallery", drawn, *files, "--json", "again.json"]) == 0
    assert load_json(tmp_path / "again.json")["metrics"] == result["metrics"]
    assert main(["evaluate", "scenes", "--gallery", drawn, *flags]) == 1
    assert "is a gallery of wardrobe, not of scenes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--composer", ""], "name a --composer"),
        (["--composer", "sum:2"], "must be from 0 to 1"),
        (["--encoder", "nothing"], "encoder 'nothing'"),
        (["--images", "nowhere"], "there is no image folder nowhere"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(
    flags: list[str], said: str, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert model(home, "cirr", tmp_path, *flags) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
