"""``scot cluster promote``: release a composer in a running system."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro

from scot import flags
from scot.cluster import jobs, promotion, rayjob, remote_gate, service_client
from scot.cluster.api import Cluster
from scot.cluster.helm_release import fullname
from scot.cluster.job_status import Outcome
from scot.commands.cluster import report, run_job, show
from scot.commands.cluster_options import JobOptions, release_of, spec_of


@dataclass(frozen=True)
class PromoteOptions(JobOptions):
    """How a composer is promoted."""

    composers: str = ""
    """The registry; by default the release's. The gate runs here if this machine can read it, else as a job."""
    gallery: list[str] = field(default_factory=list)
    """Galleries to measure on; by default those that the release drew."""
    encoder: str = ""
    """The encoder that the version was trained on; by default the release's."""
    force: bool = False
    """Release it even if it is worse."""
    timeout: float = 600.0
    """Seconds for the service to serve it."""
    address: str = ""
    """The service's address; by default the release's Service (in a pod), or through the API server (elsewhere)."""
    api_key_file: Path | None = None
    """A file with the API key; by default the key is SCOT_API_KEY, or the release's own."""
    tls: bool = False
    """Speak TLS with --address."""


@dataclass(frozen=True)
class PromoteConfig(PromoteOptions):
    """Release a composer in a running system if it passes the registry's gate; revert everything if it is not served.

    Example: scot cluster promote v2
    """

    version: tyro.conf.Positional[str] = field(kw_only=True)
    """The version to release."""


def promote(config: PromoteConfig) -> int:
    """Gate, registry, service.

    Raises:
        NotPromoted: the gate refused, or the service did not serve it and everything is reverted.
        ScotError: the release, the registry or the cluster cannot be used.
    """
    cluster = Cluster(config.namespace)
    name = fullname(config.release, config.fullname)
    rayservice = cluster.get("rayservices", name)
    release = release_of(config, cluster)
    request = remote_gate.GateRequest(
        config.version,
        config.composers or f"{release.root}/composers",
        tuple(config.gallery) or tuple(f"{release.root}/gallery/{world}" for world in jobs.WORLDS),
        config.encoder or release.encoder,
        config.force,
        f"{release.root}/evaluation/cache",
    )

    def run(title: str, words: Sequence[str]) -> Outcome:
        # KubeRay would retry a job that refuses the version, too.
        job = replace(spec_of(config, title, words, num_workers=0), backoff_limit=0)
        return run_job(cluster, rayjob.manifest(job, release, cluster.namespace))[1]

    gate: remote_gate.Gate = (
        remote_gate.GateHere(request, show)
        if remote_gate.readable_here(request)
        else remote_gate.GateInCluster(request, run, config.backoff_limit)
    )
    key = flags.secret("API_KEY", config.api_key_file) or service_client.admin_key(cluster, rayservice)
    with service_client.released_composer(
        cluster, rayservice, config.address, api_key=key, tls=config.tls
    ) as get_released:
        promotion.promote(
            cluster,
            name,
            config.version,
            gate,
            get_released,
            timeout_s=config.timeout,
            report=report,
            require_answer=bool(config.address),
        )
    print(f"promoted {config.version} in release {config.release}")
    return 0
