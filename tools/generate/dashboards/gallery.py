"""The gallery: indexed items and Qdrant."""

from __future__ import annotations

from tools.generate.dashboards.panels import BAD, OK, WARN, Dashboard, Row, lines, stat
from tools.generate.dashboards.queries import by, quantile, quantiles, share, total

_SENT = total('ray_scot_search_items_total{NS, outcome=~"indexed|refused"}')
_REFUSED = total('ray_scot_search_items_total{NS, outcome="refused"}')
_DISK = 'kubelet_volume_stats_{}_bytes{{NS, persistentvolumeclaim=~"storage-.+-qdrant-[0-9]+"}}'

_ITEMS = Row(
    "Items",
    (
        lines(
            "In the collection",
            "Items of the default collection, counted by the search service.",
            "short",
            ("max by (collection) (ray_scot_search_collection_items{NS})", "{{collection}}"),
        ),
        lines(
            "Indexed, rejected, deleted",
            "Items a second through the service.",
            "items/s",
            by("outcome", "ray_scot_search_items_total{NS}"),
            runbook="ScotItemsRefused",
        ),
        lines(
            "Share rejected",
            "Of the items sent; the response has the reason for each.",
            "percentunit",
            (share(_REFUSED, _SENT), "rejected"),
            maximum=1,
            runbook="ScotItemsRefused",
        ),
        lines(
            "Time of UpsertItems",
            "Of a request, including encoding.",
            "s",
            *quantiles("ray_scot_search_request_seconds", 'NS, method="upsert_items"'),
            width=12,
        ),
        lines(
            "Time in the store",
            "Storing the vectors and payloads.",
            "s",
            *quantiles("ray_scot_search_store_seconds", 'NS, operation="upsert"'),
            width=12,
            runbook="ScotStoreSlow",
        ),
    ),
)

_HEALTH = Row(
    "Qdrant now",
    (
        stat(
            "Qdrant",
            "Servers that answer Prometheus.",
            "none",
            'sum(up{NS, job="scot-qdrant"})',
            levels=((0, BAD), (1, OK)),
            nothing="none installed",
            runbook="ScotQdrantDown",
            width=4,
            height=8,
        ),
        lines(
            "Waiting updates",
            "By collection. They are stored on disk, but searches do not find them yet.",
            "short",
            ("max by (id) (collection_update_queue_length{NS})", "{{id}}"),
            width=10,
            runbook="ScotQdrantUpdateQueue",
        ),
        lines(
            "Disk",
            "Used share of Qdrant's volumes, from the kubelet's metrics.",
            "percentunit",
            (f"1 - {_DISK.format('available')} / {_DISK.format('capacity')}", "{{persistentvolumeclaim}}"),
            maximum=1,
            levels=((0, OK), (0.85, WARN), (0.9, BAD)),
            width=10,
            runbook="ScotQdrantDisk",
        ),
    ),
)

_CALLS = Row(
    "Qdrant's calls",
    (
        lines(
            "Calls",
            "gRPC calls a second, by endpoint.",
            "reqps",
            by("endpoint", "grpc_responses_total{NS}"),
            stacked=True,
        ),
        lines(
            "Calls that were not OK",
            "By the number of the gRPC status: 5 is NOT_FOUND, 8 RESOURCE_EXHAUSTED, 13 INTERNAL.",
            "reqps",
            by("status", 'grpc_responses_total{NS, status!="0"}'),
            stacked=True,
            nothing="none",
        ),
        lines(
            "Time of a call",
            "99th percentile, by endpoint.",
            "s",
            (quantile(0.99, "grpc_responses_duration_seconds", "NS", "endpoint"), "{{endpoint}}"),
            runbook="ScotStoreSlow",
        ),
    ),
)

_CONTENT = Row(
    "Content of Qdrant",
    (
        lines("Points", "By collection.", "short", ("max by (id) (collection_points{NS})", "{{id}}"), width=6),
        lines(
            "Optimizations",
            "Segments that are being rewritten; searches are slower until then.",
            "short",
            ("sum by (id) (collection_running_optimizations{NS})", "{{id}}"),
            width=6,
        ),
        lines(
            "Memory",
            "Resident memory, by server.",
            "bytes",
            ("max by (pod, instance) (memory_resident_bytes{NS})", "{{pod}} {{instance}}"),
            width=6,
        ),
        lines(
            "Peers and dead replicas",
            "Of a cluster of several servers.",
            "short",
            ("max(cluster_peers_total{NS})", "peers"),
            ("sum(collection_dead_replicas{NS})", "dead replicas"),
            width=6,
        ),
    ),
)

DASHBOARD = Dashboard(
    "scot-gallery",
    "SCOT / Gallery and Qdrant",
    "Indexing and deleting items, and the Qdrant server.",
    (_ITEMS, _HEALTH, _CALLS, _CONTENT),
)
