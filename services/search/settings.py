"""What the search application needs to know; every field is also an environment variable, ``SCOT_…``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from scot import flags
from scot.errors import InvalidInput
from scot.index.config import CollectionConfig, SearchParams
from scot.index.remote import ServerConfig
from services.search.composer.rollout import Rollout

Dtype = Literal["float32", "bfloat16", "float16"]
_LISTS = ("payload_index", "split")


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Settings of the search application."""

    encoder: str = "tiny"
    """Which encoder: tiny, NAME/PRETRAINED, hf-hub:ORG/REPO or local-dir:PATH."""
    composers: str | None = None
    """The registry folder of composer versions; without one only the baselines answer."""
    composer: str = ""
    """The composer that answers when a request names none; empty: the registry's released version, else sum."""
    split: tuple[str, ...] = ()
    """Composers that answer a share of those requests, each as NAME=SHARE (v2=0.1); the default answers the rest."""
    shadow: str = ""
    """A composer whose results are compared with the answers and shown to nobody; empty: none."""
    store: str | None = None
    """Folder of the embedded vector store; either this or a Qdrant address."""
    qdrant: ServerConfig = field(default_factory=ServerConfig)
    """The Qdrant server, when it is one."""
    layout: CollectionConfig = field(default_factory=CollectionConfig)
    """How collections that the service makes there are laid out."""
    effort: SearchParams = field(default_factory=SearchParams)
    """How much a search there looks at."""
    api_keys: str | None = None
    """The file of API keys (`scot keys new`), read again when it changes; none: no key is asked for."""
    collection: str = "gallery"
    """The collection a request means when it names none."""
    device: str | None = None
    """Where the towers run: cpu, cuda, cuda:1 …; by default a GPU when there is one."""
    dtype: Dtype | None = None
    """Of the towers: float32, bfloat16 or float16; by default float32 on a CPU and bfloat16 on a GPU."""
    threads: int = 0
    """CPU threads of each tower process; 0 leaves the choice to PyTorch."""
    decode_threads: int = 2
    """Threads of each gateway that decode pictures."""
    batch: int = 32
    """The largest number of queries composed at once."""
    cache_mb: int = 64
    """MiB of embeddings of pictures and texts that each composer replica keeps, for when they come again; 0: none."""
    gateways: int = 1
    """Gateway replicas; the embedded store allows one."""
    composer_replicas: int = 1
    """Composer replicas."""
    encoder_replicas: int = 1
    """Encoder replicas."""

    def __post_init__(self) -> None:
        if (self.store is None) == (self.qdrant.qdrant_url is None):
            raise InvalidInput("the search service needs either store (a folder) or qdrant_url (a server)")
        if self.store is not None and self.gateways != 1:
            raise InvalidInput(
                "the embedded store can be open in one gateway only; set gateways to 1 or use qdrant_url"
            )
        for name in ("decode_threads", "batch", "gateways", "composer_replicas", "encoder_replicas"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} must be at least 1")
        if self.cache_mb < 0:
            raise InvalidInput("cache_mb must not be negative")
        _ = self.rollout

    @property
    def rollout(self) -> Rollout:
        """What the service starts with; in a Serve config, ``user_config`` of deployment Composer wins."""
        split: dict[str, float] = {}
        for each in self.split:
            name, _, share = each.rpartition("=")
            try:
                split[name] = float(share)
            except ValueError:
                raise InvalidInput(f"split: {each!r} is not NAME=SHARE, as in v2=0.1") from None
        return Rollout(self.composer, split, self.shadow)


def from_args(args: Mapping[str, object]) -> SearchSettings:
    """Settings from a Serve config's ``args``, then the environment, then the defaults.

    Raises:
        InvalidInput: an argument is unknown, or the settings contradict each other.
    """
    known = set(flags.names(SearchSettings))
    unknown = sorted(set(args) - known)
    if unknown:
        raise InvalidInput(f"the search service has no setting {unknown[0]!r}; it has {', '.join(sorted(known))}")
    # `serve run … payload_index="category:keyword price:float"` has words where a Serve config has a list.
    given = {
        name: str(value).split() if name in _LISTS and isinstance(value, str) else value for name, value in args.items()
    }
    return flags.parse(SearchSettings, flags.written(given), prog="search")
