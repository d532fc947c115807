"""What SCOT uses of qdrant-client beyond its public interface: an upgrade that changes it fails here, by name."""

from __future__ import annotations

import numpy as np
from qdrant_client import grpc

from scot.index.engine import Point
from scot.index.qdrant_models import upsert_message

ID = "0d2b1d3e-0000-5000-8000-000000000001"


def test_a_point_is_written_with_every_float_and_every_kind_of_value() -> None:
    vector = np.random.default_rng(0).standard_normal(512).astype(np.float32)
    payload = {"kind": "shirt", "price": 3, "share": 0.5, "sold": True, "tags": ["a"], "size": {"eu": 38}, "no": None}
    message = upsert_message("gallery-1", [Point(ID, vector, payload), Point(ID, None, {})])
    (sent,) = grpc.UpsertPoints.FromString(message.SerializeToString()).points
    assert (message.collection_name, message.wait, sent.id.uuid) == ("gallery-1", True, ID)
    np.testing.assert_array_equal(np.array(sent.vectors.vector.dense.data, np.float32), vector)
    kinds = {key: value.WhichOneof("kind") for key, value in sent.payload.items()}
    assert kinds == {
        "kind": "string_value", "price": "integer_value", "share": "double_value", "sold": "bool_value",
        "tags": "list_value", "size": "struct_value", "no": "null_value",
    }  # fmt: skip
    assert sent.payload["size"].struct_value.fields["eu"].integer_value == 38


def test_a_vector_that_is_no_row_of_floats_in_memory_is_written_too() -> None:
    wide = np.arange(6, dtype=np.float64).reshape(3, 2)
    (sent,) = upsert_message("g", [Point(ID, wide[:, 1], {})]).points  # type: ignore[arg-type]
    assert list(sent.vectors.vector.dense.data) == [1.0, 3.0, 5.0]
