"""Which composer answers by default, and that a release in the registry is applied while the service runs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from scot.composers import Registry, load_composer, save_composer
from scot.composers.architectures import build
from scot.composers.packaged import PACKAGED
from scot.errors import EncoderMismatch, NotFound
from services.search.composer.loaded_composers import LoadedComposers
from services.search.local import start
from services.search.local.config import LocalConfig
from services.search.local.start import composer_hint, follow_releases, released_file
from services.search.rollout import Rollout
from services.search.settings import ServiceSettings
from tests.support.named_encoder import NamedEncoder

DIM = 8
PACKAGED_NAME = "tiny-1"


@pytest.fixture(autouse=True)
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGED, PACKAGED_NAME, artifact(tmp_path / PACKAGED_NAME, "ours"))


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """v1 of the service's encoder, not released."""
    registry = Registry(tmp_path / "composers")
    registry.publish(artifact(tmp_path / "run", "ours"), release=False)
    return registry


def artifact(folder: Path, encoder: str) -> Path:
    torch.manual_seed(0)
    module = build("combiner", {"dim": DIM, "projection": 4, "hidden": 4})
    return save_composer(folder, module, encoder_id=encoder, dim=DIM, metrics={"recall@1": 0.5})


def served(registry: Registry | None, rollout: Rollout | None = None, *, encoder: str = "ours") -> LoadedComposers:
    composers = LoadedComposers(registry, NamedEncoder(encoder, DIM))
    composers.roll_out(rollout or Rollout())
    return composers


def test_the_rollout_then_the_release_then_the_packaged_one_then_sum(registry: Registry) -> None:
    assert served(None).rollout.default == PACKAGED_NAME
    assert served(registry).rollout.default == PACKAGED_NAME
    assert served(registry, encoder="theirs").rollout.default == "sum"
    registry.release("v1")
    assert served(registry).rollout.default == "v1"
    assert served(registry, Rollout("slerp")).rollout.default == "slerp"
    assert served(registry, Rollout(PACKAGED_NAME)).rollout.default == PACKAGED_NAME


def test_the_packaged_one_answers_as_its_artifact_does() -> None:
    reference_BD, text_BD = torch.nn.functional.normalize(torch.randn(2, 3, DIM), dim=-1)
    expected = load_composer(PACKAGED[PACKAGED_NAME], encoder_id="ours", dim=DIM).compose(reference_BD, text_BD)
    composer = served(None).get("")
    assert composer.name == PACKAGED_NAME
    assert torch.equal(composer.compose(reference_BD, text_BD), expected)


def test_the_list_has_the_one_of_the_encoder(registry: Registry) -> None:
    infos = {info.name: info for info in served(registry).infos()}
    assert list(infos)[:2] == ["v1", PACKAGED_NAME]
    info = infos[PACKAGED_NAME]
    assert (info.released, info.share, info.encoder, dict(info.metrics)) == (True, 1.0, "ours", {"recall@1": 0.5})
    registry.release("v1")
    infos = {info.name: info for info in served(registry).infos()}
    assert (infos["v1"].released, infos[PACKAGED_NAME].released) == (True, False)
    assert PACKAGED_NAME not in {info.name for info in served(None, encoder="theirs").infos()}


def test_another_encoder_refuses_it() -> None:
    with pytest.raises(EncoderMismatch, match="'tiny-1' was trained on encoder 'ours', not 'theirs'"):
        served(None, encoder="theirs").get(PACKAGED_NAME)


def test_a_service_without_a_registry_says_what_it_has() -> None:
    with pytest.raises(NotFound, match="has only tiny-1, sum, slerp"):
        served(None).get("v1")
    with pytest.raises(NotFound, match="has only sum, slerp"):
        served(None, encoder="theirs").get("v1")


def test_a_release_is_applied_and_a_failed_one_is_tried_again(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(start, "_FOLLOW_S", 0.01)
    monkeypatch.setattr(start, "_RETRY_S", 0.01)
    stop, failed, applied = threading.Event(), threading.Event(), threading.Event()

    def reload() -> str:
        if not failed.is_set():
            failed.set()
            raise TimeoutError("no replica answers")
        applied.set()
        return str(registry.released())

    root = Path(registry.root)
    thread = threading.Thread(target=follow_releases, args=(root, released_file(root), stop, reload))
    thread.start()
    try:
        assert not failed.wait(0.1)  # nothing was released
        registry.release("v1")
        assert applied.wait(10)
    finally:
        stop.set()
        thread.join()
    printed = capsys.readouterr()
    assert printed.out == "composer v1 answers now\n"
    assert printed.err == "the release is not applied yet: no replica answers\n"


def test_every_release_is_another_file(registry: Registry) -> None:
    root = Path(registry.root)
    assert released_file(root) is None
    registry.release("v1")
    first = released_file(root)
    registry.publish(f"{registry.root}/v1")
    assert first is not None
    assert released_file(root) not in (None, first)


def test_a_start_without_a_composer_says_how_to_get_one(tmp_path: Path, registry: Registry) -> None:
    def hint(released: tuple[int, int] | None, **service: str) -> str:
        config = LocalConfig(data=tmp_path, service=ServiceSettings(**service))  # type: ignore[arg-type]
        return composer_hint(config.settings(), released)

    assert hint(None, encoder="ViT-B-32/openai") == (
        "no composer of ViT-B-32/openai is released yet, so the sum of image and edit answers; `scot composers "
        f"bootstrap --encoder ViT-B-32/openai --images PICTURES --composers {tmp_path / 'composers'}` learns one, "
        "which answers without a restart"
    )
    assert hint(None, encoder="tiny") == ""  # it has a packaged composer
    assert hint((1, 2), encoder="ViT-B-32/openai") == ""
    assert hint(None, encoder="ViT-B-32/openai", composer="slerp") == ""
