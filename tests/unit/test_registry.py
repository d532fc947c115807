from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scot.composers import Registry, load_composer, save_composer
from scot.composers.combiner import Combiner, CombinerConfig
from scot.errors import Conflict, InvalidInput, NotFound


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    module = Combiner(CombinerConfig(dim=4, projection=4, hidden=4))
    return save_composer(tmp_path / "run", module, encoder_id="e@1-4d", dim=4, metrics={"recall@1": 0.25})


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "composers")


def test_an_empty_registry_has_nothing(registry: Registry) -> None:
    assert registry.versions() == []
    assert registry.released() is None


def test_versions_count_up_and_the_last_is_released(registry: Registry, folder: Path) -> None:
    assert [registry.publish(folder) for _ in range(11)] == [f"v{i}" for i in range(1, 12)]
    assert registry.versions() == [f"v{i}" for i in range(1, 12)]
    assert registry.released() == "v11"
    assert registry.metrics("v2") == {"recall@1": 0.25}
    assert registry.config("v2")["encoder_id"] == "e@1-4d"
    assert load_composer(registry.path("v2"), encoder_id="e@1-4d", dim=4).name == "v2"


def test_publishing_without_release_and_rolling_back(registry: Registry, folder: Path) -> None:
    registry.publish(folder, "winter-2026")
    registry.publish(folder, release=False)
    assert registry.released() == "winter-2026"
    registry.release("v1")
    assert registry.released() == "v1"
    registry.release("winter-2026")
    assert registry.released() == "winter-2026"


def test_a_version_is_never_changed(registry: Registry, folder: Path) -> None:
    registry.publish(folder, "a")
    with pytest.raises(Conflict, match="a exists already"):
        registry.publish(folder, "a")


@pytest.mark.parametrize("version", ["", "../x", "a/b", ".hidden", "sum", "x" * 65])
def test_names_that_cannot_be_are_refused(registry: Registry, folder: Path, version: str) -> None:
    with pytest.raises(InvalidInput, match="version"):
        registry.publish(folder, version)
    with pytest.raises(NotFound):
        registry.path(version)


def test_an_unknown_version_names_the_known_ones(registry: Registry, folder: Path) -> None:
    registry.publish(folder)
    for lookup in (registry.path, registry.config, registry.metrics, registry.release):
        with pytest.raises(NotFound, match="'v9'; published: v1"):
            lookup("v9")


def test_a_damaged_artifact_is_not_published(registry: Registry, folder: Path) -> None:
    (folder / "composer.safetensors").write_bytes(b"")
    with pytest.raises(InvalidInput, match="damaged"):
        registry.publish(folder)
    assert registry.versions() == []


def test_a_damaged_pointer_says_so(registry: Registry, folder: Path) -> None:
    registry.publish(folder)
    (registry.root / "released.json").write_text("v1")
    with pytest.raises(InvalidInput, match="release a version again"):
        registry.released()
    registry.release("v1")
    assert registry.released() == "v1"


def test_publishers_at_once_get_versions_of_their_own(registry: Registry, folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: registry.publish(folder), range(16)))
    assert sorted(names) == sorted(f"v{i}" for i in range(1, 17))
    assert not list(registry.root.glob(".*"))
