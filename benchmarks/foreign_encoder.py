"""Train the encoder of a foreign set on the vendors to learn from, on a CPU or a GPU.

    python benchmarks/foreign_encoder.py --set icons --out foreign/icons/encoder --packages foreign/packages --device cuda

Contrastive, as :mod:`tools.tiny_encoder.train`, with batches of siblings. Here pictures, captions and edits lie on the
device, and the pictures are turned, scaled, thickened, thinned, blurred and tinted, so that the encoder carries over to
a vendor it never saw. Pictures of one batch with the same content by different vendors are no negatives. What is
printed on the way is text → image R@1 among pictures of held-out combinations, of the vendors seen and of another one;
nothing is chosen by it.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.foreign_worlds import SETS
from scot import flags
from scot.data.atomic_io import write_json
from scot.encoders.open_clip_hooks import shorter_tower
from scot.worlds import Attributes, World
from scot.worlds.gallery import Drawing, catalogue
from tools.tiny_encoder.train import GROUP, MEAN, STD, Reader, TinyTraining, draw_world, new_model, optimizer, save

TRAINING = "training.json"
"""In an encoder's folder: how it was trained, and what it finds."""
MAKERS = ("vendor", "maker", "designer")
_CAPTIONS = 4
"""Captions of a picture, one of which is drawn each time."""
_PROBED = 1_000


@dataclass(frozen=True, slots=True)
class ForeignEncoder:
    """Train the encoder of a foreign set.

    Example: python benchmarks/foreign_encoder.py --set icons --out foreign/icons/encoder --device cuda
    """

    set: str = "icons"
    """The set: icons, flags or people."""
    out: Path = Path("foreign/icons/encoder")
    """Folder to write, loadable as local-dir:OUT."""
    packages: Path = Path("foreign/packages")
    """The folder of the npm packages."""
    device: str = "cpu"
    """Where to train: cpu, cuda."""
    steps: int = 1_000
    """Optimizer steps."""
    batch: int = 256
    """Pictures in a batch."""
    groups: int = 4_000
    """Groups of four siblings to learn from."""
    width: int = 12
    """Width of the image tower's stem."""
    side: int = 64
    """Side of the pictures in pixels, a multiple of 32."""
    text_width: int = 128
    """Width of the text tower."""
    seed: int = 0
    """Seed of the data and of the weights."""
    num_workers: int = 1
    """Processes that draw."""


@dataclass(slots=True)
class Data:
    """What is on the device: N pictures, each with its captions and the number of its content, and E edits."""

    pixels_NCHW: torch.Tensor
    """uint8."""
    tokens_NKL: torch.Tensor
    content_N: torch.Tensor
    edits_EL: torch.Tensor


def main(config: ForeignEncoder) -> int:
    """Train and save."""
    train(config)
    return 0


def train(config: ForeignEncoder) -> None:
    """Draw, train, save; :data:`TRAINING` has the settings and the R@1 of the end."""
    learned, searched = SETS[config.set](config.packages)
    tiny = TinyTraining(
        config.out, config.groups, config.steps, config.batch, config.batch // 4, dim=256, width=config.width,
        text_width=config.text_width, seed=config.seed, side=config.side, context=48, vocabulary=4_096,
        writer="world", num_workers=config.num_workers,
    )  # fmt: skip
    torch.manual_seed(config.seed)
    torch.backends.cudnn.benchmark = True
    model = new_model([learned], tiny).to(config.device)
    tokenizer = _tokenizer(config.out, 48)
    data = _load(learned, tiny, tokenizer, config)
    probes = {"seen": _probe(learned, tokenizer, config), "unseen": _probe(searched, tokenizer, config)}
    _optimize(model, data, probes, tiny, config.device)
    found = {f"recall@1_of_{name}_vendors": round(recall(model, *probe), 4) for name, probe in probes.items()}
    save(model, tiny)
    pictures = GROUP * (config.groups // config.num_workers) * config.num_workers
    told = ("steps", "batch", "width", "side", "seed", "device")
    write_json(config.out / TRAINING, {"pictures": pictures, **{name: getattr(config, name) for name in told}, **found})


def _load(world: World, tiny: TinyTraining, tokenizer: Tokenizer, config: ForeignEncoder) -> Data:
    drawn = draw_world(world, tiny)
    rng = random.Random(config.seed)
    captions = [world.caption(each, rng) for each in drawn.attributes for _ in range(_CAPTIONS)]
    numbers: dict[tuple[tuple[str, str], ...], int] = {}
    content = [numbers.setdefault(_content(each), len(numbers)) for each in drawn.attributes]
    pixels = torch.from_numpy(drawn.pixels).to(config.device).permute(0, 3, 1, 2).contiguous()
    captions_TL, edits_EL = (_tokens(tokenizer, texts).to(config.device) for texts in (captions, drawn.edits))
    return Data(
        pixels, captions_TL.view(len(pixels), _CAPTIONS, -1), torch.tensor(content, device=config.device), edits_EL
    )


def _content(attributes: Attributes) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(each for each in attributes.items() if each[0] not in MAKERS))


def _tokenizer(folder: Path, context: int) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(context)
    tokenizer.enable_padding(pad_id=0)
    return tokenizer


def _tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> torch.Tensor:
    return torch.tensor(np.array([each.ids for each in tokenizer.encode_batch(list(texts))]))


def _probe(world: World, tokenizer: Tokenizer, config: ForeignEncoder) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures ``(N, C, H, W)`` of held-out combinations, and tokens of their captions ``(N, L)``."""
    items: list[Drawing] = catalogue(world, _PROBED, split="eval", seed=config.seed)
    size = (config.side, config.side)
    pictures = [np.asarray(item.draw(world).resize(size, Image.Resampling.BICUBIC)) for item in items]
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(config.device)
    return pixels, _tokens(tokenizer, [item.caption(world) for item in items]).to(config.device)


@torch.inference_mode()
def recall(model: Any, pixels_NCHW: torch.Tensor, tokens_NL: torch.Tensor) -> float:
    """R@1 of the pictures for their captions."""
    model.eval()
    image_ND = F.normalize(model.encode_image(normalized(pixels_NCHW.float() / 255)).float(), dim=-1)
    tower = shorter_tower(model.text, tokens_NL.shape[1])
    text_ND = F.normalize(tower(tokens_NL).float(), dim=-1)
    model.train()
    best_N = (text_ND @ image_ND.T).argmax(-1)
    return (best_N == torch.arange(len(best_N), device=best_N.device)).float().mean().item()


def _optimize(model: Any, data: Data, probes: Any, tiny: TinyTraining, device: str) -> None:
    reader = Reader(tiny.dim, model.text.vocab_size).to(device)
    parameters = [*model.parameters(), *reader.parameters()]
    optimizing, schedule = optimizer(parameters, tiny)
    generator = torch.Generator(device).manual_seed(tiny.seed)
    captions, edits = (shorter_tower(model.text, part.shape[-1]) for part in (data.tokens_NKL, data.edits_EL))
    target_B, every = torch.arange(tiny.batch, device=device), max(tiny.steps // 20, 1)
    started = time.monotonic()
    for step in range(1, tiny.steps + 1):
        rows_B = _rows(len(data.pixels_NCHW), tiny.batch, generator)
        chosen_B = torch.randint(_CAPTIONS, (tiny.batch,), generator=generator, device=device)
        edits_E = torch.randint(len(data.edits_EL), (tiny.edits,), generator=generator, device=device)
        images_BCHW = augmented(data.pixels_NCHW[rows_B].float() / 255, generator)
        with torch.autocast(device, torch.bfloat16):
            image_BD = model.encode_image(normalized(images_BCHW))
            text_BD, edit_ED = captions(data.tokens_NKL[rows_B, chosen_B]), edits(data.edits_EL[edits_E])
        image_BD, text_BD, edit_ED = (F.normalize(part.float(), dim=-1) for part in (image_BD, text_BD, edit_ED))
        content_B = data.content_N[rows_B]
        same_BB = (content_B[:, None] == content_B[None, :]).fill_diagonal_(False)
        logits_BB = (model.logit_scale.exp() * text_BD @ image_BD.T).masked_fill(same_BB, -1e9)
        loss = (F.cross_entropy(logits_BB, target_B) + F.cross_entropy(logits_BB.T, target_B)) / 2
        (loss + tiny.reading * reader(edit_ED, data.edits_EL[edits_E])).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizing.step()
        optimizing.zero_grad(set_to_none=True)
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        if step % every == 0 or step == tiny.steps:
            found = "  ".join(f"R@1 {name} {recall(model, *probe):.3f}" for name, probe in probes.items())
            took = time.monotonic() - started
            print(f"step {step}/{tiny.steps}  loss {loss.item():.3f}  {found}  {took:.0f} s", flush=True)


def _rows(pictures: int, batch: int, generator: torch.Generator) -> torch.Tensor:
    """Whole groups of siblings, each at most once: ``(batch,)``."""
    groups_G = torch.randperm(pictures // GROUP, generator=generator, device=generator.device)[: batch // GROUP]
    return (groups_G[:, None] * GROUP + torch.arange(GROUP, device=generator.device)).flatten()


def normalized(images_BCHW: torch.Tensor) -> torch.Tensor:
    """As the encoder's preprocessing does: from 0 to 1 to its mean and deviation."""
    mean_C11, std_C11 = (torch.tensor(each, device=images_BCHW.device).view(3, 1, 1) for each in (MEAN, STD))
    return ((images_BCHW - mean_C11) / std_C11).contiguous(memory_format=torch.channels_last)


def augmented(images_BCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turned by up to 10°, scaled by 0.8–1.2, moved by up to 8 %; strokes thicker or thinner, or blurred; tinted."""
    rows, device = len(images_BCHW), images_BCHW.device

    def uniform(low: float, high: float, columns: int = 1) -> torch.Tensor:
        return low + (high - low) * torch.rand((rows, columns), generator=generator, device=device)

    angle_B1, scale_B2 = uniform(-0.17, 0.17), uniform(0.83, 1.25) * uniform(0.93, 1.08, 2)
    sine_B1, cosine_B1, shift_B2 = angle_B1.sin(), angle_B1.cos(), uniform(-0.16, 0.16, 2)
    turned_B23 = torch.stack(
        [torch.cat([cosine_B1, -sine_B1, shift_B2[:, :1]], 1), torch.cat([sine_B1, cosine_B1, shift_B2[:, 1:]], 1)], 1
    )
    turned_B23[:, :, :2] *= scale_B2[:, :, None]
    grid_BHW2 = F.affine_grid(turned_B23, list(images_BCHW.shape), align_corners=False)
    moved_BCHW = F.grid_sample(images_BCHW, grid_BHW2, padding_mode="border", align_corners=False)
    lighter_BCHW = F.max_pool2d(moved_BCHW, 3, 1, 1)
    darker_BCHW = -F.max_pool2d(-moved_BCHW, 3, 1, 1)
    blurred_BCHW = F.avg_pool2d(moved_BCHW, 3, 1, 1, count_include_pad=False)
    kind_B, amount_B111 = uniform(0, 1)[:, :, None, None], uniform(0, 1)[:, :, None, None]
    other_BCHW = torch.where(kind_B < 0.25, lighter_BCHW, torch.where(kind_B < 0.5, darker_BCHW, blurred_BCHW))
    mixed_BCHW = torch.where(kind_B < 0.75, moved_BCHW.lerp(other_BCHW, amount_B111), moved_BCHW)
    gain_BC11, light_B111 = uniform(0.93, 1.07, 3)[:, :, None, None], uniform(-0.06, 0.06)[:, :, None, None]
    return (mixed_BCHW * gain_BC11 + light_B111).clamp(0, 1)


if __name__ == "__main__":
    sys.exit(flags.run("foreign encoder", main, ForeignEncoder))
