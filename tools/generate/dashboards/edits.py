"""The edit service: its engine, calls, results, and vLLM."""

from __future__ import annotations

from tools.generate.dashboards.panels import BAD, OK, WARN, Dashboard, Panel, Query, Row, lines
from tools.generate.dashboards.queries import by, quantiles, share, total

_REFUSED = total("scot_edits_refused_total{NS}")
_MADE = total('{__name__=~"scot_edits_(accepted|refused)_total", NS}')
_STATE = 'max by (instance) (scot_edits_engine_state{{NS, scot_edits_engine_state="{}"}})'

_ENGINE = Row(
    "The engine",
    (
        Panel(
            "Engine",
            "State of each service's engine.",
            "none",
            (
                Query(
                    " + ".join(
                        f"{n} * {_STATE.format(state)}" for n, state in ((3, "ready"), (2, "loading"), (1, "away"))
                    ),
                    "{{instance}}",
                ),
            ),
            kind="state-timeline",
            words={0: ("dead", BAD), 1: ("unavailable", BAD), 2: ("loading", WARN), 3: ("ready", OK)},
            runbook="ScotEditsEngineAway",
        ),
        lines(
            "Up",
            "Services that answer Prometheus.",
            "short",
            ('sum by (job) (up{NS, job="scot-edits"})', "{{job}}"),
            runbook="ScotEditsDown",
        ),
        lines(
            "Age of the process",
            "A sawtooth is a service that keeps restarting.",
            "s",
            ('time() - process_start_time_seconds{NS, job="scot-edits"}', "{{instance}}"),
            runbook="ScotEditsRestarting",
        ),
    ),
)

_CALLERS = Row(
    "What callers see",
    (
        lines(
            "Calls",
            "Calls a second, by status.",
            "reqps",
            by("status", "scot_edits_call_seconds_count{NS}"),
            stacked=True,
            runbook="ScotEditsOverloaded",
        ),
        lines(
            "Time of a call",
            "Of answered calls; a call has up to 256 captions.",
            "s",
            *quantiles("scot_edits_call_seconds", 'NS, status="OK"'),
        ),
        lines(
            "Captions in progress",
            "A service rejects a call that exceeds its --most-waiting (default 4,096).",
            "short",
            ("sum by (instance) (scot_edits_captions_waiting{NS})", "{{instance}}"),
            runbook="ScotEditsOverloaded",
        ),
    ),
)

_YIELD = Row(
    "Results",
    (
        lines(
            "Captions",
            "Captions answered a second.",
            "captions/s",
            (total("scot_edits_captions_total{NS}"), "captions"),
        ),
        lines(
            "Accepted",
            "Edits accepted a second, by aspect.",
            "edits/s",
            by("aspect", "scot_edits_accepted_total{NS}"),
            stacked=True,
        ),
        lines(
            "Rejected",
            "Captions, answers and edits rejected a second, by reason.",
            "edits/s",
            by("reason", "scot_edits_refused_total{NS}"),
            stacked=True,
            runbook="ScotEditsRefused",
        ),
        lines(
            "Share rejected",
            "Of all results.",
            "percentunit",
            (share(_REFUSED, _MADE), "rejected"),
            maximum=1,
            width=12,
            runbook="ScotEditsRefused",
        ),
        lines(
            "Tokens",
            "Tokens a second that the engine read and generated; the rules engine has none.",
            "tokens/s",
            by("kind", "scot_edits_tokens_total{NS}"),
            width=12,
        ),
    ),
)

_VLLM = Row(
    "vLLM",
    (
        lines(
            "Sequences",
            "Running and waiting.",
            "short",
            ("sum(vllm:num_requests_running{NS})", "running"),
            ("sum(vllm:num_requests_waiting{NS})", "waiting"),
            runbook="ScotVllmQueue",
        ),
        lines(
            "KV cache",
            "Used share. At 100 % sequences wait or are computed again.",
            "percentunit",
            ("max by (instance) (vllm:kv_cache_usage_perc{NS})", "{{instance}}"),
            maximum=1,
            runbook="ScotVllmQueue",
        ),
        lines(
            "Generated tokens", "Tokens a second.", "tokens/s", (total("vllm:generation_tokens_total{NS}"), "tokens")
        ),
        lines(
            "Time to the first token", "Including the wait.", "s", *quantiles("vllm:time_to_first_token_seconds", "NS")
        ),
        lines(
            "Time of a sequence",
            "From its arrival to its last token.",
            "s",
            *quantiles("vllm:e2e_request_latency_seconds", "NS"),
        ),
        lines(
            "Ended",
            "Sequences a second, by reason; length: the answer was cut off.",
            "reqps",
            by("finished_reason", "vllm:request_success_total{NS}"),
            stacked=True,
        ),
    ),
)

DASHBOARD = Dashboard(
    "scot-edits", "SCOT / Edits", "The edit service and the engine behind it.", (_ENGINE, _CALLERS, _YIELD, _VLLM)
)
