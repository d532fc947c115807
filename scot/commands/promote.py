"""``scot cluster promote``: release a composer in a running system."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from scot import flags
from scot.cluster import jobs, promotion, rayjob, remote_gate, service_client
from scot.cluster.api import Cluster
from scot.cluster.helm_release import fullname
from scot.cluster.job_status import Outcome
from scot.commands.cluster import attended, created, say, show
from scot.commands.cluster_options import Size, job_of, released


@dataclass(frozen=True)
class PromoteOptions(Size):
    """How a composer is promoted."""

    composers: str = ""
    """The registry; by default the release's. The gate runs here if it can be read here, else as a job."""
    gallery: list[str] = field(default_factory=list)
    """Galleries to measure on; by default those that the release drew."""
    encoder: str = ""
    """The encoder that the version was trained on; by default the release's."""
    force: bool = False
    """Release it even if it is worse."""
    timeout: float = 600.0
    """Seconds for the service to take it."""
    address: str = ""
    """Where the service listens; by default its own Service (in a pod), else through the API server."""
    api_key_file: Path | None = None
    """A file with the API key; without one the key is SCOT_API_KEY, and without that the release's own."""
    tls: bool = False
    """Speak TLS with --address."""


@dataclass(frozen=True)
class PromoteConfig(PromoteOptions):
    """Release a composer in a running system, if it passes the registry's gate; all is put back if it is not served.

    Example: scot cluster promote v2
    """

    version: tyro.conf.Positional[str] = field(kw_only=True)
    """The version to release."""


def promote(config: PromoteConfig) -> int:
    """Gate, registry, service_client.

    Raises:
        NotPromoted: the gate refused, or the service did not take it and all is as before.
        ScotError: the release, the registry or the cluster cannot be used.
    """
    cluster = Cluster(config.namespace)
    name = fullname(config.release, config.fullname)
    rayservice = cluster.get("rayservices", name)
    release = released(config, cluster)
    question = remote_gate.Question(
        config.version,
        config.composers or f"{release.root}/composers",
        tuple(config.gallery) or tuple(f"{release.root}/gallery/{world}" for world in jobs.WORLDS),
        config.encoder or release.encoder,
        config.force,
    )

    def run(title: str, words: Sequence[str], line: Callable[[str], None]) -> Outcome:
        body = rayjob.manifest(job_of(config, title, words, num_workers=0), release, cluster.namespace)
        return attended(cluster, created(cluster, body), line)

    here = remote_gate.readable_here(question)
    gate: promotion.Gate = remote_gate.GateHere(question) if here else remote_gate.GateInCluster(question, run, show)
    key = flags.secret("API_KEY", config.api_key_file) or service_client.admin_key(cluster, rayservice)
    with service_client.asking(cluster, rayservice, config.address, api_key=key, tls=config.tls) as ask:
        promotion.promote(
            cluster,
            name,
            config.version,
            gate,
            ask,
            timeout_s=config.timeout,
            say=say,
            must_ask=bool(config.address),
        )
    print(f"promoted {config.version} in release {config.release}")
    return 0
