"""Composers that the package contains; one answers where its encoder serves and no version is released."""

from __future__ import annotations

from pathlib import Path

from scot.composers import artifact

PACKAGED = {"tiny-1": Path(__file__).resolve().parent / "tiny-1"}
"""Each packaged composer with its artifact folder of that name; no registry publishes a version of such a name."""


def packaged_composers() -> dict[str, Path]:
    """The packaged composers of this installation, by name, with their artifact folders."""
    return {name: folder for name, folder in PACKAGED.items() if (folder / artifact.CONFIG).is_file()}


def packaged_for(encoder_id: str) -> str | None:
    """The packaged composer that was trained on an encoder; None: there is none. Raises InvalidInput."""
    found = packaged_composers().items()
    return next((name for name, folder in found if artifact.read_config(folder)["encoder_id"] == encoder_id), None)
