"""The search service, from the outside in: callers, time by stage, queues, replicas, composers, store, machines."""

from __future__ import annotations

from tools.generate.dashboards.nodes import node_cpu, node_memory
from tools.generate.dashboards.overview import APPLICATION
from tools.generate.dashboards.panels import BAD, OK, WARN, Dashboard, Panel, Query, Row, lines
from tools.generate.dashboards.queries import BASELINES, BROKEN, SHED, by, mean, quantile, quantiles, share, total

_FULL = 'ray_serve_num_grpc_requests_total{NS, status_code="RESOURCE_EXHAUSTED"}'
_IN_FRONT = f"rate({_FULL}[$__rate_interval]) or rate({SHED}[$__rate_interval])"
_SEARCH = 'NS, application="search"'
_UNARY = 'NS, method!~"health_.*|.*_stream"'
_UNARY_PATH = 'NS, method=~"/scot.*", method!~".*Stream"'
_PROCESS = 'ray_component_uss_mb{NS, Component=~"ray::Serve.*|ray::Proxy.*"}'  # its activity follows a dot
_STAGE = "ray_scot_search_stage_seconds"
_SHADOW = "ray_scot_search_shadow_overlap"
_CACHED = "ray_scot_search_cache_total"
_REST = (
    f'sum(rate({_STAGE}_sum{{NS, stage!="total"}}[$__rate_interval])) / '
    f'(sum(rate({_STAGE}_count{{NS, stage="total"}}[$__rate_interval])) > 0)'
)

_DEPLOYMENT = {
    0: ("unknown", BAD), 1: ("deploy failed", BAD), 2: ("unhealthy", BAD), 3: ("updating", WARN),
    4: ("upscaling", WARN), 5: ("downscaling", WARN), 6: ("healthy", OK),
}  # fmt: skip


def _of_all(stage: str) -> str:
    """Seconds of a stage for each answered query; only some queries have the stage rerank."""
    spent = total(f'{_STAGE}_sum{{NS, stage="{stage}"}}')
    answered = total(f'{_STAGE}_count{{NS, stage="total"}}')
    return f"{spent} / ({answered} > 0)"


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
            "By the gateway's status code. INVALID_ARGUMENT and NOT_FOUND are the caller's errors.",
            "reqps",
            by("code", 'ray_scot_search_requests_total{NS, code!="OK", method!~"health_.*"}'),
            stacked=True,
            runbook="ScotSearchErrors",
        ),
        lines(
            "Calls that ended before the gateway",
            "By the status code of Serve's proxy: time limits, full queues, no replica, broken streams.",
            "reqps",
            by("status_code", 'ray_serve_num_grpc_requests_total{NS, status_code!="OK", method=~"/scot.*"}'),
            stacked=True,
            runbook="ScotSearchErrors",
            nothing="none",
        ),
        lines(
            "Time of a query",
            "In the gateway, from the request to its response.",
            "s",
            *quantiles(_STAGE, 'NS, stage="total"'),
            runbook="ScotSearchSlow",
        ),
        lines(
            "Time of an RPC",
            "99th percentile by method, including rejected calls. Callers decide how long a stream lasts.",
            "s",
            (quantile(0.99, "ray_scot_search_request_seconds", _UNARY, "method"), "{{method}}"),
        ),
        lines(
            "Time in Serve's proxy",
            "99th percentile of Serve's measurement around the gateway, including its queue.",
            "ms",
            (quantile(0.99, "ray_serve_grpc_request_latency_ms", _UNARY_PATH, "method"), "{{method}}"),
        ),
    ),
)

_WEB = 'NS, route!~"/readyz|/healthz"'
_HTTP = Row(
    "HTTP: what callers of the web service see",
    (
        lines(
            "Requests",
            "HTTP requests a second, by route, without health checks.",
            "reqps",
            by("route", f"scot_web_request_seconds_count{{{_WEB}}}"),
            stacked=True,
            runbook="ScotWebDown",
            nothing="no web service",
        ),
        lines(
            "Requests that failed",
            "HTTP requests a second by status, from 400 on. Those below 500 are the caller's errors, or its rate.",
            "reqps",
            by("status", f'scot_web_request_seconds_count{{{_WEB}, status=~"4..|5.."}}'),
            stacked=True,
            runbook="ScotWebErrors",
            nothing="none",
        ),
        lines(
            "Time of an HTTP request",
            "In the web service, from its headers to the end of its response.",
            "s",
            *quantiles("scot_web_request_seconds", _WEB),
            nothing="no web service",
            exemplars=True,
        ),
        lines(
            "HTTP requests in flight",
            "By replica; more than --max-in-flight (default 1,000) are refused.",
            "short",
            ("sum by (instance) (scot_web_requests_in_flight{NS})", "{{instance}}"),
            nothing="no web service",
        ),
        lines(
            "Processor time of the web service",
            "Cores in use, by replica.",
            "short",
            (
                'sum by (instance) (rate(process_cpu_seconds_total{NS, job="scot-web"}[$__rate_interval]))',
                "{{instance}}",
            ),
            nothing="no web service",
        ),
        lines(
            "Memory of the web service",
            "Resident, by replica; 60 MiB at rest, and the bodies of requests under way.",
            "bytes",
            ('sum by (instance) (process_resident_memory_bytes{NS, job="scot-web"})', "{{instance}}"),
            nothing="no web service",
        ),
    ),
)

_STAGES = Row(
    "Where the time of a query goes",
    (
        lines(
            "Mean time by stage",
            "The stack is the mean time of a query. Rest: Serve's calls to the composer and back.",
            "s",
            *((_of_all(stage), stage) for stage in ("decode", "queue", "compose", "search", "rerank")),
            (mean(_STAGE, 'NS, stage="total"') + " - " + _REST, "rest"),
            stacked=True,
            width=12,
            runbook="ScotSearchSlow",
        ),
        lines(
            "p99 by stage",
            "The stage whose curve rises with the total is the bottleneck.",
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
            "Calls in Serve's queue because every replica of the deployment is busy. A full queue rejects calls.",
            "short",
            (f"max by (deployment) (ray_serve_deployment_queued_queries{{{_SEARCH}}})", "{{deployment}}"),
            runbook="ScotSearchQueueFull",
        ),
        lines(
            "In progress",
            "Calls that replicas are processing.",
            "short",
            (f"sum by (deployment) (ray_serve_replica_processing_queries{{{_SEARCH}}})", "{{deployment}}"),
        ),
        lines(
            "Rejected calls",
            "RESOURCE_EXHAUSTED a second: from the gateway (a key exceeds its rate, a composer's queue is full), and "
            "in front of it: by SCOT with its reason, or by Serve's proxy (the gateway's queue is full).",
            "reqps",
            (total('ray_scot_search_requests_total{NS, code="RESOURCE_EXHAUSTED"}'), "gateway"),
            (f"sum by (reason) ({_IN_FRONT})", "in front: {{reason}}"),
            runbook="ScotSearchOverloaded",
            nothing="none",
        ),
        lines(
            "Batch size",
            "Queries in a batch. Large batches under load are normal; a mean at the maximum means that composers are "
            "the bottleneck.",
            "short",
            (mean("ray_scot_search_batch_size", "NS"), "mean"),
            (quantile(0.99, "ray_scot_search_batch_size", "NS"), "p99"),
        ),
        lines(
            "Time of a batch",
            "Both towers and the composers, for each query of the batch.",
            "s",
            (mean(_STAGE, 'NS, stage="compose"'), "mean"),
            (quantile(0.99, _STAGE, 'NS, stage="compose"'), "p99"),
        ),
        lines(
            "Utilization",
            "Share of a replica's slots in use, mean by deployment.",
            "percent",
            (f"avg by (deployment) (ray_serve_replica_utilization_percent{{{_SEARCH}}})", "{{deployment}}"),
        ),
    ),
)

_REPLICAS = Row(
    "Replicas",
    (
        lines(
            "Healthy and target",
            "Healthy replicas by deployment, and the target.",
            "short",
            (f"sum by (deployment) (ray_serve_deployment_replica_healthy{{{_SEARCH}}})", "{{deployment}}"),
            (f"sum by (deployment) (ray_serve_autoscaling_target_replicas{{{_SEARCH}}})", "{{deployment}} target"),
            runbook="ScotReplicasMissing",
        ),
        lines(
            "Replicas that started",
            "Total by deployment. A curve that rises in steps is a replica that keeps failing.",
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
            "From Serve's controller. During an upgrade there are two applications; the panel shows the better state.",
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
            "From Serve's controller.",
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
            "After a promotion the new version answers. Baselines such as sum are not learned.",
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
            "No hit above the threshold",
            "Share of the queries with a score threshold that had no hit above it.",
            "percentunit",
            (
                share(
                    total('ray_scot_search_threshold_answers_total{NS, found="no"}'),
                    total("ray_scot_search_threshold_answers_total{NS}"),
                ),
                "no hit",
            ),
            maximum=1,
            width=6,
        ),
        lines(
            "Overlap with the shadow",
            "Mean share of the ten best items that the shadow's results and the answer have in common.",
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
            "By outcome. Dropped: the gateway had no capacity for them; this is not an error.",
            "reqps",
            by("outcome", "ray_scot_search_shadow_queries_total{NS}"),
            stacked=True,
            width=12,
        ),
    ),
)

_LOOKS = Row(
    "Reranking",
    (
        lines(
            "Second looks",
            "Queries that wanted one, by outcome; all but reranked kept the first stage's order.",
            "reqps",
            by("outcome", "ray_scot_search_reranks_total{NS}"),
            stacked=True,
            runbook="ScotRerankFailing",
            nothing="none",
        ),
        lines(
            "Time of a second look",
            "From the first stage's hits to the order of the answer, at most the query's deadline.",
            "s",
            *quantiles(_STAGE, 'NS, stage="rerank"'),
            nothing="none",
        ),
        lines(
            "Verdicts",
            "Hits judged, by whether the verdict came from the model or from the cache.",
            "short",
            by("source", "ray_scot_search_rerank_verdicts_total{NS}"),
            stacked=True,
            nothing="none",
        ),
        lines(
            "Tokens of verdicts",
            "Tokens a second that the model has read (prompt) and written (completion).",
            "short",
            by("kind", "ray_scot_search_rerank_tokens_total{NS}"),
            nothing="none",
        ),
    ),
)

_CACHE = Row(
    "Embedding cache",
    (
        lines(
            "Hits",
            "Share of the images and texts of queries whose embedding is in the cache: they skip the towers.",
            "percentunit",
            (
                share(
                    f'sum by (kind) (rate({_CACHED}{{NS, outcome="hit"}}[$__rate_interval]))',
                    f"sum by (kind) (rate({_CACHED}{{NS}}[$__rate_interval]))",
                ),
                "{{kind}}",
            ),
            maximum=1,
            width=12,
        ),
        lines(
            "Size",
            "By replica, limited by the setting cache_mb. If the cache is full and hits are rare, raise it.",
            "bytes",
            ("sum by (replica) (ray_scot_search_cache_bytes{NS})", "{{replica}}"),
            width=12,
        ),
    ),
)

_STORE = Row(
    "The vector store, measured in the gateway",
    (
        lines(
            "Time by operation",
            "99th percentile. The operation check usually needs no call.",
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
            f"By code. NOT_FOUND is the caller's error; {BROKEN.replace('|', ', ')} are the store's.",
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
            "UpsertItems and Encode wait for it; queries do not.",
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
            "Memory that a process does not share (USS).",
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
    "From the callers down to the machines.",
    (_CALLERS, _HTTP, _STAGES, _QUEUES, _REPLICAS, _ANSWERS, _LOOKS, _CACHE, _STORE, _ENCODING, _NODES),
)
