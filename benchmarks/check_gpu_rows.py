"""What the parts of benchmarks/check_gpu.py share: their sizes, rows of the table, timing, FLOPs, and the ceilings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from scot.machine import machine

DATASHEET = {
    "NVIDIA H200": (989e12, 4.8e12),
    "NVIDIA H100": (989e12, 3.35e12),
    "NVIDIA A100": (312e12, 2.0e12),
    "NVIDIA L40S": (362e12, 0.864e12),
    "NVIDIA L4": (121e12, 0.3e12),
}
"""Dense bfloat16 FLOP/s and bytes/s by the vendor's datasheets, by the beginning of the chip's name."""
TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
}
"""The towers of a rehearsal."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. ``rate`` and ``roofline`` are in ``unit``; None: the line has none."""

    line: str
    rate: float | None = None
    unit: str = ""
    tflops: float | None = None
    roofline: float | None = None
    note: str = ""
    failed: bool = False
    ceilings: Mapping[str, float] = field(default_factory=dict)
    """Of the lines that measure the device: what later parts are compared with."""

    def cells(self) -> str:
        """The line in Markdown, without the name of its part."""
        rate = "" if self.rate is None else f"{number(self.rate)} {self.unit}"
        tflops = "" if self.tflops is None else number(self.tflops)
        roofline = "" if self.roofline is None else number(self.roofline)
        share = f"{self.rate / self.roofline:.0%}" if self.rate is not None and self.roofline else ""
        return f"{self.line} | {rate} | {tflops} | {roofline} | {share} | {self.note}"


Line = tuple[str, Callable[[], Row]]
"""The name of a line and the work that measures it; a line that raises is a failed row, and the next one follows."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the parts are: real ones on a GPU, tiny ones in a rehearsal on a CPU."""

    device: str
    seconds: float
    """Of one timed line."""
    matrix: int = 8_192
    copied: int = 2**32
    """Bytes of the copy that measures the memory."""
    batch: int = 512
    """Images or texts of one call of a tower."""
    triplets: int = 200_000
    dim: int = 768
    train_batch: int = 1_024
    gallery: int = 1_000_000
    clients: int = 128
    chats: int = 128
    ceilings: Mapping[str, float] = field(default_factory=dict)
    """``flops`` (bfloat16) and ``bytes`` a second, as the first part measured them."""

    @property
    def real(self) -> bool:
        """Whether this is a GPU."""
        return self.device != "cpu"

    @property
    def dtype(self) -> str:
        """Of the towers."""
        return "bfloat16" if self.real else "float32"

    @classmethod
    def rehearsal(cls) -> Sizes:
        """Small enough for a test on a CPU."""
        return cls("cpu", 0.05, 128, 2**22, 4, 2_000, 32, 64, 1_000, 4)

    def bound(self, flops: float, moved: float = 0.0) -> float | None:
        """The calls a second that the ceilings allow for so many FLOPs and bytes (the roofline of Williams et al.)."""
        if not self.ceilings:
            return None
        return 1 / max(flops / self.ceilings["flops"], moved / self.ceilings["bytes"])

    def model_config(self, name: str) -> dict[str, Any]:
        """The settings of an open_clip architecture."""
        import open_clip

        config = open_clip.get_model_config(name) if self.real else TINY
        return {key: dict(value) if isinstance(value, dict) else value for key, value in config.items()}


def chip(device: str) -> str:
    """The name of the device, and the versions that matter."""
    if device == "cpu":
        return f"{machine()}; torch {torch.__version__}: a REHEARSAL with tiny sizes, whose numbers mean nothing"
    found = torch.cuda.get_device_properties(0)
    nccl = ".".join(map(str, torch.cuda.nccl.version()))
    return (
        f"{found.name}, {found.total_memory / 2**30:.0f} GiB, compute capability {found.major}.{found.minor}; "
        f"torch {torch.__version__}, CUDA {torch.version.cuda}, NCCL {nccl}; host {machine()}"
    )


def calls_per_second(sizes: Sizes, call: Callable[[], object], warm: int = 3) -> float:
    """How often a call runs in a second, after some that warm it up."""
    for _ in range(warm):
        call()
    _wait(sizes)
    calls, begun = 0, time.perf_counter()
    while True:
        for _ in range(4):  # work that is queued on the device keeps it busy
            call()
        calls += 4
        _wait(sizes)
        taken = time.perf_counter() - begun
        if taken >= sizes.seconds:
            return calls / taken


def _wait(sizes: Sizes) -> None:
    if sizes.real:
        torch.cuda.synchronize()


def transformer_flops(layers: int, width: int, length: int) -> float:
    """One forward of a transformer whose hidden layer is 4 W wide: 24 L W² + 4 L² W a layer, L tokens of width W."""
    return layers * (24.0 * length * width**2 + 4.0 * length**2 * width)


def image_flops(config: Mapping[str, Any]) -> float:
    """One picture through the image tower of an open_clip ViT."""
    vision, width, dim = config["vision_cfg"], int(config["vision_cfg"]["width"]), int(config["embed_dim"])
    patches = (vision["image_size"] // vision["patch_size"]) ** 2
    patching: float = 2.0 * 3 * vision["patch_size"] ** 2 * width * patches
    return patching + transformer_flops(vision["layers"], width, patches + 1) + 2.0 * width * dim


def text_flops(config: Mapping[str, Any], length: int) -> float:
    """One text of so many tokens through the text tower."""
    text, dim = config["text_cfg"], int(config["embed_dim"])
    return transformer_flops(text["layers"], text["width"], length) + 2.0 * int(text["width"]) * dim


def ceilings(sizes: Sizes) -> Iterator[Line]:
    """The first part: what a large matrix product and a large copy reach."""

    def matrix(dtype: torch.dtype, key: str) -> Row:
        a, b = (torch.randn(sizes.matrix, sizes.matrix, device=sizes.device).to(dtype) for _ in range(2))
        rate = calls_per_second(sizes, lambda: a @ b) * 2 * sizes.matrix**3
        peak = _datasheet(sizes)
        note = f"{rate / peak[0]:.0%} of the datasheet's {peak[0] / 1e12:.0f}" if peak and key == "flops" else ""
        return Row("", rate / 1e12, "TFLOP/s", rate / 1e12, note=note, ceilings={key: rate})

    def copy() -> Row:
        a = torch.zeros(sizes.copied // 4, device=sizes.device)
        b = torch.empty_like(a)
        rate = calls_per_second(sizes, lambda: b.copy_(a)) * 2 * sizes.copied
        peak = _datasheet(sizes)
        note = f"{rate / peak[1]:.0%} of the datasheet's {peak[1] / 1e9:,.0f}" if peak else ""
        return Row("", rate / 1e9, "GB/s", note=note, ceilings={"bytes": rate})

    def upload() -> Row:
        a = torch.zeros(sizes.copied // 16, dtype=torch.uint8)
        rate = calls_per_second(sizes, lambda: a.to(sizes.device, copy=True)) * len(a)
        return Row("", rate / 1e9, "GB/s", note="of pageable memory, as the towers' pictures are")

    side = f"{sizes.matrix}³"
    yield f"matrix product {side}, bfloat16", lambda: matrix(torch.bfloat16, "flops")
    yield f"matrix product {side}, float32", lambda: matrix(torch.float32, "flops32")
    yield "copy on the device, read and written", copy
    yield "copy from the host", upload


def _datasheet(sizes: Sizes) -> tuple[float, float] | None:
    name = torch.cuda.get_device_name() if sizes.real else ""
    return next((peak for chip, peak in sorted(DATASHEET.items(), reverse=True) if name.startswith(chip)), None)


def number(value: float) -> str:
    """Four significant digits, with separators."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"
