# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import torch

from mirage_kernels import VoxelCache, testing

MIB = 1 << 20


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_budget_of_64_mib_holds_over_5000_chunks() -> None:
    """Every chunk has points in 400 new voxels. ``nbytes`` never exceeds the budget, evictions are counted, and the
    memory of the process stays constant once the budget has been reached.

    In a process of its own: what other tests have freed comes and goes as well.
    """
    result = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def insert_5000_chunks() -> None:
    budget = 64 * MIB
    cache = VoxelCache(0.01, 48, dtype=torch.bfloat16, max_bytes=budget)
    g = torch.Generator().manual_seed(0)
    features = torch.randn(400, 48, generator=g).bfloat16()
    cameras = testing.plain_cameras(1, (44, 80))
    added = evicted = largest = 0
    sizes = []
    for chunk in range(5000):
        xyz = torch.rand(400, 3, generator=g) + torch.tensor([0.0, 0.0, float(chunk)])
        counts = cache.insert(xyz, features, stamp=chunk)
        added, evicted = added + counts.added, evicted + counts.evicted
        largest = max(largest, cache.nbytes)
        if chunk % 50 == 0:
            cache.splat(cameras)
            sizes.append(resident() if evicted and Path("/proc/self/statm").exists() else 0)
    assert budget * 0.8 < largest <= budget
    assert added - evicted == len(cache)
    assert cache.memory_stats()["evicted"] == evicted > 3 * len(cache)
    assert int(cache.stamp.max()) == 4999
    full = [size for size in sizes if size][5:]
    if full:
        spread = (max(full) - min(full)) / MIB
        assert spread < 48, f"a copy of the cache may come and go, no more: {spread:.0f} MiB"


if __name__ == "__main__":
    insert_5000_chunks()
