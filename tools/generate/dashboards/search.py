"""The search service, in the order in which one asks: what do callers see, where does the time go, who is at fault?"""

from __future__ import annotations

from tools.generate.dashboards.nodes import node_cpu, node_memory
from tools.generate.dashboards.overview import APPLICATION
from tools.generate.dashboards.panels import BAD, OK, WARN, Dashboard, Panel, Query, Row, lines
from tools.generate.dashboards.queries import BASELINES, BROKEN, SHED, by, mean, quantile, quantiles, share, total

_SEARCH = 'NS, application="search"'
_UNARY = 'NS, method!~"health_.*|.*_stream"'
_UNARY_PATH = 'NS, method=~"/scot.*", method!~".*Stream"'
_PROCESS = 'ray_component_uss_mb{NS, Component=~"ray::Serve.*|ray::Proxy.*"}'  # and what it is doing, after a dot
_STAGE = "ray_scot_search_stage_seconds"
_SHADOW = "ray_scot_search_shadow_overlap"
_KEPT = "ray_scot_search_cache_total"
_REST = (
    f'sum(rate({_STAGE}_sum{{NS, stage!="total"}}[$__rate_interval])) / '
    f'(sum(rate({_STAGE}_count{{NS, stage="total"}}[$__rate_interval])) > 0)'
)
_DEPLOYMENT = {
    0: ("unknown", BAD), 1: ("deploy failed", BAD), 2: ("unhealthy", BAD), 3: ("updating", WARN),
    4: ("upscaling", WARN), 5: ("downscaling", WARN), 6: ("healthy", OK),
}  # fmt: skip

_CALLERS = Row(
    "What callers see",
    (
        lines(
            "Calls",
            "RPCs a second by method, without health checks; stream_query is one query of a stream.",
            "reqps",
            by("method", 'ray_scot_search_requests_total{NS, method!~"health_.*"}'),
            stacked=True,
        ),
        lines(
            "Calls that were not OK",
            "By code, as the gateway answered. INVALID_ARGUMENT and NOT_FOUND are the caller's.",
            "reqps",
            by("code", 'ray_scot_search_requests_total{NS, code!="OK", method!~"health_.*"}'),
            stacked=True,
            runbook="ScotSearchErrors",
        ),
        lines(
            "Calls that ended before the gateway",
            "By the code of Serve's proxy: time limits, full queues, no replica; and streams that broke off.",
            "reqps",
            by("status_code", 'ray_serve_num_grpc_requests_total{NS, status_code!="OK", method=~"/scot.*"}'),
            stacked=True,
            runbook="ScotSearchErrors",
            nothing="none",
        ),
        lines(
            "Time of a query",
            "In the gateway, from the request to its answer.",
            "s",
            *quantiles(_STAGE, 'NS, stage="total"'),
            runbook="ScotSearchSlow",
        ),
        lines(
            "Time of an RPC",
            "99th percentile by method, refused calls among them; streams live as long as their callers like.",
            "s",
            (quantile(0.99, "ray_scot_search_request_seconds", _UNARY, "method"), "{{method}}"),
        ),
        lines(
            "Time in Serve's proxy",
            "99th percentile of what Serve measures around the gateway: its queue is inside.",
            "ms",
            (quantile(0.99, "ray_serve_grpc_request_latency_ms", _UNARY_PATH, "method"), "{{method}}"),
        ),
    ),
)

_STAGES = Row(
    "Where the time of a query goes",
    (
        lines(
            "Mean time by stage",
            "Stacked, they are the mean query. Rest: Serve's hop to the composer and back.",
            "s",
            *((mean(_STAGE, f'NS, stage="{stage}"'), stage) for stage in ("decode", "queue", "compose", "search")),
            (mean(_STAGE, 'NS, stage="total"') + " - " + _REST, "rest"),
            stacked=True,
            width=12,
            runbook="ScotSearchSlow",
        ),
        lines(
            "p99 by stage",
            "The stage whose curve rises with the total is the one to look at.",
            "s",
            (quantile(0.99, _STAGE, "NS", "stage"), "{{stage}}"),
            width=12,
            runbook="ScotSearchSlow",
        ),
    ),
)

_QUEUES = Row(
    "Queues and batches",
    (
        lines(
            "Waiting for a replica",
            "Calls that Serve holds because every replica of the deployment is busy. A full queue turns calls away.",
            "short",
            (f"max by (deployment) (ray_serve_deployment_queued_queries{{{_SEARCH}}})", "{{deployment}}"),
            runbook="ScotSearchQueueFull",
        ),
        lines(
            "In work",
            "Calls that replicas work on.",
            "short",
            (f"sum by (deployment) (ray_serve_replica_processing_queries{{{_SEARCH}}})", "{{deployment}}"),
        ),
        lines(
            "Turned away",
            "RESOURCE_EXHAUSTED a second: by the gateway (a key over its rate, a full composer), by the proxy where "
            "queues are full, and before it looks.",
            "reqps",
            (total('ray_scot_search_requests_total{NS, code="RESOURCE_EXHAUSTED"}'), "gateway"),
            (total('ray_serve_num_grpc_requests_total{NS, status_code="RESOURCE_EXHAUSTED"}'), "proxy"),
            (total(SHED), "proxy, at once"),
            runbook="ScotSearchOverloaded",
            nothing="none",
        ),
        lines(
            "Queries composed at once",
            "Large batches under load are right; a mean at the largest batch says that composers are the bottleneck.",
            "short",
            (mean("ray_scot_search_batch_size", "NS"), "mean"),
            (quantile(0.99, "ray_scot_search_batch_size", "NS"), "p99"),
        ),
        lines(
            "Time of a batch",
            "Both towers and the composers, as the queries of the batch see it.",
            "s",
            (mean(_STAGE, 'NS, stage="compose"'), "mean"),
            (quantile(0.99, _STAGE, 'NS, stage="compose"'), "p99"),
        ),
        lines(
            "Busy",
            "Share of a replica's places in which code runs, mean by deployment.",
            "percent",
            (f"avg by (deployment) (ray_serve_replica_utilization_percent{{{_SEARCH}}})", "{{deployment}}"),
        ),
    ),
)

_REPLICAS = Row(
    "Replicas",
    (
        lines(
            "Healthy and wanted",
            "Healthy replicas by deployment, and how many there should be.",
            "short",
            (f"sum by (deployment) (ray_serve_deployment_replica_healthy{{{_SEARCH}}})", "{{deployment}}"),
            (f"sum by (deployment) (ray_serve_autoscaling_target_replicas{{{_SEARCH}}})", "{{deployment}} wanted"),
            runbook="ScotReplicasMissing",
        ),
        lines(
            "Replicas that started",
            "Ever, by deployment; a staircase is a replica that dies again and again.",
            "short",
            (f"sum by (deployment) (ray_serve_deployment_replica_starts_total{{{_SEARCH}}})", "{{deployment}}"),
            runbook="ScotReplicasMissing",
        ),
        lines(
            "Time of a health check",
            "99th percentile; 30 s makes a replica unhealthy.",
            "ms",
            (quantile(0.99, "ray_serve_health_check_latency_ms", _SEARCH, "deployment"), "{{deployment}}"),
        ),
        Panel(
            "State of the application",
            "As Serve's controller sees it. During an upgrade there are two; the better one is shown.",
            "none",
            (Query(f"max(ray_serve_application_status{{{_SEARCH}}})", "search"),),
            kind="state-timeline",
            words=APPLICATION,
            width=12,
            height=5,
            runbook="ScotSearchNotRunning",
        ),
        Panel(
            "State of the deployments",
            "As Serve's controller sees them.",
            "none",
            (Query(f"max by (deployment) (ray_serve_deployment_status{{{_SEARCH}}})", "{{deployment}}"),),
            kind="state-timeline",
            words=_DEPLOYMENT,
            width=12,
            height=5,
            runbook="ScotSearchNotRunning",
        ),
    ),
)

_ANSWERS = Row(
    "Which composer answers",
    (
        lines(
            "Share of each composer",
            "After a promotion the new version takes over; sum and its like are arithmetic, not learned.",
            "percentunit",
            (
                f"{by('composer', 'ray_scot_search_answers_total{NS}')[0]} / "
                f"scalar({total('ray_scot_search_answers_total{NS}')} > 0)",
                "{{composer}}",
            ),
            stacked=True,
            maximum=1,
            width=12,
            runbook="ScotNoLearnedComposer",
        ),
        lines(
            "Learned answers",
            "Queries a second that a learned composer answered.",
            "reqps",
            (total(f'ray_scot_search_answers_total{{NS, composer!~"{BASELINES}"}}'), "learned"),
            width=6,
        ),
        lines(
            "Nothing over the threshold",
            "Share of the queries with a score threshold over which there was nothing.",
            "percentunit",
            (
                share(
                    total('ray_scot_search_threshold_answers_total{NS, found="no"}'),
                    total("ray_scot_search_threshold_answers_total{NS}"),
                ),
                "nothing found",
            ),
            maximum=1,
            width=6,
        ),
        lines(
            "What a shadow has in common",
            "Of the ten best items, the mean share that the shadow's have in common with the answer's.",
            "percentunit",
            (
                f"sum by (composer) (rate({_SHADOW}_sum{{NS}}[$__rate_interval])) / "
                f"(sum by (composer) (rate({_SHADOW}_count{{NS}}[$__rate_interval])) > 0)",
                "{{composer}}",
            ),
            maximum=1,
            width=12,
        ),
        lines(
            "Queries with a shadow",
            "By what came of them: dropped are those for which the gateway had no time, which is no fault.",
            "reqps",
            by("outcome", "ray_scot_search_shadow_queries_total{NS}"),
            stacked=True,
            width=12,
        ),
    ),
)

_CACHE = Row(
    "Embeddings kept",
    (
        lines(
            "Found",
            "Share of the pictures and texts of queries whose embedding was kept from before: they skip the towers.",
            "percentunit",
            (
                share(
                    f'sum by (kind) (rate({_KEPT}{{NS, outcome="hit"}}[$__rate_interval]))',
                    f"sum by (kind) (rate({_KEPT}{{NS}}[$__rate_interval]))",
                ),
                "{{kind}}",
            ),
            maximum=1,
            width=12,
        ),
        lines(
            "Size",
            "By replica; at most the setting cache_mb. Full and seldom found: more may help.",
            "bytes",
            ("sum by (replica) (ray_scot_search_cache_bytes{NS})", "{{replica}}"),
            width=12,
        ),
    ),
)

_STORE = Row(
    "The vector store, as the gateway sees it",
    (
        lines(
            "Time by operation",
            "99th percentile. check is answered from memory most of the time.",
            "s",
            (quantile(0.99, "ray_scot_search_store_seconds", "NS", "operation"), "{{operation}}"),
            runbook="ScotStoreSlow",
        ),
        lines(
            "Calls by operation",
            "Calls a second.",
            "reqps",
            by("operation", "ray_scot_search_store_seconds_count{NS}"),
            stacked=True,
        ),
        lines(
            "Calls that failed",
            f"By code; NOT_FOUND is the caller's, {BROKEN.replace('|', ', ')} are the store's.",
            "reqps",
            by("code", 'ray_scot_search_store_seconds_count{NS, code!="OK"}'),
            stacked=True,
            runbook="ScotStoreFailing",
            nothing="none",
        ),
    ),
)

_ENCODING = Row(
    "Encoding for the gallery",
    (
        lines(
            "Time of a call to the encoder",
            "What UpsertItems and Encode wait for; it does not slow queries down.",
            "ms",
            *quantiles("ray_serve_deployment_processing_latency_ms", 'NS, deployment="Encoder"'),
            width=12,
        ),
        lines(
            "Calls to the encoder",
            "Calls a second.",
            "reqps",
            (total('ray_serve_deployment_request_counter_total{NS, deployment="Encoder"}'), "calls"),
            width=12,
        ),
    ),
)

_NODES = Row(
    "Ray's nodes and processes",
    (
        node_memory(),
        node_cpu(),
        lines(
            "Memory of replicas",
            "What each process has for itself.",
            "decmbytes",
            (
                f'sum by (process) (label_replace({_PROCESS}, "process", "$1", "Component", "ray::([^.]+).*"))',
                "{{process}}",
            ),
            stacked=True,
        ),
    ),
)

DASHBOARD = Dashboard(
    "scot-search",
    "SCOT / Search",
    "From what callers see down to the machines.",
    (_CALLERS, _STAGES, _QUEUES, _REPLICAS, _ANSWERS, _CACHE, _STORE, _ENCODING, _NODES),
)
