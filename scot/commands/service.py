"""Which running service a command speaks to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scot import flags
from scot.client import ScotClient


@dataclass(frozen=True)
class ServicePlace:
    """Where a service is and how to be let in."""

    address: str = "localhost:9000"
    """Where the service listens, HOST:PORT."""
    api_key_file: Path | None = None
    """A file with the API key; without one the key is SCOT_API_KEY, if the service asks for any."""
    tls: bool = False
    """Speak TLS, as a proxy in front of the service does."""

    def client(self) -> ScotClient:
        """A client of it. Raises InvalidInput when the key's file cannot be read."""
        return ScotClient(self.address, api_key=flags.secret("API_KEY", self.api_key_file), tls=self.tls)
