# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Exhausted memory is ``torch.OutOfMemoryError`` with the shapes of the call, on every backend."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

import mirage_kernels as mk
from mirage_kernels import VoxelCache, overlap, splat, testing, unproject, visible

CAMERAS = testing.plain_cameras(1, (6, 9))
HUGE = 1 << 42  # channels: more bytes than a process has addresses
MANY = torch.zeros(1 << 18, dtype=torch.int64)  # cameras
XYZ = torch.ones(2, 3)


def expanded(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.zeros(1, dtype=dtype).expand(shape)


def grow() -> None:
    cache = VoxelCache(0.1, 1 << 24)
    cache._store.reserve(1 << 24)


CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "splat": (lambda: splat(XYZ, expanded(2, HUGE), CAMERAS), f"features (2, {HUGE})"),
    "splat extent": (lambda: splat(XYZ, expanded(2, HUGE), CAMERAS, extent=0.1), f"features (2, {HUGE})"),
    "splat bilinear": (lambda: splat(XYZ, expanded(2, HUGE), CAMERAS, mode="bilinear"), f"features (2, {HUGE})"),
    "unproject": (
        lambda: unproject(torch.ones(1, 6, 9), expanded(1, HUGE, 6, 9), CAMERAS),
        f"features (1, {HUGE}, 6, 9)",
    ),
    "visible": (
        lambda: visible(XYZ, CAMERAS[MANY], groups=torch.zeros(2, dtype=torch.int64), num_groups=1 << 32),
        f"num_groups {1 << 32}",
    ),
    "overlap": (
        lambda: overlap(expanded(1 << 24, 1, dtype=torch.int64), expanded(1 << 24, 1, dtype=torch.int64)),
        "a (16777216, 1), b (16777216, 1)",
    ),
    "cache": (grow, "rows 0, capacity 16777216"),
}


@pytest.mark.parametrize("name", CALLS)
def test_exhausted_memory(backend: str, name: str) -> None:
    call, shapes = CALLS[name]
    with mk.use_backend(backend), pytest.raises(torch.OutOfMemoryError) as error:  # type: ignore[arg-type]
        call()
    (text,) = error.value.args
    assert text.startswith(f"{name.split()[0]}: out of memory. ")
    assert shapes in text


def test_accelerate_finds_a_batch_size(backend: str) -> None:
    utils = pytest.importorskip("accelerate.utils")
    tried = []

    def shape_of(batch_size: int) -> torch.Size:
        tried.append(batch_size)
        return splat(XYZ, expanded(2, batch_size), CAMERAS).features.shape

    run = utils.find_executable_batch_size(
        shape_of, starting_batch_size=HUGE, reduce_batch_size_fn=lambda: 3 if tried else HUGE
    )
    with mk.use_backend(backend):  # type: ignore[arg-type]
        assert run() == (1, 3, 6, 9)
    assert tried == [HUGE, 3]


def test_other_errors_are_not_changed() -> None:
    error = RuntimeError("splat: radius must be 0 to 2^24")
    assert mk._memory.explained(error, "splat", xyz=XYZ) is error

    class OwnError(RuntimeError):
        """Says what it is, and may speak of memory."""

    own = OwnError("the memory server ran out of memory")
    assert mk._memory.explained(own, "splat", xyz=XYZ) is own


def test_the_cause_is_kept() -> None:
    cause = RuntimeError("CUDA error: out of memory")
    with pytest.raises(torch.OutOfMemoryError) as raised:
        mk._memory.raise_explained(cause, "splat", xyz=XYZ)
    assert raised.value.__cause__ is cause
    assert mk._memory.explained(raised.value, "insert") is raised.value


LIMITED = """
import resource, sys, torch
from mirage_kernels import splat, testing
cameras = testing.plain_cameras(1, (1024, 1024))
xyz, features = torch.ones(2, 3), torch.zeros(2, 64, dtype=torch.bfloat16)
torch.set_num_threads(int(sys.argv[1]))
splat(xyz, features[:, :1].contiguous(), cameras, mode="bilinear")  # starts threads
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (230 << 20),) * 2)  # the outputs take 144 MiB, the workspace 256
try:
    splat(xyz, features, cameras, mode="bilinear")
except torch.OutOfMemoryError as error:
    print(error)
"""


@pytest.mark.long
@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_workspace_that_does_not_fit(threads: int) -> None:
    """std::bad_alloc of the C++ kernels, also in a thread."""
    run = subprocess.run([sys.executable, "-c", LIMITED, str(threads)], capture_output=True, text=True, check=True)
    assert "splat: out of memory. xyz (2, 3), features (2, 64)" in run.stdout, run.stdout + run.stderr
    assert "workspace" in run.stdout
