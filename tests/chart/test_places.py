"""`ray job submit -- python ray_jobs/pretrain.py` in a pod: the places of the release are its environment."""

from __future__ import annotations

from typing import Any

import pytest

from ray_jobs.pretrain import PretrainConfig
from scot import flags
from tests.support.rendering import only, render


def environment(values: dict[str, Any] | None = None, *, node: str = "head") -> dict[str, str]:
    cluster = only(render(values), "RayService")["spec"]["rayClusterConfig"]
    group = cluster["headGroupSpec"] if node == "head" else cluster["workerGroupSpecs"][0]
    (container,) = group["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def parsed(values: dict[str, Any] | None = None) -> PretrainConfig:
    return flags.parse(PretrainConfig, [], prog="pretrain.py", environment=environment(values))


def test_without_a_flag_it_reads_and_writes_the_volume_of_the_release() -> None:
    config = parsed()
    assert (config.source, config.gallery) == (
        ["/artifacts/catalogue/wardrobe", "/artifacts/catalogue/scenes"],
        ["/artifacts/gallery/wardrobe", "/artifacts/gallery/scenes"],
    )
    assert (config.triplets, config.embeddings) == (["/artifacts/triplets"], "/artifacts/embeddings")
    assert (config.composers, config.runs, config.encoder) == ("/artifacts/composers", "/artifacts/runs", "tiny")


@pytest.mark.parametrize(
    ("values", "source", "gallery"),
    [
        ({"pipeline": {"source": ["/data/it's mine", "s3://b/shards/{0..9}.tar"]}}, 2, 2),
        ({"bootstrap": {"trainSize": 0}}, 0, 2),
        ({"bootstrap": {"enabled": False}}, 0, 0),
        ({"artifacts": {"url": "s3://bucket/scot", "persistence": {"enabled": False}}}, 0, 0),
    ],
)
def test_only_what_a_release_has_is_named(values: dict[str, Any], source: int, gallery: int) -> None:
    config = parsed(values)
    assert (len(config.source), len(config.gallery)) == (source, gallery)
    if wanted := values.get("pipeline"):
        assert config.source == wanted["source"]
    if url := values.get("artifacts", {}).get("url"):
        assert config.embeddings == f"{url}/embeddings"


def test_a_shell_of_the_head_needs_no_address() -> None:
    assert environment()["RAY_API_SERVER_ADDRESS"] == "http://127.0.0.1:8265"
    assert "RAY_API_SERVER_ADDRESS" not in environment(node="worker")
