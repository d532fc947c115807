"""The SLO dashboard: how much of the error budget of a month is left, and how fast it is used."""

from __future__ import annotations

from tools.generate.dashboards.panels import BAD, OK, WARN, Dashboard, Panel, Row, lines, stat
from tools.generate.dashboards.queries import CALLS, failing, share

AVAILABILITY, IN_TIME = 0.999, 0.99
"""The objectives of helm/alerts.yaml: the share of calls that are answered, and of queries within a second."""
_FAILED = failing("INTERNAL|UNKNOWN|UNAVAILABLE|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED")
_WINDOWS = ("5m", "30m", "1h", "6h", "3d")
_MONTH = "30d"


def _failed_share(window: str) -> str:
    return share(_FAILED, CALLS).replace("$__rate_interval", window)


def _slow_share(window: str) -> str:
    buckets = 'ray_scot_search_stage_seconds_bucket{NS, stage="total", le=~"%s"}'
    fast, all_ = (f"sum(rate({buckets % le}[{window}]))" for le in ("1|1.0", "[+]Inf"))
    return f"1 - {fast} / ({all_} > 0)"


def _burn(bad: str, objective: float) -> str:
    return f"({bad}) / {1 - objective:.3g}"


def _good(title: str, description: str, good: str, objective: float, nothing: str) -> Panel:
    levels = ((0, BAD), (objective, OK))
    return stat(title, description, "percentunit", good, width=6, levels=levels, nothing=nothing)


def _left(title: str, description: str, bad: str, objective: float, nothing: str) -> Panel:
    left, levels = f"1 - {_burn(bad, objective)}", ((-1e9, BAD), (0, WARN), (0.5, OK))
    return stat(title, description, "percentunit", left, width=6, levels=levels, minimum=None, nothing=nothing)


DASHBOARD = Dashboard(
    "scot-slo",
    "SCOT / SLO",
    "Two objectives over 30 days: 99.9 % of the calls are answered, and 99 % of the queries take at most a second.",
    (
        Row(
            "Budget",
            (
                _good(
                    "Answered calls",
                    "Share of the calls of 30 days that did not fail and were not rejected; the objective is 99.9 %.",
                    f"1 - {_failed_share(_MONTH)}",
                    AVAILABILITY,
                    "no calls",
                ),
                _left(
                    "Error budget left",
                    "What is left of the 0.1 % of 30 days that may fail; below 0 the objective is missed.",
                    _failed_share(_MONTH),
                    AVAILABILITY,
                    "no calls",
                ),
                _good(
                    "Queries in time",
                    "Share of the queries of 30 days that took at most a second; the objective is 99 %.",
                    f"1 - ({_slow_share(_MONTH)})",
                    IN_TIME,
                    "no queries",
                ),
                _left(
                    "Latency budget left",
                    "What is left of the 1 % of the queries of 30 days that may take longer.",
                    _slow_share(_MONTH),
                    IN_TIME,
                    "no queries",
                ),
            ),
        ),
        Row(
            "Burn rate: 1 uses the budget in exactly 30 days",
            (
                lines(
                    "Errors, fast windows",
                    "Over 14.4 in both windows the budget is used in two days.",
                    "none",
                    *((_burn(_failed_share(window), AVAILABILITY), window) for window in ("5m", "1h")),
                    levels=((0, OK), (14.4, BAD)),
                    runbook="ScotErrorBudgetFast",
                ),
                lines(
                    "Errors, slow windows",
                    "Over 6 in the windows of six hours and half an hour the budget is used in five days.",
                    "none",
                    *((_burn(_failed_share(window), AVAILABILITY), window) for window in ("30m", "6h", "3d")),
                    levels=((0, OK), (6, BAD)),
                    runbook="ScotErrorBudgetSlow",
                ),
                lines(
                    "Slow queries",
                    "Queries of more than a second, as a multiple of the 1 % that may be so slow.",
                    "none",
                    *((_burn(_slow_share(window), IN_TIME), window) for window in _WINDOWS),
                    levels=((0, OK), (14.4, BAD)),
                    runbook="ScotLatencyBudgetFast",
                ),
            ),
        ),
    ),
)
