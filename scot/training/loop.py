"""The training loop: a composer on cached embeddings, in one process or in the workers of a process group. No Ray here.

``Trainer.run()`` is a generator of :class:`Progress`; the caller prints, reports and saves. A run is exactly resumable:
the order of the data depends only on the seed and the step, the dropout masks also on the number of workers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from scot.composers.base import ComposerModule
from scot.embeddings.cache import TripletEmbeddings, unit_rows
from scot.embeddings.moments import Moments
from scot.errors import InvalidInput
from scot.evaluation.cached_pairs import CachedPairs
from scot.evaluation.comparison import Comparison
from scot.training import held_out, held_out_pairs
from scot.training.checkpoint import State, load_checkpoint, save_checkpoint
from scot.training.config import TrainConfig
from scot.training.data import Prefetcher, gather_batch, map_tensors, reference_pool, samples
from scot.training.distributed import all_or_none, check_shares, data_parallel, from_first, rank_and_world, reduced
from scot.training.divergence import divergence
from scot.training.network import Objective, new_network
from scot.training.objectives import (
    ContrastiveLoss,
    MinedTargets,
    TargetQueue,
    TripletBatch,
    from_captions,
    noised,
)
from scot.training.optimization import computes_in_bfloat16, learning_rate, parameter_groups
from scot.training.progress import Progress
from scot.training.split import split

_SHOW_EVERY = 50  # steps between two progress events
_STATISTICS_ROWS = 65_536  # training triplets on which the composer's statistics are measured


class Trainer:
    """One run's model, data and optimizer.

    Args:
        data: the triplets, in memory or memory-mapped; batches are gathered on the CPU, ahead of the steps.
        config: the settings.
        device: the device to train on.
        images: the moments of the images that will be searched, for captions that stand in for images; by default
            those of the data's images.

    Raises:
        InvalidInput: too few triplets, a batch that the workers cannot share evenly, or captions alone where images
            are needed.
    """

    def __init__(
        self,
        data: TripletEmbeddings,
        config: TrainConfig,
        device: str | torch.device = "cpu",
        *,
        images: Moments | None = None,
    ) -> None:
        self.config, self.device = config, torch.device(device)
        self.rank, self.world = rank_and_world()
        check_shares(config.batch_size, self.world)
        self.data = data
        self.split = split(data, config.held_out)
        self.training_N, self.measured_M = self.split.training_N, self.split.measured_M
        if len(self.training_N) < 2:
            raise InvalidInput("one training triplet is too few: it has no negatives")
        self.batch_size = config.batch_size
        torch.manual_seed(config.seed)
        self.composer = new_network(config, data.info)
        rows_S = self.training_N[:: math.ceil(len(self.training_N) / _STATISTICS_ROWS)]
        self.stand_ins, pool_SD = reference_pool(data, rows_S, config, images)
        self.composer.fit_statistics(pool_SD, unit_rows(data.text_VD, data.edit_N[rows_S]))
        self.composer.to(self.device)
        if config.compile:
            self.composer.compile()
        self.loss = ContrastiveLoss(config.loss).to(self.device)
        self.mined = MinedTargets.mine(self.data, self.training_N, config.loss, self.device)
        self.objective = Objective(self.composer, self.loss, computes_in_bfloat16(config.precision, self.device))
        self.step_module: nn.Module = data_parallel(self.objective) if self.world > 1 else self.objective
        """The objective as a step calls it."""
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.objective, config.weight_decay), lr=config.lr, fused=True
        )
        self.step = 0
        self.best: dict[str, float] = {}
        self.best_step = 0
        self.stale = 0
        self.stopped = False
        self.checkpoint_s = 0.0
        self._first_nonfinite = torch.full((), config.steps, device=self.device)  # the first step that was not finite
        self._best_state = self._weights(self.composer)

    def run(self) -> Iterator[Progress]:
        """Train to the end; yields progress every few steps. The caller saves after an evaluation.

        Raises:
            Diverged: the loss is not finite.
        """
        config = self.config
        logged = ("loss", *config.loss.weights(), "gradient_norm")
        newest, total = dict(self.best), torch.zeros(len(logged), device=self.device)
        queue = self._queue()
        batches = Prefetcher(self._gather, range(self.step, config.steps))
        since, started = 0, time.perf_counter()
        self.objective.train()
        try:
            while self.step < config.steps and not self.stopped:
                total += self._one_step(batches.next(), queue)
                since += 1
                evaluate = self.step % config.eval_every == 0 or self.step == config.steps
                if not evaluate and self.step % _SHOW_EVERY:
                    continue
                self._check_finite()
                sums = reduced(total, dist.ReduceOp.SUM).tolist()
                terms = {name: value / self.world / since for name, value in zip(logged, sums, strict=True)}
                loss, norm = terms.pop("loss"), terms.pop("gradient_norm")
                elapsed = time.perf_counter() - started
                rate, wait = since * self.batch_size / elapsed, batches.waited / elapsed
                if evaluate:
                    newest = self._evaluate()
                done = self.stopped or self.step == config.steps
                scale = float(self.loss.scale().detach())
                lr = learning_rate(self.step, config)
                yield Progress(
                    self.step, config.steps, loss, lr, scale, rate, newest, evaluate, done, self.batch_size,
                    data_wait=wait, checkpoint_s=self.checkpoint_s, terms=terms, gradient_norm=norm,
                )  # fmt: skip
                total.zero_()
                since, batches.waited, started = 0, 0.0, time.perf_counter()
        finally:
            batches.close()

    @cached_property
    def references(self) -> dict[str, held_out.Recall]:
        """What the baselines and the true captions reach on the held-out triplets, by name."""
        return held_out.references(self.data, self.training_N, self.measured_M, self.stand_ins)

    @cached_property
    def test(self) -> CachedPairs | None:
        """The held-out pairs of images; None if the data has too few."""
        return CachedPairs.of(self.data, self.split.pairs) if self.split.pairs else None

    @cached_property
    def comparison(self) -> Comparison | None:
        """What the best composer, the baselines and the oracles reach on the held-out pairs of images."""
        return held_out_pairs.compare_pairs(self.test, self.best_composer()) if self.test is not None else None

    def best_composer(self) -> ComposerModule:
        """The composer with the weights of its best evaluation."""
        module = new_network(self.config, self.data.info)
        module.load_state_dict(self._best_state)
        return module.eval()

    def save(self, folder: Path) -> None:
        """Write a checkpoint as ``folder``; every worker calls this, the first one writes.

        Raises:
            ScotError: it cannot be written.
        """
        started = time.perf_counter()
        counters = {name: getattr(self, name) for name in ("step", "best", "best_step", "stale", "stopped")}
        with all_or_none():
            if self.rank == 0:
                current, moments = self.objective.state_dict(), self.optimizer.state_dict()
                save_checkpoint(folder, current, self._best_state, moments, counters)
        self.checkpoint_s = time.perf_counter() - started

    def load(self, folder: Path) -> None:
        """Resume from a checkpoint. Raises InvalidInput when it is damaged or of other settings."""
        current, best, optimizer, counters = load_checkpoint(folder)
        try:
            self.objective.load_state_dict(current)
            self.optimizer.load_state_dict(optimizer)
            self._best_state = best
            for name, value in counters.items():
                setattr(self, name, value)
        except (RuntimeError, ValueError, KeyError) as error:
            raise InvalidInput(f"the checkpoint {folder.name} is of a run with other settings") from error

    def batch_rows(self, step: int) -> torch.Tensor:
        """This worker's rows of the step's global batch; every training row occurs once in an epoch."""
        share = self.batch_size // self.world
        return self._rows(step * self.batch_size + self.rank * share, share)

    def _rows(self, start: int, count: int) -> torch.Tensor:
        return self.training_N[torch.from_numpy(samples(start, count, len(self.training_N), self.config.seed))]

    def _gather(self, step: int) -> TripletBatch:
        rows_B = self.batch_rows(step)
        config = self.config
        batch = gather_batch(self.data, rows_B, self.mined, states=self.composer.reads_states)
        seed = (config.seed * 1_000_003 + step) * 4096
        batch = from_captions(batch, config.from_captions, self.stand_ins, seed=seed + 4094)
        batch = noised(batch, config.loss, seed=seed + 4095)
        return batch if self.device.type == "cpu" else map_tensors(batch, torch.Tensor.pin_memory)

    def _to_device(self, batch: TripletBatch) -> TripletBatch:
        if self.device.type == "cpu":
            return batch
        return map_tensors(batch, lambda tensor: tensor.to(self.device, non_blocking=True))

    def _queue(self) -> TargetQueue | None:
        """The targets of the steps before this one; a resumed run gathers them again."""
        if not self.config.loss.queue:
            return None
        queue = TargetQueue(self.config.loss.queue)
        for step in range(max(0, self.step - queue.steps), self.step):
            queue.push(self._to_device(self._gather(step)), step)
        return queue

    def _one_step(self, batch: TripletBatch, queue: TargetQueue | None) -> torch.Tensor:
        """Loss, terms and gradient norm, as one vector."""
        config = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, config)
        # Dropout depends only on the step: a resumed run draws the same masks.
        torch.manual_seed((config.seed * 1_000_003 + self.step) * 4096 + self.rank)
        batch = self._to_device(batch)
        if queue is not None:
            queue.attach(batch)
        loss, terms = self.step_module(batch)
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.objective.parameters(), config.clip)
        # Stays on the device: reading it now would make every step wait for the one before.
        finite = torch.isfinite(loss.detach()) & torch.isfinite(norm)
        self._first_nonfinite = torch.where(finite, self._first_nonfinite, self._first_nonfinite.clamp(max=self.step))
        self.optimizer.step()
        if queue is not None:
            queue.push(batch, self.step)
        self.step += 1
        return torch.stack([loss.detach(), *terms.values(), norm])

    def _evaluate(self) -> dict[str, float]:
        """Measure, and decide whether to stop; rank 0 measures and broadcasts, so that all workers decide the same."""
        own = self._recall() if self.rank == 0 else None
        measured: dict[str, float] = from_first(own)
        if not self.best or held_out_pairs.score(measured) > held_out_pairs.score(self.best):
            self.best, self.best_step, self.stale = measured, self.step, 0
            self._best_state = self._weights(self.composer)
        else:
            self.stale += 1
            self.stopped = 0 < self.config.patience <= self.stale
        return measured

    def _recall(self) -> held_out.Recall:
        own = held_out.evaluate(self.composer, self.data, self.measured_M, self.device, stand_ins=self.stand_ins)
        return own if self.test is None else own | held_out_pairs.evaluate_pairs(self.test, self.composer, self.device)

    def _check_finite(self) -> None:
        """Raise :class:`Diverged` for the first step whose loss or gradient was not finite."""
        step = int(reduced(self._first_nonfinite, dist.ReduceOp.MIN))
        if step < self.config.steps:
            raise divergence(self.data, self._rows(step * self.batch_size, self.batch_size), step, self.config.lr)

    @staticmethod
    def _weights(module: nn.Module) -> State:
        return {key: value.detach().cpu().clone() for key, value in module.state_dict().items()}
