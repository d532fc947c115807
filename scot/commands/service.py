"""The running service that a command calls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scot import flags
from scot.client import AsyncScotClient, ScotClient


@dataclass(frozen=True)
class ServicePlace:
    """The address of a service, and the key for it."""

    address: str = "localhost:9000"
    """The service, HOST:PORT."""
    api_key_file: Path | None = None
    """A file with the API key; by default the key is SCOT_API_KEY, if the service requires one."""
    tls: bool = False
    """Use TLS, for a service behind a TLS proxy."""

    def client(self) -> ScotClient:
        """A client of the service. Raises InvalidInput when the key file cannot be read."""
        return ScotClient(self.address, api_key=flags.secret("API_KEY", self.api_key_file), tls=self.tls)

    def async_client(self) -> AsyncScotClient:
        """A client for asyncio. Raises InvalidInput when the key file cannot be read."""
        return AsyncScotClient(self.address, api_key=flags.secret("API_KEY", self.api_key_file), tls=self.tls)
