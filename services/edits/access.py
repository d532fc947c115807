"""API keys: only their sha256 is kept, in a file that may change while the service runs."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from scot.errors import InvalidInput, PermissionDenied, Unauthenticated


class Keys:
    """The keys of a file of sha256 hex digests, one a line; ``#`` starts a comment.

    Raises:
        InvalidInput: the file cannot be read or holds no digest.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: float | None = None
        self._digests: list[bytes] = []
        self._reload()
        if not self._digests:
            raise InvalidInput(f"{path} holds no sha256 of a key")

    def check(self, authorization: str) -> None:
        """Pass ``Bearer KEY``. Raises Unauthenticated without a key, PermissionDenied for an unknown one."""
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Unauthenticated("an API key is needed: authorization: Bearer KEY")
        self._reload()
        digest = hashlib.sha256(key.strip().encode()).digest()
        # Every digest is compared, in constant time, so that the answer's time tells nothing.
        if not sum(hmac.compare_digest(digest, known) for known in self._digests):
            raise PermissionDenied("this API key is not known")

    def _reload(self) -> None:
        try:
            stamp = self._path.stat().st_mtime
            if stamp == self._stamp:
                return
            lines = (line.partition("#")[0].strip() for line in self._path.read_text(encoding="utf-8").splitlines())
            digests = [bytes.fromhex(line) for line in lines if line]
        except (OSError, ValueError) as error:
            if self._stamp is None:
                raise InvalidInput(f"the file of API keys {self._path} cannot be read") from error
            return  # a file that is being replaced: the keys read before stay
        self._stamp, self._digests = stamp, [digest for digest in digests if len(digest) == 32]
