"""The names of compositions without training, ``sum:0.7``; :mod:`scot.composers` builds them."""

from __future__ import annotations

from scot.errors import InvalidInput

BASELINES = ("sum", "slerp", "text_only", "image_only")
"""Baselines that need only the query."""

FITTED_BASELINES = ("centred_sum",)
"""Baselines that also need vectors of the pool, which evaluation has."""

NATIVE = "native"
"""The composition by an encoder itself, of those that embed pictures and texts together."""

_WEIGHTED = ("sum", "slerp", *FITTED_BASELINES)


def parse_baseline(name: str, known: tuple[str, ...] = BASELINES) -> tuple[str, float]:
    """The kind of a baseline and the share of the text; 0.5 if the name has none.

    Raises:
        InvalidInput: no baseline has this name, it takes no weight, or its weight is not a number from 0 to 1.
    """
    kind, colon, text = name.partition(":")
    if kind not in known:
        raise InvalidInput(f"there is no baseline {name!r}; the baselines are {', '.join(known)}")
    if not colon:
        return kind, 0.5
    if kind not in _WEIGHTED:
        raise InvalidInput(f"the baseline {kind} takes no weight, but {name!r} names one")
    try:
        weight = float(text)
    except ValueError:
        raise InvalidInput(f"the weight in {name!r} is not a number") from None
    if not 0.0 <= weight <= 1.0:
        raise InvalidInput(f"the weight of the text in {kind} must be from 0 to 1, not {weight:g}")
    return kind, weight
