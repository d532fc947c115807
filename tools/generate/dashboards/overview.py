"""The overview: one row of colors, the firing alerts, and the few curves that show since when."""

from __future__ import annotations

from tools.generate.dashboards.nodes import node_memory
from tools.generate.dashboards.panels import BAD, OK, WARN, Dashboard, Panel, Query, Row, lines, stat
from tools.generate.dashboards.queries import BASELINES, BROKEN, CALLS, by, failing, quantile, quantiles, share, total

_HEALTHY = "sum(ray_serve_deployment_replica_healthy{NS})"
_TARGET = "sum(ray_serve_autoscaling_target_replicas{NS})"
_ANSWERS = "ray_scot_search_answers_total{NS}"
_LEARNED = f'ray_scot_search_answers_total{{NS, composer!~"{BASELINES}"}}'
_STORE_CALLS = "ray_scot_search_store_seconds_count{NS}"
_STORE_FAILED = f'ray_scot_search_store_seconds_count{{NS, code=~"{BROKEN}|RESOURCE_EXHAUSTED"}}'
APPLICATION = {
    0: ("unknown", BAD), 1: ("deploy failed", BAD), 2: ("unhealthy", BAD), 3: ("not started", BAD),
    4: ("deleting", BAD), 5: ("deploying", WARN), 6: ("running", OK),
}  # fmt: skip

DASHBOARD = Dashboard(
    "scot-overview",
    "SCOT / Overview",
    "The state of SCOT. If the first row is green, callers get correct answers in time.",
    (
        Row(
            "State now",
            (
                stat(
                    "Search",
                    "State of the search application, from Ray Serve.",
                    "none",
                    'max(ray_serve_application_status{NS, application="search"})',
                    words=APPLICATION,
                    nothing="not scraped",
                    runbook="ScotSearchDown",
                ),
                stat(
                    "Failing calls",
                    "Share of calls that failed for a reason other than the request.",
                    "percentunit",
                    share(failing(BROKEN), CALLS),
                    levels=((0, OK), (0.01, WARN), (0.05, BAD)),
                    nothing="no calls",
                    runbook="ScotSearchErrors",
                ),
                stat(
                    "p99 of a query",
                    "99 of 100 queries take less than this time in the gateway.",
                    "s",
                    quantile(0.99, "ray_scot_search_stage_seconds", 'NS, stage="total"') + " >= 0",
                    levels=((0, OK), (1, WARN), (2, BAD)),
                    nothing="no queries",
                    runbook="ScotSearchSlow",
                ),
                stat(
                    "Rejected calls",
                    "Share of calls rejected with RESOURCE_EXHAUSTED: full queues, or a key that exceeds its rate.",
                    "percentunit",
                    share(failing("RESOURCE_EXHAUSTED"), CALLS),
                    levels=((0, OK), (0.001, WARN), (0.01, BAD)),
                    nothing="no calls",
                    runbook="ScotSearchOverloaded",
                ),
                stat(
                    "Replicas",
                    "Healthy replicas as a share of the target.",
                    "percentunit",
                    f"{_HEALTHY} / {_TARGET}",
                    levels=((0, BAD), (0.5, WARN), (1, OK)),
                    nothing="not scraped",
                    runbook="ScotReplicasMissing",
                ),
                stat(
                    "Failing store calls",
                    "Share of calls to the vector store that failed.",
                    "percentunit",
                    share(total(_STORE_FAILED), total(_STORE_CALLS)),
                    levels=((0, OK), (0.001, WARN), (0.05, BAD)),
                    nothing="no calls",
                    runbook="ScotStoreFailing",
                ),
                stat(
                    "Learned answers",
                    "Share of queries that a learned composer answered, not a baseline.",
                    "percentunit",
                    share(total(_LEARNED), total(_ANSWERS)),
                    levels=((0, WARN), (0.01, OK)),
                    nothing="no queries",
                    runbook="ScotNoLearnedComposer",
                ),
                stat(
                    "Alerts",
                    "Firing alerts of SCOT.",
                    "none",
                    'count(ALERTS{NS, alertname=~"Scot.*", alertstate="firing"}) or vector(0)',
                    levels=((0, OK), (1, BAD)),
                ),
            ),
        ),
        Row(
            "Last hour",
            (
                lines(
                    "Queries",
                    "Queries a second, by the gateway's status code.",
                    "reqps",
                    by("code", 'ray_scot_search_requests_total{NS, method=~"compose_search|stream_query"}'),
                    stacked=True,
                ),
                lines(
                    "Time of a query",
                    "Time in the gateway.",
                    "s",
                    *quantiles("ray_scot_search_stage_seconds", 'NS, stage="total"'),
                    runbook="ScotSearchSlow",
                ),
                Panel(
                    "Firing and pending alerts",
                    "Each alert has a runbook with its name.",
                    "none",
                    (Query('ALERTS{NS, alertname=~"Scot.*"}'),),
                    kind="table",
                    nothing="none",
                ),
            ),
        ),
        Row(
            "Other services",
            (
                stat(
                    "Edit service",
                    "Edit services whose engine is ready.",
                    "none",
                    'sum(scot_edits_engine_state{NS, scot_edits_engine_state="ready"})',
                    levels=((0, BAD), (1, OK)),
                    nothing="none installed",
                    runbook="ScotEditsEngineAway",
                    width=4,
                ),
                stat(
                    "Pretraining runs",
                    "Active runs.",
                    "none",
                    "count(ray_scot_train_step{NS})",
                    nothing="none",
                    runbook="ScotTrainingStalled",
                    width=4,
                ),
                stat(
                    "Items",
                    "Items in the default collection, counted by the search service.",
                    "short",
                    "max(ray_scot_search_collection_items{NS})",
                    levels=((0, WARN), (1, OK)),
                    nothing="unknown",
                    width=4,
                ),
                node_memory(width=12),
            ),
        ),
    ),
)
