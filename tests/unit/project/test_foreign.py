"""The foreign benchmark's sets: what packages say becomes captions, and answers follow from the captions."""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.foreign_encoder import augmented
from benchmarks.foreign_flags import NAMES as COUNTRIES
from benchmarks.foreign_flags import FlagWorld, country_names, distinct, read_flags
from benchmarks.foreign_icons import IconWorld, Package, read_icons, things
from benchmarks.foreign_report import write_report
from scot.errors import NotFound
from scot.evaluation.worlds import read_gallery
from scot.worlds import World, key_of
from scot.worlds.drawing import write_drawings
from scot.worlds.gallery import Drawing, Query, evaluation_gallery
from scot.worlds.queries import write_queries

METRICS = ("recall@1", "recall@10", "recall_subset@1")
PACKAGE = Package("@some-icons/one", "1.0.0", "MIT", {"": "outlined", "fill": "filled"})
DOT = '<circle cx="8" cy="8" r="6" fill="currentColor"/>'
BAR = '<path d="M2 6h12v4H2z" fill="currentColor"/>'
RING = '<circle cx="8" cy="8" r="6" fill="none" stroke="currentColor" stroke-width="2"/>'
NAMES = {"dot": RING, "dot-fill": DOT, "dot-off": RING + BAR, "dot-off-fill": DOT + BAR, "bar": BAR, "bar-bold": BAR}
LEFT_OUT = {"dot2": DOT, "brand-dot": DOT, "emoji-dot": DOT, "a-very-long-dot": DOT}


MAKER = Package("@some-flags/one", "1.0.0", "MIT", {"": "", "4x3": "4x3"})
RED, BLUE = (f'<path fill="{color}" d="M0 0h16v16H0z"/>' for color in ("red", "blue"))
FLAGS = {"aa": RED, "bb": BLUE, "cc": RED + DOT, "cc-4x3": RED + DOT, "dd": RED, "ee": RED, "zz": BLUE}
LISTED = {"AA": "Aland", "BB": ["Bland Republic", "Bland"], "CC": "Cland", "DD": "Dland", "EE": "Eland (the)"}


def pack(folder: Path, package: Package, icons: dict[str, str]) -> None:
    """A package as ``npm pack`` leaves it."""
    content = {"width": 16, "height": 16, "icons": {name: {"body": body} for name, body in icons.items()}}
    _write(folder, package, {"icons": content, "metadata": {"suffixes": {"": "Regular", "bold": "Bold"}}})


def _write(folder: Path, package: Package, parts: dict[str, object]) -> None:
    with tarfile.open(folder / package.file, "w:gz") as archive:
        for name, value in parts.items():
            data = json.dumps(value).encode()
            member = tarfile.TarInfo(f"package/{name}.json")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


@pytest.fixture(scope="module")
def icons(tmp_path_factory: pytest.TempPathFactory) -> IconWorld:
    folder = tmp_path_factory.mktemp("packages")
    pack(folder, PACKAGE, {**NAMES, **LEFT_OUT})
    return IconWorld(read_icons(folder, [PACKAGE]))


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> FlagWorld:
    folder = tmp_path_factory.mktemp("flags")
    pack(folder, MAKER, FLAGS)
    _write(folder, COUNTRIES, {"langs/en": {"countries": LISTED}})
    return FlagWorld(read_flags(folder, [MAKER]))


@pytest.fixture(scope="module", params=["icons", "flags"])
def world(request: pytest.FixtureRequest, icons: IconWorld, flags: FlagWorld) -> World:
    return icons if request.param == "icons" else flags


def test_names_and_styles_are_the_packages_own(tmp_path: Path) -> None:
    pack(tmp_path, PACKAGE, {**NAMES, **LEFT_OUT})
    found = read_icons(tmp_path, [PACKAGE])
    # The bold bar is of a style that the package does not tell as outlined or filled.
    assert set(found) == {
        ("one", "dot", "outlined"),
        ("one", "dot", "filled"),
        ("one", "dot off", "outlined"),
        ("one", "dot off", "filled"),
        ("one", "bar", "outlined"),
    }
    other = {("two", thing, style): svg for _, thing, style in [("", "dot", "filled")] for svg in ("<svg/>",)}
    assert things({**found, **other}, drawn_by=2) == {"dot"}


def test_a_missing_package_is_told_with_its_command(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"has no some-icons-one-1\.0\.0\.tgz: run `npm pack @some-icons/one@1\.0\.0`"):
        read_icons(tmp_path, [PACKAGE])


def test_an_icon_has_the_colors_of_its_caption(icons: IconWorld) -> None:
    told = {"vendor": "one", "thing": "dot", "style": "filled", "ink": "red", "ground": "lightblue"}
    pixels = np.asarray(icons.draw(told, random.Random(0)))
    assert pixels[48, 48].tolist() == [255, 0, 0]
    assert pixels[0, 0].tolist() == [173, 216, 230]
    for seed in range(20):
        caption = icons.caption(told, random.Random(seed))
        assert all(word in caption.replace(",", "").split() for word in ("filled", "red", "dot", "lightblue"))
    outlined = icons.draw({**told, "style": "outlined"}, random.Random(0))
    assert np.asarray(outlined)[48, 48].tolist() == [173, 216, 230]


def test_a_part_that_comes_or_goes_is_told_alone(icons: IconWorld) -> None:
    plain = {"vendor": "one", "thing": "dot", "style": "filled", "ink": "red", "ground": "white"}
    off = {**plain, "thing": "dot off"}
    assert {"add off", "dot off instead of dot"} < {icons.edit(plain, off, random.Random(n)) for n in range(40)}
    assert "without off" in {icons.edit(off, plain, random.Random(n)) for n in range(40)}
    assert ("thing", "dot off") in icons.changes(plain)
    assert ("style", "filled") not in icons.changes({**plain, "thing": "bar", "style": "outlined"})


def test_flags_have_the_countries_short_names_and_differ(tmp_path: Path) -> None:
    pack(tmp_path, MAKER, FLAGS)
    _write(tmp_path, COUNTRIES, {"langs/en": {"countries": LISTED}})
    assert country_names(tmp_path) == {"aa": "Aland", "bb": "Bland", "cc": "Cland", "dd": "Dland"}
    found = read_flags(tmp_path, [MAKER])
    makers = {("one", country) for country in ("Aland", "Bland", "Cland", "Dland")} | {("one 4x3", "Cland")}
    assert {key[:2] for key in found} == makers
    assert distinct(found) == {"Aland", "Bland", "Cland"}  # Dland's flag is Aland's


def test_a_flag_is_where_its_caption_says(flags: FlagWorld) -> None:
    told = {"maker": "one", "first": "Aland", "second": "Bland", "place": "left of", "frame": "none", "ground": "white"}
    assert flags.valid(told)
    assert not flags.valid({**told, "second": "Aland"})
    assert not flags.valid({**told, "maker": "one 4x3"})  # who drew Cland alone
    pixels = np.asarray(flags.draw(told, random.Random(0)))
    assert [pixels[48, x].tolist() for x in (24, 72)] == [[255, 0, 0], [0, 0, 255]]
    framed = np.asarray(flags.draw({**told, "frame": "gold", "place": "above"}, random.Random(0)))
    assert [framed[y, 48].tolist() for y in (24, 72)] == [[255, 0, 0], [0, 0, 255]]
    assert (framed == [255, 215, 0]).all(-1).sum() > 100
    captions = {flags.caption(told, random.Random(seed)) for seed in range(20)}
    assert "the Aland flag left of the Bland flag on a white background" in captions
    assert not any("none" in caption for caption in captions)
    edits = {flags.edit(told, {**told, "first": "Cland", "frame": "red"}, random.Random(seed)) for seed in range(40)}
    assert "Cland instead of Aland and with red frames" in edits


def test_a_picture_that_is_turned_and_tinted_stays_that_picture() -> None:
    plain = torch.full((8, 3, 16, 16), 0.5)
    changed = augmented(plain, torch.Generator().manual_seed(0))
    assert changed.shape == plain.shape
    assert (changed - 0.5).abs().max() < 0.12
    assert changed.std(dim=(2, 3)).max() < 1e-6
    dots = torch.ones((8, 3, 32, 32))
    dots[:, :, 12:20, 12:20] = 0
    moved = augmented(dots, torch.Generator().manual_seed(0))
    assert torch.equal(moved, augmented(dots, torch.Generator().manual_seed(0)))
    assert not torch.equal(moved, augmented(dots, torch.Generator().manual_seed(1)))
    dark = (moved < 0.5).all(1).sum((1, 2))
    assert ((dark > 64 * 0.4) & (dark < 64 * 2.5)).all()


def test_answers_are_exact(world: World, tmp_path: Path) -> None:
    gallery = evaluation_gallery(world, size=24, queries=12, seed=0)
    write_drawings(tmp_path, world, gallery.items, 1)
    write_queries(tmp_path, gallery)
    assert len(gallery.queries) == 12
    for query in gallery.queries:
        _check(query, gallery.items, world)
    (part,) = read_gallery(tmp_path).parts
    assert {name: set(targets) for name, targets in ((q.query_id, q.targets) for q in part.queries)} == {
        query.query_id: set(query.targets) for query in gallery.queries
    }


def _check(query: Query, items: Sequence[Drawing], world: World) -> None:
    attributes = {item.item_id: item.attributes for item in items}
    (target,) = query.targets
    asked = {name for name in world.values if attributes[target][name] != attributes[query.reference_id][name]}
    assert 1 <= len(asked) <= 2
    assert [item for item, of in attributes.items() if key_of(of) == key_of(attributes[target])] == [target]
    said = query.edited_caption.replace(",", "").split()
    assert all(word in said for name in asked for word in attributes[target][name].split() if word != "none")


def test_the_table_compares_with_both_oracles_and_the_best_baseline(tmp_path: Path) -> None:
    def row(value: float) -> dict[str, dict[str, float]]:
        return {name: {"value": value, "low": value - 0.02, "high": value + 0.02} for name in METRICS}

    baselines = {"image_only": row(0.1), "text_only": row(0.05), "sum:0.3": row(0.2)}
    rows = {"c-1": row(0.5), **baselines, "oracle": row(0.4), "oracle_moved": row(0.8)}
    result = {"run": "rules", "seed": 0, "composer": "c-1", "queries": 10, "gallery": 20, "rows": rows}
    page = tmp_path / "quality.md"
    page.write_text("# Quality\n\n## On data nobody here drew\n\nold\n\n## Others\n\nkept\n")
    write_report({"icons": {"rules": [result]}}, page, about="here")
    text = page.read_text()
    assert "old" not in text
    assert text.endswith("\n\n## Others\n\nkept\n")
    lines = [line for line in text.splitlines() if "0." in line and line.startswith("|")]
    cells = {line.split("|")[1].strip(): [each.strip() for each in line.split("|")[-4:-1]] for line in lines[:6]}
    assert cells["composer: rules"] == ["1.25", "0.62", "2.50"]
    assert cells["I + T_u − T_o of the true captions"] == ["2.00", "1.00", "4.00"]
    assert cells["sum:0.3"] == ["0.50", "0.25", "1.00"]
    assert "| composer: rules | 0.500 ± 0.020 |" in text
    assert "| `@iconify-json/mingcute` | 1.2.8 | Apache-2.0 | icons to search |" in text
    assert "| `@iconify-json/circle-flags` | 1.2.11 | MIT | flags to search |" in text
