"""The composer versions of one installation, and which of them is released."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

from scot.composers import artifact
from scot.composers.baselines import BASELINES, FITTED_BASELINES
from scot.errors import Conflict, InvalidInput, NotFound

RELEASED = "released.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Registry:
    """A folder of artifacts, one a version, and ``released.json``, the small file that names the released one.

    Publishing and releasing are renames: a reader, or a run that is killed, sees the state before or the state after.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def versions(self) -> list[str]:
        """All published versions, v2 before v10."""
        if not self.root.is_dir():
            return []
        found = (entry.name for entry in self.root.iterdir() if (entry / artifact.CONFIG).is_file())
        return sorted((name for name in found if _NAME.fullmatch(name)), key=_natural)

    def released(self) -> str | None:
        """The released version, None before the first release. Raises InvalidInput when the pointer is damaged."""
        try:
            version = json.loads((self.root / RELEASED).read_bytes())["version"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            raise InvalidInput(f"{self.root / RELEASED} is damaged: release a version again") from None
        return str(version)

    def path(self, version: str) -> Path:
        """The folder of a version. Raises NotFound."""
        folder = self.root / version
        if not _NAME.fullmatch(version) or not (folder / artifact.CONFIG).is_file():
            known = ", ".join(self.versions()) or "none yet"
            raise NotFound(f"there is no composer version {version!r}; published: {known}")
        return folder

    def config(self, version: str) -> dict[str, Any]:
        """``config.json`` of a version. Raises NotFound, InvalidInput."""
        return artifact.read_config(self.path(version))

    def metrics(self, version: str) -> dict[str, float]:
        """``metrics.json`` of a version. Raises NotFound, InvalidInput."""
        return artifact.read_metrics(self.path(version))

    def publish(self, folder: str | Path, version: str | None = None, release: bool = True) -> str:
        """Copy an artifact in as ``version`` (by default the next of v1, v2, …) and release it if asked to.

        Raises:
            NotFound: there is no such folder.
            InvalidInput: the folder is not a whole artifact, or the version's name is not usable.
            Conflict: the version exists already.
        """
        if version is not None and (not _NAME.fullmatch(version) or version in BASELINES + FITTED_BASELINES):
            raise InvalidInput(
                f"version {version!r} must be 1 to 64 letters, digits, dots, dashes, underscores; no baseline's name"
            )
        source = Path(folder)
        artifact.verify(source)
        self.root.mkdir(parents=True, exist_ok=True)
        temporary = self.root / f".publish.{uuid.uuid4().hex[:8]}.tmp"
        try:
            temporary.mkdir()
            for file in sorted(source.iterdir()):
                if file.is_file():
                    artifact.write_durably(temporary / file.name, file.read_bytes())
            name = self._claim(temporary, version)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        if release:
            self.release(name)
        return name

    def release(self, version: str) -> None:
        """Make a published version the released one. Raises NotFound, InvalidInput when the version is damaged."""
        artifact.verify(self.path(version))
        temporary = self.root / f".{RELEASED}.{uuid.uuid4().hex[:8]}.tmp"
        try:
            artifact.write_durably(temporary, json.dumps({"version": version}).encode())
            artifact.rename_durably(temporary, self.root / RELEASED)
        finally:
            temporary.unlink(missing_ok=True)

    def _claim(self, temporary: Path, version: str | None) -> str:
        """Rename the copy to its version. A rename onto a folder that is not empty fails, which settles a race."""
        while True:
            name = (
                version or f"v{max((int(v[1:]) for v in self.versions() if re.fullmatch('v[0-9]+', v)), default=0) + 1}"
            )
            if version is not None and (self.root / name).exists():
                raise Conflict(f"composer version {version} exists already; versions are never changed")
            try:
                artifact.rename_durably(temporary, self.root / name)
                return name
            except OSError:
                if not (self.root / name).exists():
                    raise


def _natural(name: str) -> list[tuple[int, int, str]]:
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]
