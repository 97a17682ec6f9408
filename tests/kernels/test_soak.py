# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""One cache through thousands of steps: ``make soak``. MIRAGE_SOAK_STEPS sets another number."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import torch
from cache_steps import Oracle, Scenario, Step, run_steps

import mirage_kernels as mk

pytestmark = pytest.mark.soak
STEPS = int(os.environ.get("MIRAGE_SOAK_STEPS", 20_000))
KINDS = ["insert"] * 6 + ["read", "carve", "evict", "touch", "reload", "shrink", "clone"]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(("fusion", "storage"), [("best", None), ("latest", "int8")])
def test_a_long_life_equals_a_dict_and_memory_stays_flat(fusion: str, storage: str | None, tmp_path: Path) -> None:
    settings = {"voxel_size": 0.25, "channels": 16, "fusion": fusion, "storage": storage, "extent_scale": 0.6}
    source = random.Random(fusion)
    steps = [Step(source.choice(KINDS), source.randrange(2**32), source.randrange(80)) for _ in range(STEPS)]
    scenario = Scenario(settings | {"dtype": torch.float32}, steps)
    oracle, taken = Oracle(scenario), []
    with mk.use_backend("cpp"):
        for number, (step, cache, result) in enumerate(run_steps(scenario, tmp_path), 1):
            oracle.follow(scenario, step, result)
            oracle.compare(cache)
            if number % (STEPS // 10) == 0:
                taken.append(resident_bytes())
                print(f"step {number}: {len(cache)} rows, {taken[-1] / 2**20:.0f} MiB resident")
    assert len(taken) >= 10
    # The first tenth loads what is loaded once; the allocator's own fragments come and go.
    assert max(taken) <= taken[0] + (16 << 20)
