"""Data sets of Hugging Face's Hub, read by its own client."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from scot.data import filesystems
from scot.data.captioned import open_source
from scot.data.records import Refusals
from scot.errors import NotFound
from tests.support.hub import hub

constants = pytest.importorskip("huggingface_hub.constants")


@pytest.fixture(scope="module", autouse=True)
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """``acme/shop``: six pictures in two Parquet files, as the Hub converts data sets."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "data").mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    for shard in range(2):
        pictures = [{"bytes": _png(3 * shard + number), "path": None} for number in range(3)]
        captions = [f"picture {3 * shard + number}" for number in range(3)]
        name = f"train-{shard:05d}-of-00002.parquet"
        pq.write_table(pa.table({"image": pictures, "text": captions}), folder / "data" / name)
    with hub(folder, "acme/shop") as endpoint, pytest.MonkeyPatch.context() as patch:
        import fsspec

        patch.setitem(fsspec.config.conf, "hf", {"endpoint": endpoint})
        patch.setattr(constants, "HF_HUB_OFFLINE", False)  # as it is for all tests
        filesystems._filesystem.cache_clear()
        yield
    filesystems._filesystem.cache_clear()


def _png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 9), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("url", "numbers"),
    [
        ("hf://datasets/acme/shop", range(6)),
        ("hf://datasets/acme/shop@main", range(6)),
        ("hf://datasets/acme/shop/data/train-*.parquet", range(6)),
        ("hf://datasets/acme/shop/data/train-{00000..00001}-of-00002.parquet", range(6)),
        ("hf://datasets/acme/shop/data/train-00001-of-00002.parquet", range(3, 6)),
    ],
)
def test_a_data_set_is_read_by_its_name_or_its_files(url: str, numbers: range) -> None:
    refusals = Refusals()
    records = list(open_source(url).read(refusals))
    assert [record.captions for record in records] == [(f"picture {number}",) for number in numbers]
    assert [record.load().getpixel((0, 0)) for record in records] == [(number, 0, 0) for number in numbers]
    assert not refusals.counts


@pytest.mark.parametrize("url", ["hf://datasets/acme/other", "hf://datasets/acme/shop/data/none.parquet"])
def test_what_the_hub_does_not_have(url: str) -> None:
    with pytest.raises(NotFound, match="there is nothing at"):
        open_source(url)
