"""The example manifest of a job, ``k8s/pretrain.yaml``: what ``scot cluster submit pretrain --dry-run`` prints."""

from __future__ import annotations

from scot.commands.cluster import SubmitConfig, dry_run


def files() -> dict[str, str]:
    """Path in the repository to text."""
    return {"k8s/pretrain.yaml": dry_run(SubmitConfig(job="pretrain"))}
