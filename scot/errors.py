"""Everything SCOT raises on purpose, and the one table that maps it to gRPC status codes.

A message is one sentence for the person who sent the input: it names the field or file and what would be right, and
never holds an address, a process id or a stack.
"""

from __future__ import annotations


class ScotError(Exception):
    """The base of every error that SCOT raises on purpose."""


class InvalidInput(ScotError):
    """An argument, file or field is malformed; the message says which and why."""


class ImageRefused(InvalidInput):
    """Bytes that are not a picture SCOT will decode. ``reason`` is a stable word to count by, e.g. ``"too_large"``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[ImageRefused], tuple[str, str]]:
        return (ImageRefused, (self.reason, str(self)))


class NotFound(ScotError):
    """An item, composer, collection or file that was named does not exist."""


class EncoderMismatch(ScotError):
    """A cache, collection or composer was made with another encoder, so its vectors mean something else here."""


class Conflict(ScotError):
    """Something else holds the resource: a port in use, a store opened by another process, an output of another run."""


class NotPromoted(ScotError):
    """A composer is measurably worse than the released one, or cannot be compared with it; the message has why."""


class Unauthenticated(ScotError):
    """No API key, or an unknown one."""


class PermissionDenied(ScotError):
    """A known API key whose role does not allow the call."""


class Overloaded(ScotError):
    """More work than the service accepts now; try again later."""


class DeadlineExceeded(ScotError):
    """The caller's deadline ran out."""


class Unavailable(ScotError):
    """A part that is needed (the vector store, a replica) cannot be reached now."""


GRPC_STATUS: dict[type[ScotError], str] = {
    InvalidInput: "INVALID_ARGUMENT",
    NotFound: "NOT_FOUND",
    EncoderMismatch: "FAILED_PRECONDITION",
    Conflict: "FAILED_PRECONDITION",
    NotPromoted: "FAILED_PRECONDITION",
    Unauthenticated: "UNAUTHENTICATED",
    PermissionDenied: "PERMISSION_DENIED",
    Overloaded: "RESOURCE_EXHAUSTED",
    DeadlineExceeded: "DEADLINE_EXCEEDED",
    Unavailable: "UNAVAILABLE",
}
"""Error class to the name of a ``grpc.StatusCode``; a subclass maps as its nearest base, all else is ``INTERNAL``."""


def grpc_status(error: BaseException) -> str:
    """The name of the ``grpc.StatusCode`` that reports ``error``."""
    return next((GRPC_STATUS[cls] for cls in type(error).__mro__ if cls in GRPC_STATUS), "INTERNAL")


def install_hint(extra: str) -> str:
    """How to install an extra of the package, to end an error's sentence with."""
    return f"pip install 'scot-search[{extra}]'"


def our_cause(error: BaseException) -> BaseException:
    """The error of ours that Ray wrapped, or the error itself."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ScotError):
            # Ray makes its wrappers inherit from the cause's class too; the sentence is the cause's own.
            cause = getattr(seen, "cause", None)
            return cause if isinstance(cause, ScotError) else seen
        seen = getattr(seen, "cause", None) or seen.__cause__
    return error
