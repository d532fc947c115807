"""Train the encoder of a foreign set on the vendors to learn from, on a CPU or a GPU.

    python benchmarks/foreign_encoder.py --set icons --out foreign/icons/encoder --device cuda

Contrastive, as :mod:`tools.tiny_encoder.train`, with batches of siblings. Here pictures, captions and edits lie on the
device, and the pictures are turned, scaled, thickened, thinned, blurred and tinted, so that the encoder carries over to
a vendor it never saw. Pictures of one batch with the same content by different vendors are no negatives. What is
printed on the way is text → image R@1 among pictures of held-out combinations, of the vendors seen and of another one;
nothing is chosen by it.

First the text tower alone learns to tell the words of captions and edits, the set's and those of the packaged corpus
(:mod:`scot.bootstrap.corpus`), as that of a real CLIP can: no composer follows an edit whose vector has lost its words.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.foreign_worlds import SETS
from scot import flags
from scot.bootstrap.corpus import write_corpus
from scot.data.atomic_io import write_json
from scot.edits.difference import difference
from scot.edits.rules.change import Dice, conjunction
from scot.encoders.open_clip_hooks import shorter_tower
from scot.worlds import Attributes, World
from scot.worlds.gallery import Drawing, catalogue
from tools.tiny_encoder.train import GROUP, MEAN, STD, Reader, TinyTraining, draw_world, new_model, optimizer, save

TRAINING = "training.json"
"""In an encoder's folder: how it was trained, and what it finds."""
MAKERS = ("vendor", "maker", "designer")
_ENGLISH = 60_000
"""Texts of the packaged corpus that the text tower reads."""
_CAPTIONS = 4
"""Captions of a picture, one of which is drawn each time."""
_PROBED = 1_000
_DIM, _SIDE, _CONTEXT = 256, 64, 48
_FUSED = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """How an encoder is trained, and how large it is."""

    device: str = "cpu"
    """Where to train: cpu, cuda."""
    encoder_steps: int = 1_000
    """Optimizer steps of an encoder."""
    encoder_batch: int = 256
    """Pictures in a batch, a multiple of 4."""
    encoder_reading_steps: int = 1_000
    """Steps in which the text tower alone reads, before the others; as many texts in a batch."""
    encoder_groups: int = 4_000
    """Groups of four siblings that an encoder learns from."""
    encoder_width: int = 12
    """Width of the image tower's stem."""
    encoder_text_width: int = 128
    """Width of the text tower, a multiple of 4."""


@dataclass(frozen=True, slots=True)
class ForeignEncoder:
    """Train the encoder of a foreign set.

    Example: python benchmarks/foreign_encoder.py --set icons --out foreign/icons/encoder --device cuda
    """

    set: str = "icons"
    """The set: icons, flags."""
    out: Path = Path("foreign/icons/encoder")
    """Folder to write, loadable as local-dir:OUT."""
    packages: Path = Path("foreign/packages")
    """The folder of the npm packages."""
    training: EncoderSettings = field(default_factory=EncoderSettings)
    """How it is trained."""
    num_workers: int = 1
    """Processes that draw."""


@dataclass(slots=True)
class Data:
    """What is on the device: N pictures, each with its captions and the number of its content, and other texts."""

    pixels_NCHW: torch.Tensor
    """uint8."""
    tokens_NKL: torch.Tensor
    content_N: torch.Tensor
    edits_EL: torch.Tensor
    english_EL: torch.Tensor
    """Of the packaged corpus."""

    @property
    def device(self) -> str:
        """Where it lies."""
        return self.pixels_NCHW.device.type


def main(config: ForeignEncoder) -> int:
    """Train and save."""
    train(config)
    return 0


def train(config: ForeignEncoder) -> None:
    """Draw, train, save; :data:`TRAINING` has the settings and the R@1 of the end."""
    learned, searched = SETS[config.set](config.packages)
    settings = config.training
    tiny = TinyTraining(
        config.out, settings.encoder_groups, settings.encoder_steps, settings.encoder_batch,
        settings.encoder_batch // 2, dim=_DIM, width=settings.encoder_width, text_width=settings.encoder_text_width,
        side=_SIDE, context=_CONTEXT, vocabulary=4_096, writer="world", num_workers=config.num_workers,
    )  # fmt: skip
    torch.manual_seed(tiny.seed)
    torch.backends.cudnn.benchmark = True
    english = _english(random.Random(tiny.seed))
    model = new_model([learned], tiny, english[::4]).to(settings.device)
    tokenizer = _tokenizer(config.out)
    data = _load(learned, english, tiny, tokenizer, settings.device)
    probes = {
        "seen": _probe(learned, tokenizer, settings.device),
        "unseen": _probe(searched, tokenizer, settings.device),
    }
    reader = Reader(tiny.dim, model.text.vocab_size).to(settings.device)
    _read(model, reader, data, replace(tiny, steps=settings.encoder_reading_steps))
    _optimize(model, reader, data, probes, tiny)
    found = {f"recall@1_of_{name}_vendors": round(recall(model, *probe), 4) for name, probe in probes.items()}
    save(model, tiny)
    write_json(config.out / TRAINING, {**asdict(settings), "pictures": len(data.pixels_NCHW), **found})


def _english(rng: random.Random) -> list[str]:
    """Texts of the packaged corpus, captions as well as edits."""
    corpus = write_corpus()
    texts = {text for name in ("caption", "edit", "edited_caption") for text in corpus.column(name).to_pylist()}
    return rng.sample(sorted(texts), _ENGLISH)


def _load(world: World, english: Sequence[str], tiny: TinyTraining, tokenizer: Tokenizer, device: str) -> Data:
    drawn = draw_world(world, tiny)
    rng = random.Random(tiny.seed)
    captions = [world.caption(each, rng) for each in drawn.attributes for _ in range(_CAPTIONS)]
    edits = list(edits_of_siblings(world, drawn.attributes, rng))
    numbers: dict[tuple[tuple[str, str], ...], int] = {}
    content = [numbers.setdefault(_content(each), len(numbers)) for each in drawn.attributes]
    pixels = torch.from_numpy(drawn.pixels).to(device).permute(0, 3, 1, 2).contiguous()
    captions_TL, *others = (_tokens(tokenizer, texts).to(device) for texts in (captions, edits, english))
    return Data(pixels, captions_TL.view(len(pixels), _CAPTIONS, -1), torch.tensor(content, device=device), *others)


def edits_of_siblings(world: World, attributes: Sequence[Attributes], rng: random.Random) -> Iterator[str]:
    """Edits of one and two changes, for the text tower to read: as the world words them, and as the engine pairs does.

    A real CLIP's text tower knows the words of both.
    """
    for start in range(0, len(attributes), GROUP):
        for before, after in rng.sample(list(permutations(attributes[start : start + GROUP], 2)), GROUP):
            yield world.edit(before, after, rng)
            first, *others = (*_differences(world, before, after, rng), "")
            if first:
                yield conjunction(first, others[0], Dice(first, start)) if any(others) else first


def _differences(world: World, before: Attributes, after: Attributes, rng: random.Random) -> Iterator[str]:
    """The edits of the engine pairs that change one attribute after the other."""
    changing = [name for name in before if before[name] != after[name] and name not in MAKERS]
    for name in changing:
        changed = {**before, name: after[name]}
        template = rng.random()
        old, new = (world.caption(each, random.Random(template)) for each in (before, changed))
        record = difference(old, new, "", Dice(f"{old}\n{new}", 0))
        if record is not None:
            yield record.edit
        before = changed


def _content(attributes: Attributes) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(each for each in attributes.items() if each[0] not in MAKERS))


def _tokenizer(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(_CONTEXT)
    tokenizer.enable_padding(pad_id=0)
    return tokenizer


def _tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> torch.Tensor:
    return torch.tensor(np.array([each.ids for each in tokenizer.encode_batch(list(texts))]))


def _probe(world: World, tokenizer: Tokenizer, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures ``(N, C, H, W)`` of held-out combinations, and tokens of their captions ``(N, L)``."""
    items: list[Drawing] = catalogue(world, _PROBED, split="eval", seed=0)
    size = (_SIDE, _SIDE)
    pictures = [np.asarray(item.draw(world).resize(size, Image.Resampling.BICUBIC)) for item in items]
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(device)
    return pixels, _tokens(tokenizer, [item.caption(world) for item in items]).to(device)


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


def _read(model: Any, reader: Reader, data: Data, tiny: TinyTraining) -> None:
    """Train the text tower to tell the words of a text."""
    parts, device = (data.tokens_NKL.flatten(0, 1), data.edits_EL, data.english_EL), data.device
    longest = max(part.shape[1] for part in parts)
    texts_TL = torch.cat([F.pad(part, (0, longest - part.shape[1])) for part in parts])
    parameters = [*model.text.parameters(), *reader.parameters()]
    optimizing, schedule = optimizer(parameters, tiny)
    generator = torch.Generator(device).manual_seed(tiny.seed)
    tower, loss = shorter_tower(model.text, longest), torch.zeros(())
    for _ in range(tiny.steps):
        texts_BL = texts_TL[torch.randint(len(texts_TL), (tiny.batch,), generator=generator, device=device)]
        with torch.autocast(device, torch.bfloat16), sdpa_kernel(_attention(device)):
            text_BD = tower(texts_BL)
        loss = reader(F.normalize(text_BD.float(), dim=-1), texts_BL)
        _step(loss, parameters, optimizing, schedule)
    print(f"{tiny.steps} steps of reading: {loss.item():.2f} nats a text are not told", flush=True)


def _optimize(model: Any, reader: Reader, data: Data, probes: Any, tiny: TinyTraining) -> None:
    parameters, device = [*model.parameters(), *reader.parameters()], data.device
    optimizing, schedule = optimizer(parameters, tiny)
    generator = torch.Generator(device).manual_seed(tiny.seed)
    captions, edits = (shorter_tower(model.text, part.shape[-1]) for part in (data.tokens_NKL, data.edits_EL))
    target_B, every = torch.arange(tiny.batch, device=device), max(tiny.steps // 5, 1)
    started = time.monotonic()
    for step in range(1, tiny.steps + 1):
        rows_B = _rows(len(data.pixels_NCHW), tiny.batch, generator)
        chosen_B = torch.randint(_CAPTIONS, (tiny.batch,), generator=generator, device=device)
        edits_E = torch.randint(len(data.edits_EL), (tiny.edits,), generator=generator, device=device)
        images_BCHW = augmented(data.pixels_NCHW[rows_B].float() / 255, generator)
        with torch.autocast(device, torch.bfloat16), sdpa_kernel(_attention(device)):
            image_BD = model.encode_image(normalized(images_BCHW))
            text_BD, edit_ED = captions(data.tokens_NKL[rows_B, chosen_B]), edits(data.edits_EL[edits_E])
        image_BD, text_BD, edit_ED = (F.normalize(part.float(), dim=-1) for part in (image_BD, text_BD, edit_ED))
        content_B = data.content_N[rows_B]
        same_BB = (content_B[:, None] == content_B[None, :]).fill_diagonal_(False)
        logits_BB = (model.logit_scale.exp() * text_BD @ image_BD.T).masked_fill(same_BB, -1e9)
        loss = (F.cross_entropy(logits_BB, target_B) + F.cross_entropy(logits_BB.T, target_B)) / 2
        loss = loss + tiny.reading * reader(edit_ED, data.edits_EL[edits_E])
        _step(loss, parameters, optimizing, schedule)
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        if step % every == 0 or step == tiny.steps:
            found = "  ".join(f"R@1 {name} {recall(model, *probe):.3f}" for name, probe in probes.items())
            took = time.monotonic() - started
            print(f"step {step}/{tiny.steps}  loss {loss.item():.3f}  {found}  {took:.0f} s", flush=True)


def _attention(device: str) -> list[SDPBackend]:
    """On a CPU the backward pass of fused attention takes a quarter of a step."""
    return [SDPBackend.MATH] if device == "cpu" else list(_FUSED)


def _step(loss: torch.Tensor, parameters: Sequence[nn.Parameter], optimizing: Any, schedule: Any) -> None:
    loss.backward()
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizing.step()
    optimizing.zero_grad(set_to_none=True)
    schedule.step()


def _rows(pictures: int, batch: int, generator: torch.Generator) -> torch.Tensor:
    """Whole groups of siblings, each at most once: ``(batch,)``."""
    groups_G = torch.randperm(pictures // GROUP, generator=generator, device=generator.device)[: batch // GROUP]
    return (groups_G[:, None] * GROUP + torch.arange(GROUP, device=generator.device)).flatten()


def normalized(images_BCHW: torch.Tensor) -> torch.Tensor:
    """As the encoder's preprocessing does: from 0 to 1 to its mean and deviation."""
    mean_C11, std_C11 = (torch.tensor(each, device=images_BCHW.device).view(3, 1, 1) for each in (MEAN, STD))
    return ((images_BCHW - mean_C11) / std_C11).contiguous(memory_format=torch.channels_last)


def augmented(images_BCHW: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turned by up to 10°, scaled by 0.8–1.2, moved by up to 8 %; three in four thicker, thinner or blurred; tinted."""
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
    quarter = rows // 4
    lighter, darker, blurred, plain = moved_BCHW.split([quarter, quarter, quarter, rows - 3 * quarter])
    other = [
        F.max_pool2d(lighter, 3, 1, 1),
        -F.max_pool2d(-darker, 3, 1, 1),
        F.avg_pool2d(blurred, 3, 1, 1, count_include_pad=False),
        plain,
    ]
    mixed_BCHW = moved_BCHW.lerp(torch.cat(other), uniform(0, 1)[:, :, None, None])
    gain_BC11, light_B111 = uniform(0.93, 1.07, 3)[:, :, None, None], uniform(-0.06, 0.06)[:, :, None, None]
    return (mixed_BCHW * gain_BC11 + light_B111).clamp(0, 1)


if __name__ == "__main__":
    sys.exit(flags.run("foreign encoder", main, ForeignEncoder))
