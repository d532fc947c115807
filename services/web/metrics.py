"""The metrics of the web service, by the names that Prometheus shows."""

from __future__ import annotations

from prometheus_client import Gauge, Histogram

SECONDS = Histogram(
    "scot_web_request_seconds",
    "Time of a request, by route and HTTP status.",
    ["route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
IN_FLIGHT = Gauge("scot_web_requests_in_flight", "Requests under way.")
