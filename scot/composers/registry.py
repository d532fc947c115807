"""The composer versions of one installation, the released version, and those released before it."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from scot.baselines import BASELINES, FITTED_BASELINES, NATIVE
from scot.composers import artifact, release_history
from scot.composers.packaged import PACKAGED, packaged_composers
from scot.data.atomic_io import atomic_folder
from scot.data.one_writer import one_writer
from scot.data.storage import Folder
from scot.errors import Conflict, InvalidInput, NotFound, ScotError

RELEASED = "released.json"
_LOCK, _CLAIM = "released.lock", ".claimed"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Rollback:
    """The result of a rollback: the withdrawn version, the one released now, and the skipped ones (not loadable)."""

    taken_back: str
    version: str | None
    skipped: tuple[str, ...]


class Registry:
    """A folder or URL with one artifact for each version, and ``released.json``: the released version and those before.

    In a local folder, publishing and releasing are renames under a lock: a reader, or a killed process, sees the state
    before or the state after, and concurrent releases happen one after the other. At a URL, a version appears complete,
    because its ``config.json`` is written last, and releases take turns by a lease (:mod:`scot.data.one_writer`), if
    the store can refuse to overwrite (S3, GCS).
    """

    def __init__(self, root: str | Path) -> None:
        self.root = str(root).rstrip("/")
        self._folder = Folder(self.root)

    def versions(self) -> list[str]:
        """All published versions, v2 before v10."""
        names = (name for name in self._folder.names() if _NAME.fullmatch(name))
        return sorted((name for name in names if self._has(name)), key=_natural)

    def released(self) -> str | None:
        """The released version, None before the first release. Raises InvalidInput when the pointer is damaged."""
        chain = self._chain()
        return chain[-1] if chain else None

    def path(self, version: str) -> str:
        """The folder or URL of a version. Raises NotFound."""
        if not _NAME.fullmatch(version) or not self._has(version):
            known = ", ".join(self.versions()) or "none yet"
            raise NotFound(f"there is no composer version {version!r}; published: {known}")
        return f"{self.root}/{version}"

    def config(self, version: str) -> dict[str, Any]:
        """``config.json`` of a version. Raises NotFound, InvalidInput."""
        return artifact.read_config(self.path(version))

    def metrics(self, version: str) -> dict[str, float]:
        """``metrics.json`` of a version. Raises NotFound, InvalidInput."""
        return artifact.read_metrics(self.path(version))

    def published_at(self, version: str) -> datetime | None:
        """When a version was published, in UTC, if the file system knows it. Raises NotFound."""
        return Folder(self.path(version)).modified(artifact.CONFIG)

    def publish(self, folder: str | Path, version: str | None = None, release: bool = True) -> str:
        """Copy an artifact in as ``version`` (by default the next of v1, v2, …) and release it if ``release``.

        Raises:
            NotFound: there is no such folder.
            InvalidInput: the folder is not a complete artifact, or the version's name is invalid.
            Conflict: the version already exists.
            Unavailable: the registry cannot be written.
        """
        if version is not None and (
            not _NAME.fullmatch(version) or version in (*BASELINES, *FITTED_BASELINES, *PACKAGED, NATIVE)
        ):
            raise InvalidInput(
                f"version {version!r} must be 1 to 64 letters, digits, dots, dashes, underscores; no baseline's or "
                "packaged composer's name"
            )
        artifact.verify(folder)
        source = Folder(folder)
        files = {name: source.read(name) for name in artifact.FILES if source.exists(name)}
        name = self._rename_in(files, version) if self._folder.local else self._put(files, version)
        if release:
            self.release(name)
        return name

    def release(self, version: str) -> None:
        """Make a published version the released one. Raises NotFound, InvalidInput when the version is damaged."""
        self._verify(version)
        with self._locked():
            try:
                chain = self._chain()
            except InvalidInput:
                chain = []  # a damaged pointer: a release repairs it
            self._point(version, chain)

    def replace(self, released: str | None, version: str) -> None:
        """Release ``version`` if ``released`` is still the released version.

        Raises:
            Conflict: another version has been released since.
            NotFound, InvalidInput: the version is missing or damaged.
        """
        self._verify(version)
        with self._locked():
            chain = self._chain()
            now = chain[-1] if chain else None
            if now != released:
                raise Conflict(f"{now} was released meanwhile, so {version} was compared with another: compare again")
            self._point(version, chain)

    def rollback(self, *, or_none: bool = False) -> Rollback:
        """Release the version that was released before the current one; a second rollback goes back one more.

        Args:
            or_none: release nothing where no earlier version can be released.

        Raises:
            NotFound: there is no earlier version that can be released, or none is released.
        """
        skipped: list[str] = []
        with self._locked():
            chain = self._chain()
            for place in range(len(chain) - 2, -1, -1):
                try:
                    self._verify(chain[place])
                except ScotError:
                    skipped.append(chain[place])
                    continue
                self._write(chain[: place + 1])
                return Rollback(chain[-1], chain[place], tuple(skipped))
            if not chain:
                raise NotFound(f"there is nothing to roll back: {self.root} has no released composer")
            if or_none:
                self._write([])
                return Rollback(chain[-1], None, tuple(skipped))
        lost = f" but {', '.join(skipped)}, which can no longer be loaded" if skipped else ""
        raise NotFound(f"there is nothing to roll back to: before {chain[-1]} nothing was released{lost}")

    def decisions(self, version: str) -> list[dict[str, Any]]:
        """The decisions about a version's release, oldest first. Raises NotFound, InvalidInput."""
        return release_history.read(self.path(version))

    def record(self, version: str, decision: Mapping[str, Any]) -> None:
        """Add a decision about a version. Raises NotFound, InvalidInput, Unavailable."""
        path = self.path(version)
        with self._locked():
            release_history.add(path, decision)

    def _has(self, version: str) -> bool:
        return self._folder.exists(f"{version}/{artifact.CONFIG}")

    def _verify(self, version: str) -> None:
        artifact.verify(self.path(version))

    def _chain(self) -> list[str]:
        """Every version that was released and not rolled back; the released version is the last."""
        try:
            state = json.loads(self._folder.read(RELEASED))
            last = state["version"]
            return [] if last is None else [*map(str, state.get("before", [])), str(last)]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise InvalidInput(f"{RELEASED} is damaged: release a version again") from None

    def _point(self, version: str, chain: list[str]) -> None:
        if chain[-1:] != [version]:
            self._write([*chain, version])

    def _write(self, chain: list[str]) -> None:
        # One file holds the pointer and its history, so that a crash cannot separate them.
        last = chain[-1] if chain else None
        self._folder.write(RELEASED, json.dumps({"version": last, "before": chain[:-1]}).encode())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the pointer alone during the block, which is short."""
        with one_writer(self.root, wait=True, lock=_LOCK):
            yield

    def _rename_in(self, files: Mapping[str, bytes], version: str | None) -> str:
        """Write the version's folder atomically. Of two processes that write one name, the second takes the next."""
        for name in self._names(version):
            try:
                with atomic_folder(Path(self._folder.path(name)), what=str(self.root)) as temporary:
                    for file, data in files.items():
                        (temporary / file).write_bytes(data)
            except Conflict:
                continue
            return name
        raise _taken(version)

    def _put(self, files: Mapping[str, bytes], version: str | None) -> str:
        """Claim a name by creating a file, then write ``config.json`` last. An incomplete copy keeps its name."""
        for name in self._names(version):
            home = Folder(f"{self.root}/{name}")
            if not home.create(_CLAIM, b""):
                continue
            for file in sorted(files, key=lambda file: file == artifact.CONFIG):
                home.write(file, files[file])
            return name
        raise _taken(version)

    def _names(self, version: str | None) -> Iterator[str]:
        """The names to try: the given one, or the next numbers."""
        if version is not None:
            return iter([] if self._has(version) else [version])
        last = max((int(v[1:]) for v in self.versions() if re.fullmatch("v[0-9]+", v)), default=0)
        return (f"v{number}" for number in itertools.count(last + 1))


def composer_path(name: str, registry: Registry | None) -> str:
    """The folder or URL of a packaged composer's artifact, of a version's, or without a registry ``name`` itself.

    Raises:
        NotFound: the registry has no such version.
    """
    if (folder := packaged_composers().get(name)) is not None:
        return str(folder)
    return name if registry is None else registry.path(name)


def _taken(version: str | None) -> Conflict:
    return Conflict(f"composer version {version} already exists; versions are never changed")


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
