"""Expressions that several dashboards share."""

from __future__ import annotations

# Codes that are not the caller's errors. Serve's proxy counts streams and its own rejections, SCOT counts the calls
# shed before the proxy, and the gateway counts all others: it sets their code itself, so the proxy counts these as OK.
BROKEN = "INTERNAL|UNKNOWN|UNAVAILABLE|DEADLINE_EXCEEDED"
BASELINES = "sum|slerp|text_only|image_only|centred_sum"
SHED = "ray_scot_search_shed_total{NS}"
_PROXIED = 'ray_serve_num_grpc_requests_total{NS, method=~"/scot.*"}'
CALLS = f"sum(rate({_PROXIED}[$__rate_interval]) or rate({SHED}[$__rate_interval]))"
"""Calls a second."""


def failing(codes: str) -> str:
    """Calls a second that ended with one of ``codes``, from the counters of the gateway and the proxy."""
    ours = f'ray_scot_search_requests_total{{NS, code=~"{codes}", method!~"compose_search_stream|health_.*"}}'
    proxy = f'ray_serve_num_grpc_requests_total{{NS, status_code=~"{codes}", method=~"/scot.*"}}'
    shed = f" or rate({SHED}[$__rate_interval])" if "RESOURCE_EXHAUSTED" in codes else ""
    return f"sum(rate({ours}[$__rate_interval]) or rate({proxy}[$__rate_interval]){shed})"


def share(part: str, whole: str) -> str:
    """``part / whole``: 0 when only the part has no series, nothing when the whole is 0."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def total(selector: str) -> str:
    """The rate of a counter, all series together."""
    return f"sum(rate({selector}[$__rate_interval]))"


def mean(histogram: str, matchers: str) -> str:
    """The mean of a histogram."""
    return f"{total(f'{histogram}_sum{{{matchers}}}')} / ({total(f'{histogram}_count{{{matchers}}}')} > 0)"


def quantile(q: float, histogram: str, matchers: str, by: str = "") -> str:
    """A quantile of a histogram, for each value of the label ``by`` if one is given."""
    labels = f"le, {by}" if by else "le"
    rates = f"sum by ({labels}) (rate({histogram}_bucket{{{matchers}}}[$__rate_interval]))"
    return f"histogram_quantile({q}, {rates})"


def quantiles(histogram: str, matchers: str) -> list[tuple[str, str]]:
    """p50, p95 and p99 of a histogram, with their names."""
    return [(quantile(q, histogram, matchers), f"p{round(q * 100)}") for q in (0.5, 0.95, 0.99)]


def by(label: str, selector: str) -> tuple[str, str]:
    """The rate of a counter for each value of a label; the value is the curve's name."""
    return f"sum by ({label}) (rate({selector}[$__rate_interval]))", f"{{{{{label}}}}}"
