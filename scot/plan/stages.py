"""The five parts of a plan. A formula is what the work computes or stores, divided by a coefficient.

On a GPU, computation is the FLOPs of the work ÷ (peak × share of the peak), the roofline of Williams et al. (2009)
with a published share. Decoding keeps up with the GPUs only if there are cores for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scot.errors import InvalidInput
from scot.index.config import QUANTIZED_SIZE, shards_for
from scot.plan.coefficients import Coefficients, coefficients
from scot.plan.workload import Prices, Workload

_HOUR_S = 3_600.0
_MONTH_H = 730.0
_GB = 1e9
_DIM, _MILLION = 512, 1e6  # of the measured stores


@dataclass(frozen=True, slots=True)
class Stage:
    """What a part needs: once, or in a month if it is a service. None: it is not known, or there is none."""

    name: str
    hours: float | None
    gb: float
    """On the disk."""
    core_hours: float = 0.0
    gpu_hours: float = 0.0
    node_hours: float = 0.0
    memory_gb: float = 0.0
    """In the memory of the store's machines."""
    tokens: float = 0.0
    paid_tokens: float = 0.0
    """Those that an endpoint is paid for."""
    machines: str = ""
    notes: tuple[str, ...] = ()

    def price(self, prices: Prices) -> float:
        """In the currency of the prices; of what is on the disk, one month."""
        return (
            self.gpu_hours * prices.price_gpu_hour
            + self.core_hours * prices.price_core_hour
            + self.node_hours * prices.price_node_hour
            + self.gb * prices.price_gb_month
            + self.paid_tokens / 1e6 * prices.price_million_tokens
        )


@dataclass
class Planner:
    """Computes the parts of a workload, and remembers which coefficients it used.

    Args:
        load: the workload.
        triplets: how many there are, if it is known; by default those of the captions that are accepted.
        texts: the distinct texts of the triplets, if they are known.

    Raises:
        InvalidInput: there are no images, the encoder or the GPU is unknown, or the language model does not fit.
    """

    load: Workload
    triplets: float = 0.0
    texts: float = 0.0
    known: Coefficients = field(default_factory=coefficients)
    used: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        load = self.load
        if load.images < 1:
            raise InvalidInput(f"images must be at least 1, not {load.images:,}: say how many with --images")
        self.encoder = self.known.encoder(load.encoder)
        self.gpu = self.known.gpu(load.gpu) if load.gpu else None
        if load.engine == "vllm" and self.gpu and self.gpu.gb < 2 * load.llm_billions:
            raise InvalidInput(
                f"a language model of {load.llm_billions:g} billion parameters takes {2 * load.llm_billions:g} GB in "
                f"16 bits, and one {load.gpu} has {self.gpu.gb:g}"
            )
        self.captions = load.images * load.captions
        self.triplets = self.triplets or self.captions * load.edits_per_caption * self["edits.accepted_share"]
        self.texts = self.texts or self.captions + self.triplets * self["encoding.texts_per_triplet"]
        self.shards = 1 if load.store == "embedded" else load.layout.shards or shards_for(load.images)

    def __getitem__(self, name: str) -> float:
        self.used[name] = None
        return self.known.values[name].value

    def stages(self) -> list[Stage]:
        """All five, in the order of the work."""
        return [part(self) for part in STAGES.values()]

    def sources(self) -> dict[str, dict[str, Any]]:
        """Every coefficient that was used, with its value, unit and source."""
        found = {name: self.known.values[name] for name in self.used}
        shown: dict[str, dict[str, Any]] = {
            name: {"value": each.value, "unit": each.unit, "source": each.source} for name, each in found.items()
        }
        encoder = f"GFLOPs of an image, {self.encoder.text_gflops:g} of a text"
        shown[f"encoders.{self.load.encoder}"] = {
            "value": self.encoder.image_gflops, "unit": encoder, "source": self.known.encoder_source,
        }  # fmt: skip
        if self.gpu is not None:
            peak = {"value": self.gpu.flops, "unit": "FLOP/s", "source": self.known.gpu_source}
            shown[f"gpus.{self.load.gpu}"] = peak
        return shown


def edits(plan: Planner) -> Stage:
    """Captions to triplets."""
    load, captions = plan.load, plan.captions
    gb = plan.triplets * plan["edits.triplet_bytes"] / _GB
    triplets = f"{plan.triplets:,.0f} triplets"
    if load.engine in ("slots", "pairs"):
        core_s = captions / plan[f"edits.{load.engine}_captions_s_core"]
        hours = core_s / load.cores / _HOUR_S
        return Stage("edits", hours, gb, core_s / _HOUR_S, machines=f"{load.cores} cores", notes=(triplets,))
    completions = captions * load.edits_per_caption * plan["edits.completion_tokens"]
    tokens = captions * plan["edits.prompt_tokens"] + completions
    if load.engine == "openai":
        note = "the hours are those of the endpoint"
        return Stage("edits", None, gb, tokens=tokens, paid_tokens=tokens, notes=(triplets, note))
    assert plan.gpu is not None
    computed = captions * plan["edits.new_prompt_tokens"] + completions
    gpu_s = computed * 2e9 * load.llm_billions / (plan["edits.llm_peak_share"] * plan.gpu.flops)
    hours = gpu_s / load.gpus / _HOUR_S
    notes = (triplets, "with prefix caching; the GPU's rate is an estimate")
    return Stage(
        "edits", hours, gb, gpu_hours=gpu_s / _HOUR_S, tokens=tokens, machines=f"{load.gpus} {load.gpu}", notes=notes
    )


def encoding(plan: Planner) -> Stage:
    """Images and texts to the embedding cache."""
    load, size = plan.load, plan.encoder
    length = min(1.0, plan["encoding.tokens_per_text"] / size.context)
    flops = 1e9 * (load.images * size.image_gflops + plan.texts * size.text_gflops * length)
    stage = _embedded(plan, "encoding", flops)
    stored = (load.images + plan.texts) * 2 * size.dim + plan.triplets * plan["encoding.row_bytes"]
    if load.states != "none":
        width = 2 if load.states == "float16" else 1
        of_images = load.images * size.places * size.image_width
        of_texts = plan.triplets * plan["encoding.tokens_per_text"] * size.text_width
        stored += width * (of_images + of_texts)
    read = load.images * plan["encoding.image_kb"] * 1e3 / _GB
    note = f"reads {read:,.0f} GB of pictures; {plan.texts:,.0f} texts"
    return Stage(
        "encoding", stage.hours, stored / _GB, stage.core_hours, stage.gpu_hours,
        machines=stage.machines, notes=(note, *stage.notes),
    )  # fmt: skip


def _embedded(plan: Planner, name: str, flops: float) -> Stage:
    """The towers' work, with decoding beside it on the cores."""
    load = plan.load
    decoding_s = load.images * plan["encoding.decode_core_ms"] / 1e3
    if plan.gpu is None:
        core_s = flops / plan["encoding.cpu_flops_core"] + decoding_s
        return Stage(name, core_s / load.cores / _HOUR_S, 0.0, core_s / _HOUR_S, machines=f"{load.cores} cores")
    gpu_s = flops / (plan["encoding.gpu_peak_share"] * plan.gpu.flops)
    wanted = math.ceil(decoding_s / (gpu_s / load.gpus))
    seconds = max(gpu_s / load.gpus, decoding_s / load.cores)
    note = f"decoding keeps up with the GPUs on {wanted:,} cores; the GPU's rate is an estimate"
    return Stage(
        name, seconds / _HOUR_S, 0.0, decoding_s / _HOUR_S, seconds * load.gpus / _HOUR_S,
        machines=f"{load.gpus} {load.gpu}, {load.cores} cores", notes=(note,),
    )  # fmt: skip


def pretraining(plan: Planner) -> Stage:
    """Steps of a Combiner on the cached vectors; forward and backward are 6 FLOPs a parameter and triplet."""
    load, dim = plan.load, plan.encoder.dim

    def flops(dim: int, batch: int) -> float:
        return 6 * plan["pretraining.parameters"] * dim**2 + 6 * batch * dim

    work = load.steps * load.batch_size * flops(dim, load.batch_size)
    gb = ((load.images + plan.texts) * 2 * dim + plan.triplets * plan["pretraining.mapped_row_bytes"]) / _GB
    epochs = load.steps * load.batch_size / plan.triplets
    notes = (f"{epochs:,.3g} times over the triplets; the disk is the memory-mapped copy of each machine",)
    if plan.gpu is None:
        core_s = work / (plan["pretraining.cpu_triplets_s"] * flops(128, 1_024) / 2)
        hours = core_s / load.cores / _HOUR_S
        return Stage("pretraining", hours, gb, core_s / _HOUR_S, machines=f"{load.cores} cores", notes=notes)
    gpu_s = work / (plan["encoding.gpu_peak_share"] * plan.gpu.flops)
    hours = gpu_s / load.gpus / _HOUR_S
    estimate = "the GPU's rate is that of the towers: an estimate"
    return Stage(
        "pretraining", hours, gb, gpu_hours=gpu_s / _HOUR_S, machines=f"{load.gpus} {load.gpu}",
        notes=(*notes, estimate),
    )  # fmt: skip


def indexing(plan: Planner) -> Stage:
    """Images to a collection: embedding, uploading while the index is off, then the graph of every shard."""
    load, dim = plan.load, plan.encoder.dim
    replicas = load.layout.replication_factor
    embedding = _embedded(plan, "indexing", 1e9 * load.images * plan.encoder.image_gflops)
    nodes, memory_gb, disk_gb = _stored(plan)
    wide = dim / _DIM
    upload_s = load.images * replicas * wide / plan["indexing.upserts_s"] / nodes
    graph_core_s = load.images / _MILLION * replicas * plan["indexing.graph_core_s"] * wide * _deeper(plan)
    graph_s = graph_core_s / (nodes * load.node_cores)
    assert embedding.hours is not None
    hours = max(embedding.hours, upload_s / _HOUR_S) + graph_s / _HOUR_S
    held = f"{plan.shards} shards on {nodes} machines of {load.node_gb:g} GB, {memory_gb:,.0f} GB in memory"
    taken = f"uploading takes {upload_s / _HOUR_S:,.2f} hours, the graph {graph_s / _HOUR_S:,.2f}"
    over = memory_gb > load.node_gb and load.store == "embedded"
    too_large = ("the embedded store does not fit in one machine's memory: use --store qdrant",) if over else ()
    return Stage(
        "indexing", hours, disk_gb, embedding.core_hours, embedding.gpu_hours, hours * nodes, memory_gb,
        machines=embedding.machines + f", {nodes} of the store",
        notes=(held, taken, *embedding.notes, *too_large),
    )  # fmt: skip


def serving(plan: Planner) -> Stage:
    """A month of the service at the wanted rate, on machines that are as busy as a short tail allows."""
    load, size, busy = plan.load, plan.encoder, plan["serving.busy_share"]
    rate = load.queries_per_s / busy
    gateway = rate * plan["serving.query_core_ms"] / 1e3
    length = min(1.0, plan["encoding.tokens_per_text"] / size.context)
    towers = rate * (1 - load.cache_hits) * 1e9 * (size.image_gflops + size.text_gflops * length)
    gpus = 0
    if plan.gpu is None:
        gateway += towers / plan["encoding.cpu_flops_core"]
    else:
        gpus = max(1, math.ceil(towers / (plan["encoding.gpu_peak_share"] * plan.gpu.flops)))
    cores = max(1, math.ceil(gateway))
    search_ms = plan["serving.search_ms"] + plan["serving.search_ms_candidates"] * load.hnsw_ef / 1_024
    searching = rate * plan.shards * search_ms / 1e3 * size.dim / _DIM * _deeper(plan)
    holding, memory_gb, disk_gb = _stored(plan)
    nodes = max(holding, math.ceil(searching / load.node_cores))
    notes = [f"a query searches {plan.shards} shards: {searching / rate * 1e3:,.1f} core ms"]
    if nodes > holding:
        notes.append(
            f"{holding} machines hold the gallery, the searches want {nodes}: add replicas, or lower --hnsw-ef"
        )
    machines = f"{cores} cores of the service, {nodes} machines of the store"
    machines += f", {gpus} {load.gpu}" if gpus else ""
    return Stage(
        "serving, a month", None, disk_gb, cores * _MONTH_H, gpus * _MONTH_H, nodes * _MONTH_H, memory_gb,
        machines=machines, notes=tuple(notes),
    )  # fmt: skip


def _stored(plan: Planner) -> tuple[int, float, float]:
    """Machines that the store needs for its memory, and its GB in memory and on the disk, all replicas."""
    load, full = plan.load, 4 * plan.encoder.dim
    small = QUANTIZED_SIZE[load.layout.quantization] * full
    held = full if load.layout.quantization == "none" or load.layout.vectors_memory == "cached" else 0
    items, beside = load.images * load.layout.replication_factor, plan["indexing.item_bytes"]
    memory_gb = items * (beside + small + held) / _GB
    disk_gb = items * (beside + small + full) * plan["indexing.disk_factor"] / _GB
    nodes = max(load.layout.replication_factor, math.ceil(memory_gb / load.node_gb))
    return 1 if load.store == "embedded" else nodes, memory_gb, disk_gb


def _deeper(plan: Planner) -> float:
    """How much more a graph of a shard's size costs an item than that of a million: it grows by the logarithm."""
    return math.log2(max(2.0, plan.load.images / plan.shards)) / math.log2(_MILLION)


STAGES: dict[str, Callable[[Planner], Stage]] = {
    "edits": edits,
    "encoding": encoding,
    "pretraining": pretraining,
    "indexing": indexing,
    "serving": serving,
}
"""The parts by their names."""
