"""A run in this process, without Ray: what it writes, what it says, and what happens when the source changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image

from scot.data.captioned_writer import write_captioned
from scot.data.triplets import read_triplets
from scot.edits.generation import generate_triplets


def corpus(folder: Path, captions: list[str]) -> str:
    """A captioned folder with one image a caption; nothing reads its images."""
    picture = Image.new("RGB", (4, 4))
    write_captioned(folder, ((f"i{n}", picture, [caption], {}) for n, caption in enumerate(captions)))
    return str(folder)


def test_a_run_without_workers_needs_no_ray(tmp_path: Path) -> None:
    source, output = corpus(tmp_path / "p", ["a red cat on the left"] * 3), str(tmp_path / "t")
    script = (
        "import sys; sys.modules['ray'] = None; from scot.edits.generation import generate_triplets; "
        f"print(generate_triplets([{source!r}], {output!r}, num_workers=0).manifest.count)"
    )
    made = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    rows = read_triplets(output).to_pylist()
    assert len(rows) == int(made.stdout) == 12
    assert {row["image_id"] for row in rows} == {"i0", "i1", "i2"}
    assert all(row["kept"] and row["target_image_id"] is None for row in rows)


def test_the_same_again_is_reused(tmp_path: Path) -> None:
    source, output = corpus(tmp_path / "p", ["a red cat on the left"]), str(tmp_path / "t")
    assert generate_triplets([source], output, num_workers=0).reused == 0
    assert generate_triplets([source], output, num_workers=0).reused == 1
