"""Train a tiny encoder from nothing on the training split of worlds; the packaged one is of the drawn worlds.

    python -m tools.tiny_encoder.train --out scot/encoders/tiny

Contrastive, on pictures and their captions (CLIP, Radford et al. 2021, arXiv 2103.00020). Every batch is made of groups
of *siblings* that differ in one attribute, so that telling them apart is most of the loss: that makes a tiny model
fine-grained. Beside it the text tower *reads* edits: which tokens were in one must be told from its embedding. No
picture goes with them, so the tower keeps the words of an edit without learning what it does to a picture. The result
is an open_clip ``local-dir`` folder in float16.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from scot import flags
from scot.edits.rules import RulesEngine
from scot.encoders.open_clip_hooks import shorter_tower
from scot.encoders.resizing import Pixels
from scot.worlds import WORLDS, Attributes, World, load_world, split_of
from tools.tiny_encoder.tokenizer import train_tokenizer

GROUP = 4
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@dataclass(frozen=True)
class TinyTraining:
    """Train the packaged tiny encoder on the drawn worlds (about half an hour on two cores)."""

    out: Path = Path("scot/encoders/tiny")
    """Folder to write, loadable as local-dir:OUT."""
    groups: int = 10_000
    """Groups of four siblings drawn for each world."""
    steps: int = 1_400
    """Optimiser steps."""
    batch: int = 512
    """Pictures in a batch."""
    edits: int = 256
    """Edits that are read beside a batch."""
    reading: float = 0.1
    """Weight of reading the edits; 0: the text tower reads captions alone."""
    lr: float = 2e-3
    """Peak learning rate."""
    dim: int = 256
    """Dimension of the shared space."""
    width: int = 16
    """Width of the image tower's stem."""
    text_width: int = 128
    """Width of the text tower, a multiple of 4."""
    seed: int = 0
    """Seed of the data and of the weights."""
    side: int = 96
    """Side of the pictures in pixels, a multiple of 32."""
    context: int = 32
    """Tokens of a text."""
    vocabulary: int = 1_024
    """Tokens that the tokeniser knows."""
    writer: Literal["rules", "world"] = "rules"
    """Who writes the edits to read: the rules engine from captions, or the worlds."""
    num_workers: int = 2
    """Processes that draw."""


@dataclass
class Drawn:
    """What one world trains on: ``pixels`` (N, H, W, 3) with their attributes, siblings side by side, and edits."""

    world: World
    pixels: Pixels
    attributes: list[Attributes]
    edits: list[str]


def main(config: TinyTraining) -> None:
    """Train on the drawn worlds."""
    train([load_world(name) for name in WORLDS], config)


def train(worlds: Sequence[World], config: TinyTraining) -> None:
    """Draw, train, save."""
    rng = random.Random(config.seed)
    torch.manual_seed(config.seed)
    drawn = [draw_world(world, config) for world in worlds]
    model = new_model(worlds, config)
    tokenize = open_clip.get_tokenizer(f"local-dir:{config.out}")
    _optimise(model, tokenize, drawn, config, rng)
    save(model, config)


def new_model(worlds: Sequence[World], config: TinyTraining, others: Sequence[str] = ()) -> Any:
    """An untrained model; its tokenizer, of the worlds' language and ``others``, and configuration go to ``out``."""
    config.out.mkdir(parents=True, exist_ok=True)
    vocabulary = train_tokenizer(
        config.out, worlds, vocabulary=config.vocabulary, context=config.context, seed=config.seed, others=others
    )
    model_cfg = _model_config(config, vocabulary)
    _write_config(config, model_cfg)
    model = open_clip.CustomTextCLIP(**{k: v for k, v in model_cfg.items() if k != "custom_text"}, output_dict=False)
    return model.to(memory_format=torch.channels_last).train()


def save(model: Any, config: TinyTraining) -> None:
    """Write the weights into ``out``, in float16."""
    weights = {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}
    weights = {key: value.cpu().contiguous() for key, value in weights.items()}
    save_file(weights, config.out / "open_clip_model.safetensors")
    print(f"wrote {config.out}", flush=True)


def optimizer(parameters: Sequence[nn.Parameter], config: TinyTraining) -> tuple[Any, Any]:
    """AdamW, with decay of the matrices alone, and its one-cycle schedule."""
    flat = [p for p in parameters if p.ndim < 2]
    matrices = [p for p in parameters if p.ndim >= 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": flat, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98))
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.lr, total_steps=config.steps, pct_start=0.06
    )


def siblings(world: World, rng: random.Random) -> list[Attributes]:
    """A training combination and ``GROUP - 1`` others that differ in one attribute, all of the training split."""
    while True:
        base = world.sample(rng)
        if split_of(base) != "train":
            continue
        group: list[Attributes] = [base]
        changes = world.changes(base)
        # An attribute first, then its value: otherwise the attributes with many values would make most of the siblings.
        by_name: dict[str, list[str]] = {}
        for name, value in changes:
            by_name.setdefault(name, []).append(value)
        for _ in range(20):
            name = rng.choice(list(by_name))
            other = world.changed(base, name, rng.choice(by_name[name]))
            if split_of(other) == "train" and other not in group:
                group.append(other)
            if len(group) == GROUP:
                return group


def draw_world(world: World, config: TinyTraining) -> Drawn:
    """Draw ``config.groups`` groups of siblings of a world on several processes, and write edits."""
    share = config.groups // config.num_workers
    jobs = [(world, share, config, config.seed * 1000 + worker) for worker in range(config.num_workers)]
    with ProcessPoolExecutor(config.num_workers, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(_draw_share, jobs))
    pixels = np.concatenate([part[0] for part in parts])
    records = [record for part in parts for record in part[1]]
    edits = [edit for part in parts for edit in part[2]]
    print(f"drew {len(pixels):,} pictures of {world.name} and wrote {len(edits):,} edits", flush=True)
    return Drawn(world, pixels, records, edits)


def _draw_share(job: tuple[World, int, TinyTraining, int]) -> tuple[Pixels, list[Attributes], list[str]]:
    world, groups, config, seed = job
    rng = random.Random(f"{world.name}-{seed}")
    records = [record for _ in range(groups) for record in siblings(world, rng)]
    pictures = (
        world.draw(record, rng).resize((config.side, config.side), Image.Resampling.BICUBIC) for record in records
    )
    pixels = np.stack([np.asarray(picture) for picture in pictures])
    if config.writer == "world":
        starts = (start for start in range(0, len(records), GROUP) for _ in range(GROUP - 1))
        return (
            pixels,
            records,
            [world.edit(records[start], records[start + rng.randrange(1, GROUP)], rng) for start in starts],
        )
    engine = RulesEngine()
    captions = [world.caption(record, rng) for record in records[::GROUP]]
    written = [engine.edits(caption, count=4, seed=seed).edits for caption in captions]
    return pixels, records, [record.edit for records in written for record in records]


def _model_config(config: TinyTraining, vocabulary: int) -> dict[str, Any]:
    return {
        "embed_dim": config.dim,
        "custom_text": True,
        "vision_cfg": {"image_size": config.side, "layers": [2, 2, 2, 2], "width": config.width, "head_width": 64},
        "text_cfg": {
            "context_length": config.context,
            "vocab_size": vocabulary,
            "hf_tokenizer_name": "scot-tiny",
            "width": config.text_width,
            "heads": 4,
            "layers": 3,
        },
    }


def _write_config(config: TinyTraining, model_cfg: dict[str, Any]) -> None:
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest", "size": config.side}
    text = json.dumps({"model_cfg": model_cfg, "preprocess_cfg": preprocess}, indent=2)
    (config.out / "open_clip_config.json").write_text(text + "\n", encoding="utf-8")


def _optimise(model: Any, tokenize: Any, drawn: Sequence[Drawn], config: TinyTraining, rng: random.Random) -> None:
    reader = Reader(config.dim, model.text.vocab_size)
    parameters = [*model.parameters(), *reader.parameters()]
    optimiser, schedule = optimizer(parameters, config)
    started = time.monotonic()
    for step in range(1, config.steps + 1):
        images_BCHW, records, world_of = _batch(drawn, config, rng)
        captions = [drawn[w].world.caption(record, rng) for record, w in zip(records, world_of, strict=True)]
        edits = [rng.choice(drawn[rng.randrange(len(drawn))].edits) for _ in range(config.edits)]
        tokens_TL = tokenize(captions + edits)
        with torch.autocast("cpu", torch.bfloat16):
            image_BD, text_TD = model.encode_image(images_BCHW), _encode_text(model, tokens_TL)
        image_BD, text_TD = F.normalize(image_BD.float(), dim=-1), F.normalize(text_TD.float(), dim=-1)
        scale = model.logit_scale.exp()
        logits_BB = scale * text_TD[: len(captions)] @ image_BD.T
        target = torch.arange(len(captions))
        loss = (F.cross_entropy(logits_BB, target) + F.cross_entropy(logits_BB.T, target)) / 2
        reading = reader(text_TD[len(captions) :], tokens_TL[len(captions) :])
        (loss + config.reading * reading).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=4.6052)
        if step % 20 == 0 or step == config.steps:
            right = (logits_BB.argmax(-1) == target).float().mean().item()
            took = time.monotonic() - started
            print(
                f"step {step}/{config.steps}  loss {loss.item():.3f}  right {right:.3f}  "
                f"reading {reading.item():.1f}  scale {scale.item():.0f}  {took:.0f} s",
                flush=True,
            )


class Reader(nn.Module):
    """Tells from a text's unit vector which tokens were in it; not kept after training."""

    def __init__(self, dim: int, vocabulary: int) -> None:
        super().__init__()
        self.tell = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, vocabulary))

    def forward(self, text_BD: torch.Tensor, tokens_BL: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy over the vocabulary, summed over it and averaged over the texts: nats a text."""
        logits_BV = self.tell(text_BD * text_BD.shape[-1] ** 0.5)
        present_BV = torch.zeros_like(logits_BV).scatter_(1, tokens_BL, 1.0)
        present_BV[:, 0] = 0.0  # padding
        return F.binary_cross_entropy_with_logits(logits_BV, present_BV, reduction="sum") / len(text_BD)


def _batch(
    drawn: Sequence[Drawn], config: TinyTraining, rng: random.Random
) -> tuple[torch.Tensor, list[Attributes], list[int]]:
    """Whole groups of siblings, mostly from one world: another world is too easy a negative."""
    mixed = rng.random() < 0.2
    world = rng.randrange(len(drawn))
    arrays: list[Pixels] = []
    records: list[Attributes] = []
    world_of: list[int] = []
    seen: set[str] = set()
    while len(records) < config.batch:
        w = rng.randrange(len(drawn)) if mixed else world
        start = rng.randrange(len(drawn[w].attributes) // GROUP) * GROUP
        for i in range(start, start + GROUP):
            key = f"{w}{sorted(drawn[w].attributes[i].items())}"
            if key not in seen and len(records) < config.batch:
                seen.add(key)
                arrays.append(_shifted(drawn[w].pixels[i], rng))
                records.append(drawn[w].attributes[i])
                world_of.append(w)
    images = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 255.0
    light = 1 + 0.1 * (torch.rand(len(images), 1, 1, 1) - 0.5)
    images = (images * light - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    return images.contiguous(memory_format=torch.channels_last), records, world_of


def _shifted(pixels: Pixels, rng: random.Random) -> Pixels:
    return np.roll(pixels, (rng.randint(-3, 3), rng.randint(-3, 3)), axis=(0, 1))


def _encode_text(model: Any, tokens_NL: torch.Tensor) -> torch.Tensor:
    """Encode without the columns that only pad: the text tower is causal, so they change only the time it takes."""
    used = int((tokens_NL != 0).sum(1).max())
    features: torch.Tensor = shorter_tower(model.text, used)(tokens_NL[:, :used])
    return features


if __name__ == "__main__":
    raise SystemExit(flags.run("train_tiny", main, TinyTraining))
