"""Every published benchmark in small: drawn pictures and annotations in the authors' own layouts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black", "white", "grey", "brown", "cyan")


def write_json(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def picture(file: Path, number: int, size: tuple[int, int] = (90, 60)) -> Path:
    """A picture that differs from those of other numbers."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, COLOURS[number % len(COLOURS)])
    half = 5 + 2 * (number // len(COLOURS))
    centre = (20 + 4 * (number % 11), 20 + 2 * (number % 7))
    box = (centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half)
    ImageDraw.Draw(image).ellipse(box, fill=COLOURS[(5 * number + 3) % len(COLOURS)])
    image.save(file)
    return file


def small_cirr(root: Path, split: str = "val", pictures: int = 60) -> Path:
    """``dev/*.png`` and ``cirr/{captions,image_splits}``; six queries, each with a set of six."""
    folder = {"val": "dev", "test1": "test1"}[split]
    names = [f"{folder}-{number}-0-img0" for number in range(pictures)]
    for number, name in enumerate(names):
        picture(root / folder / f"{name}.png", number)
    entries = []
    for query in range(6):
        members = names[6 * query : 6 * query + 6]
        entry = {
            "pairid": 12_000 + query,
            "reference": members[query],
            "caption": f"make it {COLOURS[query]}",
            "img_set": {"id": query, "members": members},
        }
        if split == "val":
            target = members[(query + 1) % 6]
            soft = {target: 1.0, members[(query + 2) % 6]: 0.5, members[(query + 3) % 6]: -1.0}
            entry |= {"target_hard": target, "target_soft": soft}
        entries.append(entry)
    write_json(root / "cirr" / "captions" / f"cap.rc2.{split}.json", entries)
    paths = {name: f"./{folder}/{name}.png" for name in names}
    write_json(root / "cirr" / "image_splits" / f"split.rc2.{split}.json", paths)
    return root


def small_fashioniq(root: Path, pictures: int = 60) -> Path:
    """``images/*.jpg``, ``captions`` and ``image_splits``; four queries a category, over eight of its pictures."""
    for start, category in enumerate(("dress", "shirt", "toptee")):
        names = [f"B00{category.upper()}{number:02d}" for number in range(pictures)]
        for number, name in enumerate(names):
            picture(root / "images" / f"{name}.jpg", 7 * start + number)
        entries = [
            {"candidate": names[n], "target": names[n + 4], "captions": [f"Is {COLOURS[n]}.", "has sleeves, "]}
            for n in range(4)
        ]
        write_json(root / "captions" / f"cap.{category}.val.json", entries)
        write_json(root / "image_splits" / f"split.{category}.val.json", names)
    return root


def small_circo(root: Path, split: str = "val", pictures: int = 60) -> Path:
    """``annotations``, ``COCO2017_unlabeled/{annotations,unlabeled2017}``; three queries with one to three answers."""
    ids = [1_000 + 7 * number for number in range(pictures)]
    for number, image_id in enumerate(ids):
        picture(root / "COCO2017_unlabeled" / "unlabeled2017" / f"{image_id:012d}.jpg", number)
    info = {"images": [{"id": image_id, "file_name": f"{image_id:012d}.jpg"} for image_id in reversed(ids)]}
    write_json(root / "COCO2017_unlabeled" / "annotations" / "image_info_unlabeled2017.json", info)
    entries: list[dict[str, Any]] = []
    for query in range(3):
        entry: dict[str, Any] = {
            "id": query,
            "reference_img_id": ids[query],
            "relative_caption": f"is {COLOURS[query]}",
            "shared_concept": "a ball",
        }
        if split == "val":
            truths = ids[10 + 3 * query : 11 + 4 * query]
            aspects = [["addition"], ["addition", "negation"], ["viewpoint"]][query]
            entry |= {"target_img_id": truths[0], "gt_img_ids": truths, "semantic_aspects": aspects}
        entries.append(entry)
    write_json(root / "annotations" / f"{split}.json", entries)
    return root


def small_genecis(root: Path) -> Path:
    """``val2017``, ``VG_100K`` and the four tasks; two templates each, the second object template with a duplicate."""
    for number in range(20):
        picture(root / "val2017" / f"{500 + number:012d}.jpg", number)
        picture(root / "VG_100K" / f"{900 + number}.jpg", number, (120, 80))
    for task in ("change_object", "focus_object"):
        templates = []
        for query in range(2):
            reference, target, *others = ({"val_image_id": 500 + 5 * query + n} for n in range(6))
            gallery = [*others, target] if query else others
            templates.append({"condition": "wall", "reference": reference, "target": target, "gallery": gallery})
        write_json(root / "genecis" / f"{task}.json", templates)
    for task in ("change_attribute", "focus_attribute"):
        templates = []
        for query in range(2):
            reference, target, *others = (
                {"image_id": 900 + 5 * query + n, "instance_bbox": [10 + n, 5, 30, 20.5]} for n in range(6)
            )
            others.append({"image_id": target["image_id"], "instance_bbox": [60, 30, 40, 40]})
            templates.append({"condition": "red", "reference": reference, "target": target, "gallery": others})
        write_json(root / "genecis" / f"{task}.json", templates)
    return root


def small_pinpoint(root: Path, pictures: int = 60) -> Path:
    """``images/*.jpg`` and both tables; three wordings of one query, two references, one that is not searched."""
    names = [f"{number:032x}" for number in range(pictures)]
    for number, name in enumerate(names):
        picture(root / "images" / f"{name}.jpg", number)
    queries = [
        (
            f"query_{n}",
            names[first],
            names[second] if second else "None",
            text,
            names[10 * n : 10 * n + 3],
            names[40 : 40 + n],
        )
        for n, (first, second, text) in enumerate(
            [(1, None, "make it red"), (1, None, "a red one"), (1, None, "in red"), (2, 3, "both"), (59, None, "blue")]
        )
    ]
    columns = ("query_id", "query_image_signature", "query_image_signature2", "instruction")
    table = dict(
        zip(
            (*columns, "positive_candidates", "negative_candidates"), map(list, zip(*queries, strict=True)), strict=True
        )
    )
    pq.write_table(pa.table(table), root / "pinpoint_licensed.parquet")
    (root / "index_signatures.txt").write_text("\n".join(names[:-1]) + "\n", encoding="utf-8")
    return root


def small_icir(root: Path) -> Path:
    """``database``, ``query`` and both tables; two objects, one image in the database for two texts."""
    rows: dict[str, list[str]] = {"query": [], "database": []}
    for number, thing in enumerate(("temple", "teapot")):
        for n in range(12):
            path = f"database/{thing}_{n:02d}.jpg"
            picture(root / path, 20 * number + n)
            rows["database"].append(f"{path},{('at night', 'as a drawing', '')[n % 3]},{thing}")
        rows["database"].append(f"database/{thing}_00.jpg,as a drawing,{thing}")
        for n, text in enumerate(("at night", "as a drawing")):
            path = f"query/{thing}_{n}.jpg"
            picture(root / path, 20 * number + 15 + n)
            rows["query"].append(f"{path},{text},{thing}")
    for name, lines in rows.items():
        (root / f"{name}_files.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def small_benchmarks(home: Path) -> Path:
    """All of them, the hidden splits too, each in a folder of its name."""
    for split in ("val", "test1"):
        small_cirr(home / "CIRR", split)
    for split in ("val", "test"):
        small_circo(home / "CIRCO", split)
    small_fashioniq(home / "FashionIQ")
    small_genecis(home / "GeneCIS")
    small_pinpoint(home / "PinPoint")
    small_icir(home / "icir")
    return home


def load_json(file: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content
