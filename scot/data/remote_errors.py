"""What the file systems of fsspec raise, as one sentence each: credentials, listing, throttling, broken connections.

Their libraries raise whatever they like. What counts is known by the class and by the error codes that S3, Google Cloud
Storage and HTTP servers write into their answers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from scot.errors import InvalidInput, NotFound, PermissionDenied, ScotError, Unavailable, first_line, install_hint

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "hf": "hf", "http": "http", "https": "http"}
"""The extra of the package that a protocol needs."""

_EXPIRED = (
    "ExpiredToken",
    "TokenRefreshRequired",
    "InvalidToken",
    "token has expired",
    "invalid_grant",
    "RefreshError",
)
_WRONG = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "Access Key Id you provided", "signature we calculated")
_MISSING = ("NoCredentials", "Unable to locate credentials", "LocalTokenNotFound", "DefaultCredentialsError")
_CLOCK = ("RequestTimeTooSkewed", "difference between the request time")
_THROTTLED = ("SlowDown", "reduce your request rate", "ServiceUnavailable", "TooManyRequests", "rateLimitExceeded")
_THROTTLED_STATUS = (429, 503)
_CHANGED = ("FileExpired", "PreconditionFailed", "pre-condition", "condition specified")
_BROKEN = ("ClientPayloadError", "IncompleteRead", "ContentLengthError", "ResponseStreamingError", "Response payload")
_AGAIN = "run it again: what is finished stays"


@contextlib.contextmanager
def reaching(url: str, *, done: str = "read") -> Iterator[None]:
    """Report what a file system raises in the block as SCOT's error; that a file is or is not there passes.

    Args:
        url: what is reached.
        done: what cannot be done, as the sentence has it: ``read``, ``listed`` or ``written``.

    Raises:
        PermissionDenied: the credentials are missing, wrong, expired, or do not allow it.
        InvalidInput: the file has changed since it was opened, or there is no such kind of URL.
        Unavailable: the store cannot be reached, throttles, or breaks off.
    """
    try:
        yield
    except (ScotError, FileNotFoundError, FileExistsError, NotImplementedError):
        raise
    except Exception as error:
        raise sentence(url, error, done=done) from error


def sentence(url: str, error: Exception, *, done: str = "read") -> ScotError:
    """SCOT's error for what a file system raised."""
    seen = _words(error)

    def says(words: tuple[str, ...]) -> bool:
        return any(word in seen for word in words)

    if isinstance(error, ImportError):
        return InvalidInput(f"{url} needs a package that is not installed: {install_hint(_extra(url))}")
    if says(_EXPIRED):
        return PermissionDenied(f"{url} cannot be {done}: the credentials have expired; log in again and {_AGAIN}")
    if says(_CLOCK):
        return PermissionDenied(f"{url} cannot be {done}: this machine's clock differs too much from the store's")
    if says(_MISSING):
        return PermissionDenied(
            f"{url} cannot be {done}: there are no credentials (docs/jobs.md says where they come from)"
        )
    if says(_WRONG):
        return PermissionDenied(f"{url} cannot be {done}: the store does not know these credentials")
    if says(_CHANGED):
        return changed(url)
    if "range requests" in seen:
        return InvalidInput(
            f"{url} cannot be streamed: its server does not send parts of a file; make tars, or copy it"
        )
    if isinstance(error, PermissionError) or _status(error) in (401, 403):
        if done == "listed":
            why = "the credentials do not allow listing; name the shards by a pattern (shard-{000..099}.tar) or a table"
        else:
            why = "permission denied, or there is no such file and the credentials do not allow listing"
        return PermissionDenied(f"{url} cannot be {done}: {why if done != 'written' else 'permission denied'}")
    if says(_THROTTLED) or _status(error) in _THROTTLED_STATUS:
        return Unavailable(f"{url} cannot be {done}: the store throttles and went on doing so; {_AGAIN}")
    if says(_BROKEN):
        return Unavailable(
            f"{url} cannot be {done}: the store broke off in the midst of a file, again and again; {_AGAIN}"
        )
    return Unavailable(f"{url} cannot be {done}: {first_line(error)}; {_AGAIN}")


def changed(url: str) -> InvalidInput:
    """The error for a file that is not the one that was opened."""
    return InvalidInput(f"{url} changed while it was read: wait until its writer has finished, and start again")


def absent(url: str) -> NotFound:
    """The error for a file or folder that does not exist."""
    return NotFound(f"there is nothing at {url!r}")


def _extra(url: str) -> str:
    return EXTRAS.get(url.partition("://")[0], "data")


def _words(error: BaseException | None) -> str:
    """The classes and texts of an error and of its causes."""
    words: list[str] = []
    while error is not None and len(words) < 20:
        words += [type(error).__name__, str(error)]
        error = error.__cause__ or error.__context__
    return " ".join(words)


def _status(error: BaseException) -> int:
    """The HTTP status of an error of aiohttp, requests or httpx; 0 for another."""
    answer = getattr(error, "response", None)
    status = getattr(error, "status", None) or getattr(answer, "status_code", None) or getattr(error, "code", None)
    return status if isinstance(status, int) else 0
