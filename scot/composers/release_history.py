"""The decisions about an artifact's release, stored in its folder: ``decisions.json``, and a section of its card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scot.composers.artifact import CARD
from scot.data.storage import Folder
from scot.errors import InvalidInput

DECISIONS = "decisions.json"
_HEADING = "\n## Releases\n"


def read(path: str | Path) -> list[dict[str, Any]]:
    """The decisions, oldest first; empty when there were none. Raises InvalidInput when they cannot be read."""
    folder = Folder(path)
    try:
        return [dict(decision) for decision in json.loads(folder.read(DECISIONS))["decisions"]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError):
        raise InvalidInput(f"{folder.name}/{DECISIONS} is damaged: move it away") from None


def add(path: str | Path, decision: Mapping[str, Any]) -> None:
    """Append a decision and rewrite the card's section. Raises InvalidInput, Unavailable."""
    folder = Folder(path)
    decisions = [*read(path), dict(decision)]
    folder.write(DECISIONS, json.dumps({"decisions": decisions}, indent=1).encode())
    card = folder.read(CARD).decode() if folder.exists(CARD) else ""
    folder.write(CARD, (card.partition(_HEADING)[0] + _HEADING + _section(decisions)).encode())


def _section(decisions: Sequence[Mapping[str, Any]]) -> str:
    """One line for each decision: time, outcome, and the sentence with its numbers."""
    lines = [f"- {made.get('at')}: **{made.get('outcome')}**. {made.get('said')}" for made in decisions]
    return "\n" + "\n".join(lines) + "\n"
