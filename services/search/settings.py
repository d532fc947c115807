"""The settings of the search application; every field is also an environment variable, ``SCOT_…``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from scot import flags
from scot.errors import InvalidInput
from scot.index.config import CollectionConfig, SearchParams, ServerConfig
from scot.rerank.config import RerankConfig
from services.search.rollout import Rollout

if TYPE_CHECKING:
    from scot.encoders.base import Encoder

Dtype = Literal["float32", "bfloat16", "float16"]
_LISTS = ("payload_index", "split")


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """The settings that ``scot serve`` shares with a Serve config."""

    encoder: str = "tiny"
    """Which encoder: tiny, NAME/PRETRAINED, hf-hub:ORG/REPO or local-dir:PATH."""
    composer: str = ""
    """The composer of requests that name none; empty: the released version, else tiny-1 if it fits, else sum."""
    split: tuple[str, ...] = ()
    """Composers that answer a share of those requests, each as NAME=SHARE (v2=0.1); the default answers the rest."""
    shadow: str = ""
    """A composer whose results are compared with the answers and shown to nobody; empty: none."""
    qdrant: ServerConfig = field(default_factory=ServerConfig)
    """A Qdrant server to use instead of the embedded store."""
    collections: CollectionConfig = field(default_factory=CollectionConfig)
    """How the service creates collections there."""
    search: SearchParams = field(default_factory=SearchParams)
    """The search parameters there."""
    rerank: RerankConfig = field(default_factory=RerankConfig)
    """What judges the first hits of the requests that want it."""
    api_keys: Path | None = None
    """The file of API keys (`scot keys new`), read again when it changes; none: the service needs no key."""
    collection: str = "gallery"
    """The collection of requests that name none."""
    device: str | None = None
    """Where the towers run: cpu, cuda, cuda:1 …; by default a GPU when there is one."""
    dtype: Dtype | None = None
    """Of the towers: float32, bfloat16 or float16; by default float32 on a CPU and bfloat16 on a GPU."""
    threads: int = 0
    """CPU threads of each tower process; 0 leaves the choice to PyTorch."""
    cache_mb: int = 64
    """MiB of cached embeddings in each composer replica, and of cached query vectors in each gateway; 0: none."""
    item_patches: bool = True
    """Compose references by id with the patches of their thumbnails, if the composer reads patches."""

    def __post_init__(self) -> None:
        if self.cache_mb < 0:
            raise InvalidInput("cache_mb must not be negative")
        _ = self.rollout

    @property
    def rollout(self) -> Rollout:
        """The rollout at the start; in a Serve config, ``user_config`` of the Composer deployment has priority."""
        split: dict[str, float] = {}
        for each in self.split:
            name, _, share = each.rpartition("=")
            try:
                split[name] = float(share)
            except ValueError:
                raise InvalidInput(f"split: {each!r} is not NAME=SHARE, as in v2=0.1") from None
        return Rollout(self.composer, split, self.shadow)

    def load_encoder(self) -> Encoder:
        """The encoder with its towers, and PyTorch's threads as set. Raises InvalidInput, Unavailable."""
        # Imported here: a process that only deploys the application should not wait for these.
        import torch

        from scot.encoders import load_encoder

        if self.threads:
            torch.set_num_threads(self.threads)
        return load_encoder(self.encoder, device=self.device, dtype=self.dtype)


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Settings of the search application."""

    service: ServiceSettings = field(default_factory=ServiceSettings)
    composers: str | None = None
    """The registry folder of composer versions; without one only the packaged composer and the baselines answer."""
    store: str | None = None
    """Folder of the embedded vector store; either this or a Qdrant address."""
    thumbnails: str | None = None
    """Folder or URL of the items' thumbnails; none: none are made."""
    decode_threads: int = 2
    """Threads of each gateway that decode images."""
    batch: int = 32
    """The largest number of queries composed at once."""
    gateways: int = 1
    """Gateway replicas; the embedded store allows one."""
    composer_replicas: int = 1
    """Composer replicas."""
    encoder_replicas: int = 1
    """Encoder replicas."""
    encoder_on_demand: bool = False
    """Start the encoder replicas with their first call: a small machine answers queries sooner."""
    drain_s: float = 2.0
    """Seconds that a replica which ends still answers those who do not know it yet, at least."""
    hedge_s: float = 0.0
    """Seconds after which a second composer replica is asked when the first has not answered; 0: never."""
    follow_s: float = 0.0
    """Seconds between two looks at the registry for a newly released composer; 0: none, as scot serve looks itself."""

    def __post_init__(self) -> None:
        if (self.store is None) == (self.service.qdrant.qdrant_url is None):
            raise InvalidInput("the search service needs either store (a folder) or qdrant_url (a server)")
        if self.store is not None and self.gateways != 1:
            raise InvalidInput(
                "the embedded store can be open in one gateway only; set gateways to 1 or use qdrant_url"
            )
        for name in ("decode_threads", "batch", "gateways", "composer_replicas", "encoder_replicas"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} must be at least 1")
        for name in ("drain_s", "follow_s", "hedge_s"):
            if getattr(self, name) < 0:
                raise InvalidInput(f"{name} must not be negative")


def from_args(args: Mapping[str, object]) -> SearchSettings:
    """Settings from a Serve config's ``args``, then the environment, then the defaults.

    Raises:
        InvalidInput: an argument is unknown, or the settings contradict each other.
    """
    known = set(flags.names(SearchSettings))
    unknown = sorted(set(args) - known)
    if unknown:
        raise InvalidInput(f"the search service has no setting {unknown[0]!r}; it has {', '.join(sorted(known))}")
    # `serve run … payload_index="category:keyword price:float"` passes words where a Serve config has a list.
    values = {
        name: str(value).split() if name in _LISTS and isinstance(value, str) else value for name, value in args.items()
    }
    return flags.parse(SearchSettings, flags.written(values), prog="search")
