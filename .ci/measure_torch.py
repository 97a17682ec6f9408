# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Prints, as JSON, which backends this torch has and how long some operations take: ``python .ci/measure_torch.py``.

Milliseconds on a CPU with two threads, the fastest of several calls, for the fastest backend and the reference.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import torch

import mirage_kernels as mk

VIEWS, CHANNELS, SIZE, DEPTH_SIZE = 9, 48, (44, 80), (352, 640)


def fastest(call: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return round(1000 * min(times), 3)


def operations() -> dict[str, Callable[[], Any]]:
    """Nine frames of a video model: lifted, inserted into a new cache, and seen from nine cameras."""
    g = torch.Generator().manual_seed(0)
    intrinsics = torch.tensor([[480.0, 0, 320], [0, 480, 176], [0, 0, 1]]).repeat(VIEWS, 1, 1)
    poses = torch.eye(4).repeat(VIEWS, 1, 1)
    poses[:, 0, 3] = torch.linspace(0, 0.5, VIEWS)
    maps = mk.Cameras(intrinsics, poses, size=DEPTH_SIZE)
    cells = mk.Cameras(intrinsics / torch.tensor([[8.0], [8.0], [1.0]]), poses, size=SIZE)
    depth = 2 + torch.rand(VIEWS, *DEPTH_SIZE, generator=g)
    features = torch.randn(VIEWS, CHANNELS, *SIZE, generator=g)
    points = mk.unproject(depth, features, maps)
    return {
        "unproject": lambda: mk.unproject(depth, features, maps),
        "splat": lambda: mk.splat(points.xyz, points.features, cells, valid=points.valid),
        "insert": lambda: mk.VoxelCache(0.05, CHANNELS).insert(points.xyz, points.features),
    }


def main() -> None:
    torch.set_num_threads(2)
    calls = operations()
    measured = {name: {op: fastest(call, 15) for op, call in calls.items()} for name in [mk.current_backend()]}
    with mk.use_backend("reference"):
        measured["reference"] = {op: fastest(call, 3) for op, call in calls.items()}
    print(json.dumps({"torch": torch.__version__, "backends": mk.backends(), "milliseconds": measured}))


if __name__ == "__main__":
    main()
