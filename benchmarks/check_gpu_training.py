"""Composer pretraining of check_gpu: the trainer's steps, alone and over a process group of NCCL."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.check_gpu_rows import Line, Row, Sizes, calls_per_second
from benchmarks.synthetic_cache import write_cache
from scot.embeddings.cache import TripletEmbeddings, load_cache
from scot.training.checkpoint import checkpoint_name
from scot.training.config import TrainConfig
from scot.training.data import gather_batch, map_tensors
from scot.training.distributed import BACKENDS, data_parallel, from_first, rank_and_world
from scot.training.loop import Trainer
from scot.training.objectives import TripletBatch

_COMPARED = 20  # steps after which two ways must have the same weights
_STEP_BYTES = 10 * 4  # a parameter's weight, gradient and two moments, read and written by backward and AdamW


def training(sizes: Sizes) -> Iterator[Line]:
    """Triplets a second: steps whose batch is on the device, and whole steps of the composers, eager and compiled."""
    data, config = _data(sizes), _config(sizes)
    large = replace(config, batch_size=4 * config.batch_size)
    for each in (config, large):
        yield f"combiner, batch {each.batch_size}: the step alone", partial(_step_alone, sizes, data, each)
        yield f"combiner, batch {each.batch_size}", partial(_trained, sizes, data, each)
    other = replace(config, architecture="transformer")
    yield f"transformer, batch {other.batch_size}", partial(_trained, sizes, data, other)
    if sizes.real:  # a rehearsal needs no C++ compiler
        compiled = replace(large, compile=True)
        yield f"combiner, batch {compiled.batch_size}, compiled", partial(_trained, sizes, data, compiled)


def process_group(sizes: Sizes) -> Iterator[Line]:
    """The path of several workers, with one: collectives, and data-parallel steps that end with the same weights."""
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, "lo")
    with tempfile.TemporaryDirectory() as folder:
        backend = BACKENDS if sizes.real else "gloo"
        if sizes.real:
            torch.cuda.set_device(0)
        dist.init_process_group(backend, init_method=f"file://{folder}/group", rank=0, world_size=1)
        try:
            data, config = _data(sizes), _config(sizes)
            yield f"all-reduce of {sizes.copied // 16 / 2**20:g} MiB, {backend}", partial(_all_reduce, sizes)
            yield "pretraining, data-parallel, 1 worker", partial(_trained, sizes, data, config, parallel=True)
            yield f"weights after {_COMPARED} steps", partial(_same_weights, sizes, data, config)
            yield "checkpoint: saved, and resumed to the same weights", partial(_resumed, sizes, data, config)
        finally:
            dist.destroy_process_group()


def _data(sizes: Sizes) -> TripletEmbeddings:
    with tempfile.TemporaryDirectory() as folder:
        write_cache(Path(folder) / "cache", sizes.triplets, sizes.dim)
        return load_cache(Path(folder) / "cache")


def _config(sizes: Sizes) -> TrainConfig:
    return TrainConfig(batch_size=sizes.train_batch, steps=10**9, eval_every=10**9, patience=0)


def _trainer(sizes: Sizes, data: TripletEmbeddings, config: TrainConfig, parallel: bool = False) -> Trainer:
    trainer = Trainer(data, config, sizes.device)
    if parallel:
        trainer.step_module = data_parallel(trainer.objective)
    return trainer


def _step_alone(sizes: Sizes, data: TripletEmbeddings, config: TrainConfig) -> Row:
    trainer = Trainer(data, config, sizes.device)
    batch = _batch(trainer)

    def step() -> None:
        loss, _ = trainer.step_module(batch)
        trainer.optimizer.zero_grad()
        loss.backward()
        trainer.optimizer.step()

    return _row(sizes, trainer, calls_per_second(sizes, step) * config.batch_size, "")


def _trained(sizes: Sizes, data: TripletEmbeddings, config: TrainConfig, parallel: bool = False) -> Row:
    trainer = _trainer(sizes, data, config, parallel)
    rates: list[float] = []
    waits: list[float] = []
    run: Any = trainer.run()
    with closing(run) as events:
        next(events)  # warm, or compiled
        until = time.perf_counter() + 2 * sizes.seconds
        while not rates or time.perf_counter() < until:
            event = next(events)
            rates.append(event.triplets_per_s)
            waits.append(event.data_wait)
    return _row(sizes, trainer, max(rates), f"; waits for data {min(waits):.0%} of the time; loss {event.loss:.2f}")


def _row(sizes: Sizes, trainer: Trainer, rate: float, note: str) -> Row:
    """A rate in triplets a second beside the roofline of a step's FLOPs, counted by PyTorch, and weights' traffic."""
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        loss, _ = trainer.objective(_batch(trainer))
        loss.backward()
    flops, triplets = float(counter.get_total_flops()), trainer.batch_size
    parameters = sum(each.numel() for each in trainer.objective.parameters())
    bound = sizes.bound(flops, parameters * _STEP_BYTES)
    note = f"{parameters / 1e6:.1f} M parameters{note}"
    roofline = None if bound is None else bound * triplets
    return Row("", rate, "triplets/s", rate / triplets * flops / 1e12, roofline, note)


def _batch(trainer: Trainer) -> TripletBatch:
    """The first batch, on the device."""
    batch = gather_batch(trainer.data, trainer.batch_rows(0), trainer.mined, states=trainer.composer.reads_states)
    return map_tensors(batch, lambda tensor: tensor.to(trainer.device))


def _all_reduce(sizes: Sizes) -> Row:
    tensor = torch.ones(sizes.copied // 64, device=sizes.device)
    rate = calls_per_second(sizes, lambda: dist.all_reduce(tensor)) * tensor.nbytes
    if rank_and_world() != (0, 1) or from_first({"step": 1}) != {"step": 1} or float(tensor[0]) != 1.0:
        raise RuntimeError("the collectives of a group of one must change nothing")
    parts: list[object] = [None]
    dist.all_gather_object(parts, "ready")
    dist.broadcast_object_list(parts, src=0)
    if parts != ["ready"]:
        raise RuntimeError(f"objects come back as {parts}")
    return Row("", rate / 1e9, "GB/s", note="with one worker nothing travels: this shows that it runs")


def _weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([each.detach().float().reshape(-1) for each in trainer.objective.parameters()])


def _step_to(trainer: Trainer) -> Trainer:
    for _ in trainer.run():
        pass
    return trainer


def _same_weights(sizes: Sizes, data: TripletEmbeddings, config: TrainConfig) -> Row:
    short = replace(config, steps=_COMPARED)
    alone, parallel = (_step_to(_trainer(sizes, data, short, way)) for way in (False, True))
    gap = float((_weights(alone) - _weights(parallel)).abs().max())
    if not gap <= 1e-3:
        raise RuntimeError(f"data-parallel steps end {gap:.1e} away from those of one process")
    return Row("", note=f"largest difference to one process {gap:.0e}; recall@1 {parallel.best.get('recall@1', 0):.3f}")


def _resumed(sizes: Sizes, data: TripletEmbeddings, config: TrainConfig) -> Row:
    short = replace(config, steps=_COMPARED, eval_every=_COMPARED // 2)
    with tempfile.TemporaryDirectory() as folder:
        whole = _trainer(sizes, data, short, parallel=True)
        for event in whole.run():
            if event.step == _COMPARED // 2:
                whole.save(Path(folder) / checkpoint_name(event.step))
        resumed = _trainer(sizes, data, short, parallel=True)
        resumed.load(Path(folder) / checkpoint_name(_COMPARED // 2))
    gap = float((_weights(whole) - _weights(_step_to(resumed))).abs().max())
    if not gap <= 1e-3:
        raise RuntimeError(f"a resumed run ends {gap:.1e} away from an uninterrupted one")
    return Row("", note=f"largest difference {gap:.0e}; saved in {whole.checkpoint_s:.2f} s")
