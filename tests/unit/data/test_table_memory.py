"""Reading a table keeps no more of it than a few rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scot.data.captioned import open_source
from scot.data.records import Refusals


def test_images_inside_parquet_do_not_stay_in_memory(tmp_path: Path) -> None:
    rng, schema = (
        np.random.default_rng(0),
        pa.schema([("id", pa.string()), ("image", pa.binary()), ("text", pa.string())]),
    )
    with pq.ParquetWriter(tmp_path / "captions.parquet", schema) as writer:
        for start in range(0, 2_000, 100):
            rows = range(start, start + 100)
            images = [b"\x89PNG" + rng.bytes(20_000) for _ in rows]
            writer.write_table(pa.table([[str(n) for n in rows], images, ["a cat"] * 100], schema=schema))
    source = open_source(tmp_path)
    before, most, read = pa.total_allocated_bytes(), 0, 0
    for record in source.read(Refusals()):
        read += len(record.read())
        most = max(most, pa.total_allocated_bytes() - before)
    assert read == 2_000 * 20_004
    assert most < read / 5
