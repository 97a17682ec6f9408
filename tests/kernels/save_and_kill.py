# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Kills a process that saves two caches alternately, at random moments, until enough kills happened during a save, and
checks the file after each kill.

It is a separate program with one thread, so that it can fork. It fails if the file is not one of the two, or if too few
kills happened during a save, which depends on the load of the machine.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from mirage_kernels import VoxelCache
from mirage_kernels.testing import random_points, same_bits

KILLS = 25  # that met a save
ROUNDS = 1000  # at most


def some_cache(seed: int) -> VoxelCache:
    g = torch.Generator().manual_seed(seed)
    cache = VoxelCache(0.05, 48)
    cache.insert(random_points(g, "room", 5000), torch.randn(5000, 48, generator=g), stamp=seed)
    return cache


def main(path: Path) -> None:
    torch.set_num_threads(1)
    caches = [some_cache(seed) for seed in (0, 1)]
    caches[0].save(path)
    moment, met = random.Random(0), 0
    for _ in range(ROUNDS):
        if met >= KILLS:
            return
        child = os.fork()
        if child == 0:
            while True:
                for cache in caches:
                    cache.save(path)
        time.sleep(0.002 + moment.random() * 0.03)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for left in path.parent.glob(".*.partial"):
            met += 1
            left.unlink()
        rows = VoxelCache.load(path).state_dict()
        assert any(all(same_bits(rows[name], t) for name, t in cache.state_dict().items()) for cache in caches)
    raise SystemExit(f"{met} of {ROUNDS} kills met a save, expected {KILLS}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
