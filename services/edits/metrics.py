"""The metrics of the edit service, by the names that Prometheus shows."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import Counter, Enum, Gauge, Histogram

from scot.edits.record import CaptionEdits

CAPTIONS = Counter("scot_edits_captions", "Captions answered.")
ACCEPTED = Counter("scot_edits_accepted", "Edits accepted, by aspect.", ["aspect"])
REFUSED = Counter("scot_edits_refused", "Captions, answers and edits refused, by reason.", ["reason"])
TOKENS = Counter("scot_edits_tokens", "Tokens read (prompt) and written (completion).", ["kind"])
WAITING = Gauge("scot_edits_captions_waiting", "Captions under way.")
SECONDS = Histogram(
    "scot_edits_call_seconds",
    "Time of a call, by status.",
    ["status"],
    buckets=(0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120),
)
ENGINE = Enum("scot_edits_engine_state", "State of the engine.", states=["loading", "ready", "away", "dead"])


class EditMetrics:
    """Counts calls and their results."""

    def request(self, method: str, code: str, seconds: float) -> None:
        """Count one call."""
        SECONDS.labels(code).observe(seconds)

    def results(self, results: Sequence[CaptionEdits]) -> None:
        """Count the results of captions."""
        for result in results:
            CAPTIONS.inc()
            TOKENS.labels("prompt").inc(result.prompt_tokens)
            TOKENS.labels("completion").inc(result.completion_tokens)
            for edit in result.edits:
                ACCEPTED.labels(edit.aspect).inc()
            for reason, number in result.refused.items():
                REFUSED.labels(reason).inc(number)
