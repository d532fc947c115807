"""The engines that write edits, by name."""

from __future__ import annotations

from scot.edits.record import EditEngine
from scot.edits.rules import RulesEngine
from scot.errors import InvalidInput

ENGINES: dict[str, type[RulesEngine]] = {"rules": RulesEngine}


def load_engine(name: str) -> EditEngine:
    """An engine by name.

    Raises:
        InvalidInput: there is no engine of that name.
    """
    if name not in ENGINES:
        raise InvalidInput(f"engine must be one of {', '.join(ENGINES)}, not {name!r}")
    return ENGINES[name]()
