"""The SLO dashboard: how much of the error budget of a month is left, and how fast it is used."""

from __future__ import annotations

from tools.generate.dashboards.panels import BAD, OK, WARN, Dashboard, Row, lines, stat
from tools.generate.dashboards.queries import CALLS, failing, share

AVAILABILITY, IN_TIME = 0.999, 0.99
"""The objectives of helm/alerts.yaml: the share of calls that are answered, and of queries within a second."""
_FAILED = failing("INTERNAL|UNKNOWN|UNAVAILABLE|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED")
_WINDOWS = ("5m", "30m", "1h", "6h", "3d")
_MONTH = "30d"


def _over(expr: str, window: str) -> str:
    return expr.replace("$__rate_interval", window)


def _failed_share(window: str) -> str:
    return _over(share(_FAILED, CALLS), window)


def _slow_share(window: str) -> str:
    buckets = 'ray_scot_search_stage_seconds_bucket{NS, stage="total", le=~"%s"}'
    fast, all_ = (f"sum(rate({buckets % le}[{window}]))" for le in ("1|1.0", "[+]Inf"))
    return f"1 - {fast} / ({all_} > 0)"


def _left(bad: str, objective: float) -> str:
    return f"1 - ({bad}) / {1 - objective:.3g}"


def _burn(bad: str, objective: float) -> str:
    return f"({bad}) / {1 - objective:.3g}"


_LEFT = ((-1e9, BAD), (0, WARN), (0.5, OK))

DASHBOARD = Dashboard(
    "scot-slo",
    "SCOT / SLO",
    "Two objectives over 30 days: 99.9 % of the calls are answered, and 99 % of the queries take at most a second.",
    (
        Row(
            "Budget",
            (
                stat(
                    "Answered calls",
                    "Share of the calls of 30 days that did not fail and were not rejected; the objective is 99.9 %.",
                    "percentunit",
                    f"1 - {_failed_share(_MONTH)}",
                    width=6,
                    levels=((0, BAD), (AVAILABILITY, OK)),
                    nothing="no calls",
                ),
                stat(
                    "Error budget left",
                    "What is left of the 0.1 % of 30 days that may fail; below 0 the objective is missed.",
                    "percentunit",
                    _left(_failed_share(_MONTH), AVAILABILITY),
                    width=6,
                    levels=_LEFT,
                    minimum=None,
                    nothing="no calls",
                ),
                stat(
                    "Queries in time",
                    "Share of the queries of 30 days that took at most a second; the objective is 99 %.",
                    "percentunit",
                    f"1 - ({_slow_share(_MONTH)})",
                    width=6,
                    levels=((0, BAD), (IN_TIME, OK)),
                    nothing="no queries",
                ),
                stat(
                    "Latency budget left",
                    "What is left of the 1 % of the queries of 30 days that may take longer.",
                    "percentunit",
                    _left(_slow_share(_MONTH), IN_TIME),
                    width=6,
                    levels=_LEFT,
                    minimum=None,
                    nothing="no queries",
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
