"""The training loop: a composer on cached embeddings, in one process or in the workers of a process group. No Ray here.

``Trainer.run()`` is a generator of :class:`Progress`; the caller prints, reports and saves. A run is exactly resumable:
the order of the data and the dropout masks depend on the seed and the step alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from scot.composers.architectures import build
from scot.composers.base import ComposerModule
from scot.errors import InvalidInput, ScotError
from scot.training import held_out
from scot.training.cache import TripletEmbeddings, unit_rows
from scot.training.checkpoint import State, load_checkpoint, save_checkpoint
from scot.training.config import TrainConfig
from scot.training.objectives import Batch, Companions, ContrastiveLoss, TargetQueue, noised

_SHOW_EVERY = 50  # steps between two progress events


class Diverged(ScotError):
    """The loss or the gradient is no longer a number."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is. ``held_out`` has the newest recall; ``evaluated`` tells that it was measured at this step.

    ``loss``, the separate ``terms`` (before their weights) and ``gradient_norm`` (before clipping) are means since the
    last event.
    """

    step: int
    steps: int
    loss: float
    lr: float
    scale: float
    triplets_per_s: float
    held_out: dict[str, float]
    evaluated: bool
    done: bool
    batch_size: int
    terms: dict[str, float] = field(default_factory=dict)
    gradient_norm: float = 0.0

    @property
    def eta_s(self) -> float:
        """Seconds to the last step at the present speed; not known (NaN) before the first step."""
        return math.nan if not self.triplets_per_s else (self.steps - self.step) * self.batch_size / self.triplets_per_s


class Trainer:
    """One run's model, data and optimiser.

    Args:
        data: the triplets; every worker holds all of them.
        config: the settings.
        device: where to train.

    Raises:
        InvalidInput: too few triplets, or a batch that the workers cannot share.
    """

    def __init__(self, data: TripletEmbeddings, config: TrainConfig, device: str | torch.device = "cpu") -> None:
        self.config, self.device = config, torch.device(device)
        self.rank, self.world = _group()
        if config.batch_size % self.world:
            raise InvalidInput(f"batch_size {config.batch_size} cannot be shared by {self.world} workers")
        self.data = data.to(self.device)
        self.training_N, self.measured_M = held_out.split(data, config.held_out)
        # A set smaller than a batch is one batch.
        self.batch_size = min(config.batch_size, len(self.training_N) // self.world * self.world)
        if self.batch_size < 2:
            raise InvalidInput(f"{len(self.training_N)} training triplets are too few for {self.world} workers")
        torch.manual_seed(config.seed)
        self.composer = _composer(config, data.dim).to(self.device)
        self.composer.fit_statistics(
            unit_rows(self.data.image_UD, self.data.image_N[self.training_N]),
            unit_rows(self.data.text_VD, self.data.edit_N[self.training_N]),
        )
        self.loss = ContrastiveLoss(config.loss).to(self.device)
        self.companions = Companions.of(self.data, self.training_N, config.loss, self.device)
        self.objective = _Objective(self.composer, self.loss, _autocast(config.precision, self.device))
        self._step_module: nn.Module = self.objective
        if self.world > 1:
            self._step_module = nn.parallel.DistributedDataParallel(self.objective, broadcast_buffers=False)
        self.optimiser = torch.optim.AdamW(_groups(self.objective, config.weight_decay), lr=config.lr, fused=True)
        self.step = 0
        self.best: dict[str, float] = {}
        self.best_step = 0
        self.stale = 0
        self.stopped = False
        self._best_state = self._weights(self.composer)

    def run(self) -> Iterator[Progress]:
        """Train to the end, yielding now and then; at an evaluation it is time to save.

        Raises:
            Diverged: the loss is no longer a number.
        """
        config = self.config
        watched = ("loss", *config.loss.weights(), "gradient_norm")
        newest, total = dict(self.best), torch.zeros(len(watched), device=self.device)
        queue = self._queue()
        since, started = 0, time.perf_counter()
        self.objective.train()
        while self.step < config.steps and not self.stopped:
            total += self._one_step(queue)
            since += 1
            evaluate = self.step % config.eval_every == 0 or self.step == config.steps
            if not evaluate and self.step % _SHOW_EVERY:
                continue
            terms = {name: value / since for name, value in zip(watched, _mean(total).tolist(), strict=True)}
            loss, norm = terms.pop("loss"), terms.pop("gradient_norm")
            if not math.isfinite(loss):
                raise Diverged(f"the loss is {loss} at step {self.step}: lower the learning rate ({config.lr:g})")
            rate = since * self.batch_size / (time.perf_counter() - started)
            if evaluate:
                newest = self._evaluate()
            done = self.stopped or self.step == config.steps
            scale = float(self.loss.scale().detach())
            lr = learning_rate(self.step, config)
            where = (self.step, config.steps, loss, lr, scale, rate, newest, evaluate, done, self.batch_size)
            yield Progress(*where, terms=terms, gradient_norm=norm)
            total.zero_()
            since, started = 0, time.perf_counter()

    def best_composer(self) -> ComposerModule:
        """The composer as it was at its best evaluation."""
        module = _composer(self.config, self.data.dim)
        module.load_state_dict(self._best_state)
        return module.eval()

    def save(self, folder: Path) -> None:
        """Write a checkpoint into ``folder``, which must not exist."""
        counters = {name: getattr(self, name) for name in ("step", "best", "best_step", "stale", "stopped")}
        save_checkpoint(folder, self.objective.state_dict(), self._best_state, self.optimiser.state_dict(), counters)

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint. Raises InvalidInput when it is damaged or of other settings."""
        current, best, optimiser, counters = load_checkpoint(folder)
        try:
            self.objective.load_state_dict(current)
            self.optimiser.load_state_dict(optimiser)
            self._best_state = best
            for name, value in counters.items():
                setattr(self, name, value)
        except (RuntimeError, ValueError, KeyError) as error:
            raise InvalidInput(f"the checkpoint {folder.name} is of a run with other settings") from error

    def batch_rows(self, step: int) -> torch.Tensor:
        """This worker's rows of the step's global batch: a fresh permutation of the training rows every epoch."""
        per_epoch = len(self.training_N) // self.batch_size
        epoch, position = divmod(step, per_epoch)
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + epoch)
        if getattr(self, "_epoch", None) != epoch:
            self._epoch, self._order = epoch, torch.randperm(len(self.training_N), generator=generator)
        share = self.batch_size // self.world
        start = position * self.batch_size + self.rank * share
        return self.training_N[self._order[start : start + share]].to(self.device)

    def _batch(self, step: int) -> Batch:
        batch = gather_batch(self.data, self.batch_rows(step), self.companions)
        return noised(batch, self.config.loss, seed=(self.config.seed * 1_000_003 + step) * 4096 + 4095)

    def _queue(self) -> TargetQueue | None:
        """The targets of the steps before this one: a resumed run goes through them again."""
        if not self.config.loss.queue:
            return None
        queue = TargetQueue(self.config.loss.queue)
        for step in range(max(0, self.step - queue.steps), self.step):
            queue.push(self._batch(step), step)
        return queue

    def _one_step(self, queue: TargetQueue | None) -> torch.Tensor:
        """Loss, terms and gradient norm, as one vector."""
        config = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, config)
        # Dropout depends on the step, not on what ran before: a resumed run draws the same masks.
        torch.manual_seed((config.seed * 1_000_003 + self.step) * 4096 + self.rank)
        batch = self._batch(self.step)
        if queue is not None:
            queue.attach(batch)
        loss, terms = self._step_module(batch)
        self.optimiser.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.objective.parameters(), config.clip)
        self.optimiser.step()
        if queue is not None:
            queue.push(batch, self.step)
        self.step += 1
        return torch.stack([loss.detach(), *terms.values(), norm])

    def _evaluate(self) -> dict[str, float]:
        """Measure, and decide on stopping; rank 0 measures and the others take its word, so that all decide alike."""
        measured = [held_out.evaluate(self.composer, self.data, self.measured_M) if self.rank == 0 else {}]
        if self.world > 1:
            dist.broadcast_object_list(measured, src=0)
        if not self.best or measured[0]["recall@1"] > self.best["recall@1"]:
            self.best, self.best_step, self.stale = measured[0], self.step, 0
            self._best_state = self._weights(self.composer)
        else:
            self.stale += 1
            self.stopped = 0 < self.config.patience <= self.stale
        return measured[0]

    @staticmethod
    def _weights(module: nn.Module) -> State:
        return {key: value.detach().cpu().clone() for key, value in module.state_dict().items()}


class _Objective(nn.Module):
    """Composer and loss as one module, so that data parallelism sees all parameters."""

    def __init__(self, composer: ComposerModule, loss: ContrastiveLoss, bfloat16: bool) -> None:
        super().__init__()
        self.composer, self.loss, self._bfloat16 = composer, loss, bfloat16

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        with torch.autocast(batch.image_BD.device.type, torch.bfloat16, enabled=self._bfloat16):
            query_BD = self.composer(batch.image_BD, batch.edit_BD)
        # The loss is in float32: logits of a large scale need the mantissa.
        loss: tuple[torch.Tensor, dict[str, torch.Tensor]] = self.loss(query_BD, batch)
        return loss


def gather_batch(data: TripletEmbeddings, rows_B: torch.Tensor, companions: Companions) -> Batch:
    """The frozen vectors of some triplets, and of what was looked up for them."""
    edit_B, caption_B, edited_B = data.edit_N[rows_B], data.caption_N[rows_B], data.edited_N[rows_B]
    batch = Batch(
        image_BD=unit_rows(data.image_UD, data.image_N[rows_B]),
        edit_BD=unit_rows(data.text_VD, edit_B),
        caption_BD=unit_rows(data.text_VD, caption_B),
        edited_BD=unit_rows(data.text_VD, edited_B),
        edit_B=edit_B,
        caption_B=caption_B,
        edited_B=edited_B,
    )
    if companions.sibling_NK is not None:
        batch.sibling_BK = companions.sibling_NK[rows_B]
        batch.sibling_BKD = unit_rows(data.text_VD, batch.sibling_BK.clamp(min=0))
    if companions.retrieved_N is not None:
        batch.retrieved_B = companions.retrieved_N[rows_B]
        batch.retrieved_BD = unit_rows(data.image_UD, batch.retrieved_B)
    return batch


def learning_rate(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then a cosine to zero (Loshchilov & Hutter, arXiv 1608.03983)."""
    warm = int(config.warmup * config.steps)
    if step < warm:
        return config.lr * (step + 1) / warm
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, config.steps - warm)))


def training_settings(config: TrainConfig) -> dict[str, Any]:
    """The settings as plain JSON, for manifests and model cards."""
    return {key: value for key, value in asdict(config).items() if key != "loss"} | asdict(config.loss)


def _composer(config: TrainConfig, dim: int) -> ComposerModule:
    return build(config.architecture, {"dim": dim, **config.composer_settings()})


def _groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; biases and the temperature do not."""
    learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in learned if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in learned if p.ndim < 2], "weight_decay": 0.0},
    ]


def _autocast(precision: str, device: torch.device) -> bool:
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    # On a CPU without bfloat16 instructions autocast is slower than float32; with them it was twice as fast (AVX-512).
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _mean(value: torch.Tensor) -> torch.Tensor:
    """The workers' mean, so that all of them see the same number and stop alike."""
    if _group()[1] > 1:
        value = value.clone()
        dist.all_reduce(value)
        value /= _group()[1]
    return value


def _group() -> tuple[int, int]:
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1
