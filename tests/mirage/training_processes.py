# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Training in processes of their own: several that work together, and ones that are killed."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import warnings
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import small_training
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch.distributed.fsdp import fully_shard

from mirage.training.recipe import Recipe
from mirage.training.run import make_accelerator, train

# Where torchvision is, which conftest.py makes importable. No other process needs it.
TORCHVISION = str(Path(sys.prefix, "tests"))


def start(target: Callable[..., None], *args: Any, quiet: bool = False) -> ForkServerProcess:
    """Start a process whose imports are done already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training_processes"])
    process = context.Process(target=_run, args=(quiet, target, *args), daemon=True)
    path, before = list(sys.path), os.environ.get("PYTHONPATH")
    sys.path[:] = [folder for folder in path if folder != TORCHVISION]
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # the server does not take sys.path before Python 3.13
    try:
        process.start()
    finally:
        sys.path[:] = path
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before
    return process


def _run(quiet: bool, target: Callable[..., None], *args: Any) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if quiet:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    target(*args)


def run_together(count: int, target: Callable[..., None], *args: Any, timeout: float = 300) -> None:
    """Run a function in processes that accelerate takes for those of one run, and wait for them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [start(_in_group, rank, count, port, target, *args) for rank in range(count)]
    for process in processes:
        process.join(timeout)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [0] * count


def _in_group(rank: int, count: int, port: int, target: Callable[..., None], *args: Any) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip
    target(*args)


class ShardedAccelerator(Accelerator):
    """Shards models as accelerate does with FSDP2: its wrapping rules are the classes that a model must not split.
    accelerate itself refuses FSDP without an accelerator."""

    def prepare(self, model: Any, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
        for module in model.modules():
            if type(module).__name__ in model._no_split_modules:
                fully_shard(module)
        fully_shard(model)
        optimizer.param_groups[0]["params"] = [p for p in model.parameters() if p.requires_grad]
        return model, self.prepare_optimizer(optimizer)


def train_here(values: list[str], steps: int, data: Path, out: Path, model: Path | None, sharded: bool = False) -> None:
    """Train a tiny recipe."""
    recipe: Recipe = small_training.recipe(*values, steps=steps)
    accelerator = make_accelerator(recipe, out, cpu=True)
    if sharded:
        accelerator = ShardedAccelerator(mixed_precision="no", cpu=True)
    assert accelerator.distributed_type in (DistributedType.MULTI_CPU, DistributedType.NO)
    train(recipe, data, out, model=model, accelerator=accelerator)
