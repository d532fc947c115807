"""The towers of check_gpu: an open_clip architecture with random weights, bare and through SCOT's encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.check_gpu_rows import Line, Row, Sizes, calls_per_second, image_flops, text_flops
from benchmarks.towers import cosine_distance
from scot.encoders.clip import ClipEncoder

EDITS = ("make it {} and put the {} one on the left of the table", "the same but in {} with a {} border and a hat")
"""Texts as long as edits are; what fills them does not change their number of tokens much."""
_MOST_ERROR = 0.02  # bfloat16 and random weights: a wrong kernel is far above
COLOURS = ("red", "blue", "green", "black", "white", "brown", "pink", "grey")


def random_model(sizes: Sizes, name: str) -> Any:
    """An open_clip architecture with random weights, built on the device."""
    from open_clip.model import CLIP

    torch.manual_seed(0)
    with torch.device(sizes.device):
        return CLIP(**sizes.model_config(name))


def encoder_of(sizes: Sizes, name: str, model: Any, dtype: str) -> ClipEncoder:
    """SCOT's encoder over a model, which is converted in place."""
    import open_clip

    settings = {"size": sizes.model_config(name)["vision_cfg"]["image_size"]}
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    kind = getattr(torch, dtype)
    return ClipEncoder(f"random-{name}", model, settings, tokenizer, device=sizes.device, dtype=kind)


def edits(count: int) -> list[str]:
    """Different texts."""
    n = len(COLOURS)
    return [EDITS[i % 2].format(COLOURS[i % n], COLOURS[i // n % n]) + f" {i}" for i in range(count)]


def towers(sizes: Sizes, name: str) -> Iterator[Line]:
    """Images and texts a second: the bare towers, SCOT's encoder, and the towers with compiled blocks."""
    config, batch = sizes.model_config(name), sizes.batch
    side = config["vision_cfg"]["image_size"]
    model = random_model(sizes, name)
    encoder = encoder_of(sizes, name, model, "float32")
    generator = torch.Generator().manual_seed(0)
    pixels = [*torch.randint(0, 256, (batch, side, side, 3), generator=generator, dtype=torch.uint8).numpy()]
    tokens = [each.tokens for each in encoder.tokenize(edits(batch))]
    used = int(encoder._used_lengths(np.stack(tokens)).max())
    text_BL = torch.from_numpy(np.stack(tokens)).to(sizes.device)
    exact = {
        "images": torch.from_numpy(encoder.encode_pixels(pixels[:8])),
        "texts": torch.from_numpy(encoder.encode_tokens(tokens[:8])),
    }
    encoder = encoder_of(sizes, name, model, sizes.dtype)
    images_BCHW = encoder._normalised(np.stack(pixels)).to(encoder._dtype).contiguous()
    flops = {"images": image_flops(config), "texts": text_flops(config, 77), "edits": text_flops(config, used)}

    @torch.inference_mode()
    def rate(kind: str, call: Callable[[], Any]) -> Row:
        first = torch.as_tensor(call())[:8].cpu()
        error = cosine_distance(exact["images" if kind == "images" else "texts"], first)
        if not error < _MOST_ERROR:
            raise RuntimeError(f"the vectors are {error:.1e} in cosine distance away from float32's")
        per_second = calls_per_second(sizes, call) * batch
        note = f"cosine distance to float32 {error:.0e}"
        return Row("", per_second, f"{kind}/s", per_second * flops[kind] / 1e12, sizes.bound(flops[kind]), note)

    def compiled(kind: str, tower: Any, call: Callable[[], Any]) -> Row:
        for block in tower.transformer.resblocks:  # equal blocks are compiled once: seconds instead of minutes
            block.compile(dynamic=False, backend="inductor" if sizes.real else "eager")
        return rate(kind, call)

    def image_tower() -> Any:
        return model.encode_image(images_BCHW)

    def text_tower() -> Any:
        return model.encode_text(text_BL)

    def from_host() -> Any:
        return encoder.encode_pixels(pixels)

    lines: dict[str, Callable[[], Row]] = {
        "image tower": lambda: rate("images", image_tower),
        "encode_pixels, from the host": lambda: rate("images", from_host),
        "text tower, 77 tokens": lambda: rate("texts", text_tower),
        f"encode_tokens, edits of {used} tokens": lambda: rate("edits", lambda: encoder.encode_tokens(tokens)),
        "image tower, compiled": lambda: compiled("images", model.visual, image_tower),
        "encode_pixels, compiled": lambda: rate("images", from_host),
        "text tower, 77 tokens, compiled": lambda: compiled("texts", model, text_tower),
    }
    for line, work in lines.items():
        yield f"{sizes.dtype}, batch {batch}: {line}", work
