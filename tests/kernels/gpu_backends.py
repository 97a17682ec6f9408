# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The backends of a GPU, as the parameters of a fixture, for the tests that need one.

Imported when tests are collected and not by ``conftest.py``: the stand-in for a GPU begins in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from cache_steps import snapshot

import mirage_kernels as mk
from mirage_kernels import VoxelCache
from mirage_kernels.backend import devices
from mirage_kernels.testing import same_bits

GPU = "cuda"
READY = [name for name, why in mk.backends().items() if why is None and GPU in devices(name) and name != "reference"]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.fixture(params=READY, autouse=True)
def gpu_backend(request: pytest.FixtureRequest) -> Iterator[str]:
    with mk.use_backend(request.param):
        yield request.param


def on_cpu(function: Callable[[], Any]) -> Any:
    """Return the result on the default backend of the CPU, because the selected backend takes no CPU tensors."""
    with mk.use_backend(None):
        return function()


def assert_same_caches(on_gpu: VoxelCache, on_host: VoxelCache) -> None:
    for name, tensor in snapshot(on_host).items():
        assert same_bits(snapshot(on_gpu)[name].cpu(), tensor), name
