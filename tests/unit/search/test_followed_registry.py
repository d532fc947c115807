"""A composer that is released answers soon in every replica, on a cluster too."""

from __future__ import annotations

import asyncio
from pathlib import Path

import torch

from scot.composers import Registry, save_composer
from scot.composers.architectures import build
from services.search.composer.followed_registry import FollowedRegistry

EVERY_S = 0.01


def publish(registry: Registry, folder: Path, *, release: bool) -> str:
    torch.manual_seed(0)
    save_composer(folder, build("combiner", {"dim": 8}), encoder_id="e", dim=8)
    return registry.publish(folder, release=release)


def test_each_release_is_applied_once(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "composers")
    publish(registry, tmp_path / "one", release=True)
    applied: asyncio.Queue[str] = asyncio.Queue()

    async def reload() -> str:
        await applied.put(str(registry.released()))
        return str(registry.released())

    async def follow() -> list[str]:
        followed = FollowedRegistry(registry, EVERY_S, reload)
        followed.start()
        followed.start()  # as at every new rollout: one look at a time
        publish(registry, tmp_path / "two", release=False)
        publish(registry, tmp_path / "three", release=True)
        seen = [await applied.get()]
        registry.rollback()
        seen.append(await applied.get())
        (tmp_path / "composers" / "released.json").write_text("{")  # damaged: what answers stays
        await asyncio.sleep(5 * EVERY_S)
        registry.release("v2")
        seen.append(await applied.get())
        registry.rollback(or_none=True)
        seen.append(await applied.get())
        assert applied.empty()
        return seen

    assert asyncio.run(asyncio.wait_for(follow(), 30)) == ["v3", "v1", "v2", "None"]


def test_without_an_interval_it_does_not_look(tmp_path: Path) -> None:
    async def reload() -> str:
        raise AssertionError("it looked")

    async def start() -> int:
        FollowedRegistry(Registry(tmp_path), 0.0, reload).start()
        return len(asyncio.all_tasks())

    assert asyncio.run(start()) == 1
