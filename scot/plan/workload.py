"""What is planned: the data, the machines, the rate of queries, and the user's own prices."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Literal, TypeAlias

from scot.errors import InvalidInput
from scot.index.config import CollectionConfig

Engine: TypeAlias = Literal["slots", "pairs", "vllm", "openai"]
Store: TypeAlias = Literal["embedded", "qdrant"]
States: TypeAlias = Literal["none", "float16", "int8"]


@dataclass(frozen=True)
class Prices:
    """Unit prices in a currency of your own; 0: not counted."""

    price_gpu_hour: float = 0.0
    """An hour of one GPU, with its share of the machine."""
    price_core_hour: float = 0.0
    """An hour of one CPU core, with its share of the memory."""
    price_node_hour: float = 0.0
    """An hour of one machine of the Qdrant server (--node-gb, --node-cores)."""
    price_gb_month: float = 0.0
    """A GB on the disk for a month."""
    price_million_tokens: float = 0.0
    """A million tokens of an endpoint, prompts and completions together (--engine openai)."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not (math.isfinite(value) and value >= 0):
                raise InvalidInput(f"{each.name} must be a number of at least 0, not {value:g}")

    @property
    def given(self) -> bool:
        """Whether any price is known."""
        return any(getattr(self, each.name) for each in fields(self))


@dataclass(frozen=True)
class Workload:
    """The data and the machines of a plan."""

    images: int = 0
    """Images of the gallery, which are also those that the composer learns from."""
    captions: int = 1
    """Captions of each image."""
    edits_per_caption: int = 4
    """Edits of each caption."""
    engine: Engine = "slots"
    """What generates the edits: slots or pairs (no model), vllm (on the GPUs), or openai (an endpoint)."""
    llm_billions: float = 7.6
    """Billions of parameters of the language model (--engine vllm)."""
    encoder: str = "ViT-L-14/openai"
    """Which encoder: tiny, NAME/PRETRAINED of open_clip, or st:Qwen/Qwen3-VL-Embedding-2B."""
    states: States = "none"
    """Hidden states in the embedding cache, for composers that read them."""
    steps: int = 1_500
    """Training steps of the composer."""
    batch_size: int = 1_024
    """Triplets of a step."""
    gpu: str = ""
    """The type of GPU, such as L4 or H100; empty: none, everything runs on CPU cores."""
    gpus: int = 1
    """GPUs of the jobs, if there is a type."""
    cores: int = 16
    """CPU cores of the jobs, all machines together."""
    store: Store = "qdrant"
    """Where the gallery is: the embedded store of one machine, or a Qdrant server."""
    layout: CollectionConfig = field(default_factory=CollectionConfig)
    """The settings of the collection."""
    node_gb: float = 64.0
    """Memory of a machine of the store, in GB."""
    node_cores: int = 16
    """CPU cores of a machine of the store."""
    hnsw_ef: int = 1_024
    """Candidates that a search keeps in the graph of each shard."""
    queries_per_s: float = 10.0
    """Composed queries a second that the service must answer."""
    cache_hits: float = 0.0
    """Share of the images and texts of queries whose embeddings are cached."""

    def __post_init__(self) -> None:
        if self.images < 0:  # 0: not given; a comparison with a run needs none
            raise InvalidInput(f"images must be at least 1, not {self.images:,}")
        for name in ("captions", "edits_per_caption", "steps", "batch_size", "cores", "gpus", "node_cores", "hnsw_ef"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} must be at least 1, not {getattr(self, name):,}")
        for name in ("llm_billions", "node_gb", "queries_per_s"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InvalidInput(f"{name} must be a number above 0, not {getattr(self, name):g}")
        if not 0.0 <= self.cache_hits <= 1.0:
            raise InvalidInput(f"cache_hits must be from 0 to 1, not {self.cache_hits:g}")
        if self.engine == "vllm" and not self.gpu:
            raise InvalidInput("engine vllm needs a GPU: name its type with --gpu")
        if self.store == "embedded" and (self.layout.shards > 1 or self.layout.replication_factor > 1):
            raise InvalidInput("the embedded store has one shard and no replicas: plan them with --store qdrant")
