"""The registry: versions, the released one, what was released before, decisions; in a folder and at a URL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scot.composers import Registry, artifact, load_composer, save_composer
from scot.composers.combiner import Combiner, CombinerConfig
from scot.composers.registry import Rollback
from scot.data.storage import Folder
from scot.errors import Conflict, InvalidInput, NotFound, Unavailable


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
    with pytest.raises(Conflict, match="a already exists"):
        registry.publish(folder, "a")


@pytest.mark.parametrize("version", ["", "../x", "a/b", ".hidden", "sum", "tiny-1", "x" * 65])
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
    (Path(registry.root) / "released.json").write_text("v1")
    with pytest.raises(InvalidInput, match="release a version again"):
        registry.released()
    registry.release("v1")
    assert registry.released() == "v1"


def test_publishers_at_once_get_versions_of_their_own(registry: Registry, folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: registry.publish(folder), range(16)))
    assert sorted(names) == sorted(f"v{i}" for i in range(1, 17))
    assert not list(Path(registry.root).glob(".*"))


def test_rolling_back_walks_through_what_was_released(registry: Registry, folder: Path) -> None:
    for _ in range(3):
        registry.publish(folder)
    registry.release("v3")  # again: no step of its own
    registry.publish(folder, release=False)
    assert registry.rollback() == Rollback("v3", "v2", ())
    assert registry.released() == "v2"
    registry.release("v4")
    assert [registry.rollback().version for _ in range(2)] == ["v2", "v1"]
    with pytest.raises(NotFound, match="before v1 nothing was released"):
        registry.rollback()
    assert registry.released() == "v1"


def test_rolling_back_passes_over_what_cannot_be_loaded(registry: Registry, folder: Path) -> None:
    for _ in range(4):
        registry.publish(folder)
    shutil.rmtree(registry.path("v3"))
    (Path(registry.path("v2")) / "composer.safetensors").write_bytes(b"")
    assert registry.rollback() == Rollback("v4", "v1", ("v3", "v2"))
    with pytest.raises(NotFound, match="nothing to roll back to"):
        registry.rollback()


def test_the_only_release_is_taken_back_where_that_is_wanted(registry: Registry, folder: Path) -> None:
    registry.publish(folder)
    assert registry.rollback(or_none=True) == Rollback("v1", None, ())
    assert registry.released() is None
    with pytest.raises(NotFound, match="has no released composer"):
        registry.rollback(or_none=True)
    registry.replace(None, "v1")
    assert registry.released() == "v1"


def test_nothing_released_is_nothing_to_roll_back(registry: Registry, folder: Path) -> None:
    registry.publish(folder, release=False)
    with pytest.raises(NotFound, match="has no released composer"):
        registry.rollback()


def test_a_pointer_from_before_there_was_history_is_read(registry: Registry, folder: Path) -> None:
    registry.publish(folder)
    (Path(registry.root) / "released.json").write_text('{"version": "v1"}')
    registry.publish(folder)
    assert registry.rollback().version == "v1"


def test_only_one_of_two_that_replace_the_same_version_does(registry: Registry, folder: Path) -> None:
    for _ in range(5):
        registry.publish(folder, release=False)
    registry.replace(None, "v1")

    def replace(version: str) -> str | None:
        try:
            registry.replace("v1", version)
        except Conflict as error:
            return str(error)
        return None

    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(replace, ["v2", "v3", "v4", "v5"]))
    assert said.count(None) == 1
    winner = registry.released()
    assert all(f"{winner} was released meanwhile" in sentence for sentence in said if sentence)
    assert registry.rollback() == Rollback(str(winner), "v1", ())


def test_releases_at_once_all_stay_in_the_history(registry: Registry, folder: Path) -> None:
    versions = [registry.publish(folder, release=False) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(registry.release, versions))
    seen = [str(registry.released()), *(str(registry.rollback().version) for _ in range(7))]
    assert sorted(seen) == versions


def test_a_decision_is_kept_with_the_version_and_on_its_card(registry: Registry, folder: Path) -> None:
    registry.publish(folder)
    card = (Path(registry.path("v1")) / "README.md").read_text()
    for outcome in ("refused", "passed"):
        registry.record("v1", {"at": "2026-01-01T00:00:00Z", "outcome": outcome, "said": "0.500 against 0.400"})
    assert [decision["outcome"] for decision in registry.decisions("v1")] == ["refused", "passed"]
    after = (Path(registry.path("v1")) / "README.md").read_text()
    assert after.startswith(card)
    assert after.count("## Releases") == 1
    assert "**passed**. 0.500 against 0.400" in after
    artifact.verify(registry.path("v1"))
    assert load_composer(registry.path("v1"), encoder_id="e@1-4d", dim=4).name == "v1"


def test_a_registry_that_cannot_be_written_says_so(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "composers").write_text("a file")
    with pytest.raises(Unavailable, match="composers cannot be written"):
        Registry(tmp_path / "composers").publish(folder)


@pytest.fixture
def remote() -> Iterator[Registry]:
    registry = Registry("memory://registry/composers/")
    yield registry
    Folder("memory://registry").delete()


def test_a_registry_at_a_url_does_the_same(remote: Registry, folder: Path) -> None:
    assert remote.versions() == []
    assert [remote.publish(folder), remote.publish(folder), remote.publish(folder, "winter")] == ["v1", "v2", "winter"]
    assert (remote.versions(), remote.released()) == (["v1", "v2", "winter"], "winter")
    with pytest.raises(Conflict, match="winter already exists"):
        remote.publish(folder, "winter")
    assert load_composer(remote.path("v2"), encoder_id="e@1-4d", dim=4).name == "v2"
    assert remote.rollback() == Rollback("winter", "v2", ())
    remote.replace("v2", "v1")
    remote.record("v1", {"at": "now", "outcome": "passed", "said": "it is better"})
    assert remote.decisions("v1")[0]["said"] == "it is better"
    assert remote.published_at("v1") is not None
    with pytest.raises(NotFound, match="published: v1, v2, winter"):
        remote.path("v9")


def test_a_copy_to_a_url_that_broke_off_is_no_version(remote: Registry, folder: Path) -> None:
    broken = Folder(f"{remote.root}/v1")
    broken.write(".claimed", b"")
    broken.write("composer.safetensors", b"half")
    assert remote.versions() == []
    assert remote.publish(folder) == "v2"
