"""The call envelope on Ray Serve: Ray's errors as this project's, spans, and what Serve's log leaves out."""

from __future__ import annotations

import asyncio
import logging

from ray.exceptions import RayError, RayTaskError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, gRPCStatusError

from scot.errors import Overloaded, Unavailable
from services.calls import Envelope
from services.search.tracing import span

UNAVAILABLE_SENTENCE = "a part of the service is unavailable; try again"
FULL_SENTENCE = "the service is at its limit; try again later"


def to_scot_error(error: BaseException) -> BaseException:
    """The same error as one of this project's, where it has one."""
    while isinstance(error, RayTaskError):  # raised in another deployment; its text holds a remote stack
        error = error.cause
    if isinstance(error, BackPressureError):
        return Overloaded(FULL_SENTENCE)
    if isinstance(error, (DeploymentUnavailableError, RayError)):  # a replica, worker or node has died
        return Unavailable(UNAVAILABLE_SENTENCE)
    return error


CALLS = Envelope(
    logging.getLogger("ray.serve"),
    to_scot_error,
    # TaskCancelledError: the proxy reports the cancellation when the next request of a stream is read.
    cancelled=(asyncio.CancelledError, GeneratorExit, TaskCancelledError),
    span=lambda name, current: span(name, current=current),
    raise_in_streams=True,  # which loses the trailing metadata, but nothing else makes the status arrive
)
public_error = CALLS.public_error


def drop_reported(record: logging.LogRecord) -> bool:
    """A filter of Serve's log: leave out the stack of a refused stream, which already has its log line."""
    return not (record.exc_info and isinstance(record.exc_info[1], gRPCStatusError))
