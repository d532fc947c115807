"""The registry's gate (``scot composers promote``): in this process, or as a job where the registry can be read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from scot.cluster.job_status import Outcome
from scot.errors import ScotError, Unavailable
from scot.progress import Progress

if TYPE_CHECKING:  # at run time where it is needed: it imports PyTorch
    from scot.evaluation.gate import Decision

RunJob = Callable[[str, Sequence[str]], Outcome]
"""Runs a command as a job in the cluster and waits for it; the arguments are the job's title and the command."""


class Gate(Protocol):
    """The registry's gate, wherever the registry can be reached."""

    def promote(self) -> Decision:
        """Measure, decide, and move the pointer if the version passes. Raises ScotError when it cannot be measured."""

    def rollback(self) -> None:
        """Move the pointer back. Raises ScotError."""


@dataclass(frozen=True)
class GateRequest:
    """What to promote, and on which data."""

    version: str
    composers: str
    galleries: tuple[str, ...]
    encoder: str
    force: bool = False
    cache: str = "/tmp/gate"
    """The folder of the galleries' embeddings in the cluster: where its evaluation job wrote them."""


def readable_here(request: GateRequest) -> bool:
    """Whether this process can read the registry and every gallery."""
    try:
        from scot.composers import Registry

        has_versions = bool(Registry(request.composers).versions())
    except (ScotError, OSError, ImportError, ValueError):
        return False
    return has_versions and all(Path(gallery).is_dir() for gallery in request.galleries)


class GateHere:
    """The gate in this process; ``show`` receives lines of progress."""

    def __init__(self, request: GateRequest, show: Callable[[str], None] = print) -> None:
        self._request, self._show = request, show

    def promote(self) -> Decision:
        """Measure, decide, and move the pointer. Raises what :func:`scot.evaluation.promotion.promote` raises."""
        from scot.composers import Registry
        from scot.evaluation import promotion

        request = self._request
        with tempfile.TemporaryDirectory(prefix="scot-gate-") as private:
            cached = Path(request.cache).is_dir() and os.access(request.cache, os.W_OK)
            return promotion.promote(
                Registry(request.composers),
                request.version,
                galleries=[Path(gallery) for gallery in request.galleries],
                encoder=request.encoder,
                cache=Path(request.cache if cached else private),
                force=request.force,
                progress=Progress(self._show),
            )

    def rollback(self) -> None:
        """Move the pointer back. Raises NotFound when nothing is released."""
        from scot.composers import Registry
        from scot.evaluation import promotion

        promotion.rollback(Registry(self._request.composers), or_none=True)


class GateInCluster:
    """The gate as a job in the cluster; ``retries`` is how often a job that ended without a decision is run again."""

    def __init__(self, request: GateRequest, run: RunJob, retries: int = 0) -> None:
        self._request, self._run, self._retries = request, run, retries

    def promote(self) -> Decision:
        """Measure, decide, and move the pointer, in a job.

        Raises:
            Unavailable: the job failed before it decided, and its log has the reason; or it succeeded, but its decision
                is not in the log that arrived.
        """
        from scot.evaluation.gate import Decision

        request = self._request
        words = [request.version, "--json", "--composers", request.composers, "--encoder", request.encoder]
        words += ["--gallery", *request.galleries] if request.galleries else []
        words += ["--cache", request.cache, *(["--force"] if request.force else [])]
        for _ in range(1 + self._retries):
            outcome = self._run("promote", ["python", "-m", "scot.cli", "composers", "promote", *words])
            if outcome.result is not None:
                return Decision.from_json(outcome.result)
            if outcome.succeeded:
                raise Unavailable(
                    f"the job that measures {request.version} succeeded, but its log ended before the decision: "
                    "`scot composers list` shows which version is released"
                )
        raise Unavailable(f"the job that measures {request.version} {outcome.summary}; see its log")

    def rollback(self) -> None:
        """Move the pointer back, in a job. Raises Unavailable when the job fails."""
        words = ["composers", "rollback", "--or-none", "--composers", self._request.composers]
        outcome = self._run("rollback", ["python", "-m", "scot.cli", *words])
        if not outcome.succeeded:
            raise Unavailable(f"the rollback job {outcome.summary}")
