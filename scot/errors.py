"""Everything SCOT raises on purpose, and the one table that maps it to gRPC status codes.

A message is one sentence for the sender of the input: it names the field or file and the valid values, and never
contains an address, a process id or a stack trace.
"""

from __future__ import annotations


class ScotError(Exception):
    """The base of every error that SCOT raises on purpose. ``exit_code`` is that of a command that ends with it."""

    exit_code = 1


class InvalidInput(ScotError):
    """An argument, file or field is malformed; the message says which and why."""


class InvalidFlag(InvalidInput):
    """A flag is missing, has a value that it cannot have, or contradicts another: the command line is malformed."""

    exit_code = 2


class ImageRefused(InvalidInput):
    """The bytes are not an image that SCOT decodes. ``reason`` is a stable word for counters, e.g. ``"too_large"``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type[ImageRefused], tuple[str, str]]:
        return (ImageRefused, (self.reason, str(self)))


class NotFound(ScotError):
    """A named item, composer, collection or file does not exist."""


class EncoderMismatch(ScotError):
    """A cache, collection or composer was made with another encoder, so its vectors cannot be compared with these."""


class Conflict(ScotError):
    """Something else holds the resource: a used port, a store open in another process, the output of another run."""


class NotPromoted(ScotError):
    """A composer is not released: worse than the released one, not comparable with it, or not served."""

    exit_code = 3


class Unauthenticated(ScotError):
    """No API key, or an unknown one."""


class PermissionDenied(ScotError):
    """The API key is known, but its role does not allow the call."""


class Overloaded(ScotError):
    """The service is at its limit; try again later."""


class DeadlineExceeded(ScotError):
    """The deadline of the call expired."""


class EngineRefused(ScotError):
    """A language model's endpoint refuses every request, for a wrong key, model or URL: waiting does not help.

    The message has the URL and the endpoint's words, for who runs the job; callers of a service do not see it.
    """


class ChatRefused(InvalidInput):
    """A language model's endpoint refuses one chat, and answers others."""


class Unavailable(ScotError):
    """A required part (the vector store, a replica) is unavailable now."""


GRPC_STATUS: dict[type[ScotError], str] = {
    InvalidInput: "INVALID_ARGUMENT",
    NotFound: "NOT_FOUND",
    EncoderMismatch: "FAILED_PRECONDITION",
    Conflict: "FAILED_PRECONDITION",
    NotPromoted: "FAILED_PRECONDITION",
    EngineRefused: "FAILED_PRECONDITION",
    Unauthenticated: "UNAUTHENTICATED",
    PermissionDenied: "PERMISSION_DENIED",
    Overloaded: "RESOURCE_EXHAUSTED",
    DeadlineExceeded: "DEADLINE_EXCEEDED",
    Unavailable: "UNAVAILABLE",
}
"""Error class to the name of its ``grpc.StatusCode``. A subclass has that of its nearest base, others ``INTERNAL``."""


def grpc_status(error: BaseException) -> str:
    """The name of the ``grpc.StatusCode`` that reports ``error``."""
    return next((GRPC_STATUS[cls] for cls in type(error).__mro__ if cls in GRPC_STATUS), "INTERNAL")


def install_hint(extra: str) -> str:
    """How to install an extra of the package, to end an error's sentence with."""
    return f"pip install 'scot-search[{extra}]'"


def first_line(error: Exception) -> str:
    """The first line of what a library says; the class of its error if it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def our_cause(error: BaseException) -> BaseException:
    """SCOT's error that Ray wrapped, or the error itself."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ScotError):
            # Ray's wrapper inherits from the class of its cause too; only the cause has the message alone.
            cause = getattr(seen, "cause", None)
            return cause if isinstance(cause, ScotError) else seen
        seen = getattr(seen, "cause", None) or seen.__cause__
    return error
