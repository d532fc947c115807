"""The engine that generates edits, and its settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scot.edits.prompt import DEFAULT_PROMPT
from scot.errors import InvalidFlag, InvalidInput

ENGINES = ("auto", "rules", "slots", "pairs", "openai", "vllm", "service")
"""auto: the best of the others for the captions at hand. Without a model: rules for the drawn worlds, slots for
captions of photographs, pairs of captions of the corpus that differ in a few words. With one: openai, an endpoint of
OpenAI's protocol; vllm, in this process; service, SCOT's own."""
WITHOUT_MODEL = ("rules", "slots", "pairs")
"""The engines that compute in the job's own processes, and write the same edits on any machine."""
MODELS = ("openai", "vllm")
"""The engines that ask a language model themselves."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """The engine and its settings; settings of other engines are ignored."""

    engine: str = "rules"
    """auto, rules, slots, pairs, openai, vllm or service."""
    model: str = ""
    """openai: the model's name at the endpoint; vllm: a folder or a Hugging Face name."""
    url: str = ""
    """openai: the endpoint, e.g. http://localhost:8000/v1; service: HOST:PORT, or https://HOST:PORT for TLS."""
    api_key: str = ""
    """openai, service: the key."""
    tls_authority: str = ""
    """service over TLS: a PEM file of the authority that signed its certificate; empty: gRPC's defaults."""
    prompt: str = DEFAULT_PROMPT
    """The version of the prompt."""
    one_aspect: bool = False
    """openai, vllm: ask for each edit in a chat of its own, which small models need."""
    rank: bool = False
    """openai, vllm: code writes the edits, as the engine slots does, and the model ranks them by log-probability; for
    models that write no good records themselves."""
    rank_margin: float = 0.5
    """With --rank: how much less likely than the caption an edited caption may be, in nats a word."""
    temperature: float = -1.0
    """Below 0: the prompt's own."""
    concurrency: int = 64
    """The largest number of concurrent chats."""
    timeout_s: float = 120.0
    """openai, service: the longest wait for one answer, retries included."""
    max_model_len: int = 4_096
    """vllm: tokens of prompt and answer together."""
    gpu_memory_utilization: float = 0.9
    """vllm: the share of the GPU's memory it may take."""
    tensor_parallel_size: int = 1
    """vllm: GPUs that share the model."""

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise InvalidInput(f"engine must be one of {', '.join(ENGINES)}, not {self.engine!r}")
        if self.engine in MODELS and not self.model:
            raise InvalidFlag(f"the {self.engine} engine needs --model")
        if self.engine in ("openai", "service") and not self.url:
            raise InvalidFlag(f"the {self.engine} engine needs --url")
        if self.rank and (self.engine not in (*MODELS, "auto") or not self.model):
            raise InvalidFlag("--rank needs a language model: --engine openai or vllm, with --model")
        if not self.rank_margin >= 0:
            raise InvalidInput(f"rank_margin must not be negative, not {self.rank_margin:g}")
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise InvalidInput("api_key must be printable ASCII characters")
        if self.concurrency < 1:
            raise InvalidInput(f"concurrency must be at least 1, not {self.concurrency}")
        if self.timeout_s <= 0:
            raise InvalidInput(f"timeout_s must be above 0, not {self.timeout_s:g}")
        if self.temperature > 2.0:
            raise InvalidInput(f"temperature must be at most 2, not {self.temperature:g}")


def model_id(config: EngineConfig) -> str:
    """The name of a model in triplets: its engine and name; of a folder, the folder's name."""
    folder = Path(config.model)
    return f"{config.engine}:{folder.resolve().name if folder.is_dir() else config.model}"
