"""The configuration of the web service; every flag is also an environment variable, ``SCOT_…``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from scot.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class WebConfig:
    """Serve HTTP and JSON for a running search service.

    Example: scot web --address localhost:9000 --port 8080
    """

    address: str = "localhost:9000"
    """The search service, HOST:PORT."""
    tls: bool = False
    """Use TLS to the search service, if it is behind a TLS proxy."""
    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 for every interface."""
    port: int = 8080
    """The HTTP port."""
    metrics_port: int = 0
    """The port of Prometheus metrics; 0: none."""
    cors_origin: list[str] = field(default_factory=list)
    """Origins whose web pages may call the service (https://shop.example), or *; none: only pages of its own."""
    max_body_mb: int = 64
    """The largest body of a request, in MiB."""
    max_bodies_mb: int = 256
    """The bodies of all requests under way, in MiB; more are refused."""
    max_in_flight: int = 1_000
    """Requests under way at a time; more are refused."""
    timeout_s: float = 30.0
    """Seconds in which the search service must answer."""
    body_timeout_s: float = 30.0
    """Seconds in which a body must arrive."""
    header_timeout_s: float = 10.0
    """Seconds in which the headers of a request must arrive."""
    picture_max_age_s: int = 300
    """Seconds for which browsers keep a thumbnail before they ask again."""
    no_request_log: bool = False
    """Log only requests that fail here or behind, not every one."""
    tls_certificate: Path | None = None
    """A PEM file; with --tls-key the web service speaks HTTPS."""
    tls_key: Path | None = None
    """The PEM file of the certificate's key."""
    stop_delay_s: int = 0
    """At SIGTERM, for how many seconds requests are still accepted; their answers close the connection, so that callers
    go elsewhere."""
    drain_s: int = 30
    """After that, how many seconds requests under way may take."""

    def __post_init__(self) -> None:
        if not self.address.strip():
            raise InvalidInput("the address of the search service is empty; it is HOST:PORT")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise InvalidInput("--tls-certificate and --tls-key belong together")
        for name in ("max_body_mb", "max_bodies_mb", "max_in_flight"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} must be at least 1")
        for name in ("timeout_s", "body_timeout_s", "header_timeout_s"):
            if not getattr(self, name) > 0:
                raise InvalidInput(f"{name} must be more than 0")
        for name in ("picture_max_age_s", "stop_delay_s", "drain_s"):
            if getattr(self, name) < 0:
                raise InvalidInput(f"{name} must not be negative")
