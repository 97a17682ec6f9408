# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A recording remembered on a GPU and on the CPU: the caches and their views have the same bits.

``test_gpu_stand_in.py`` runs this file without a GPU.
"""

from __future__ import annotations

import os

import pytest
import torch
from gpu_backends import GPU, assert_same_caches, needs_gpu, on_cpu
from gpu_backends import gpu_backend as gpu_backend
from torch import Tensor

from mirage_kernels import Cameras, VoxelCache, testing, unproject
from mirage_kernels.testing import assert_same, to_device

pytestmark = needs_gpu


def cache_of(depth: Tensor, cameras: Cameras, device: str) -> VoxelCache:
    """Return the cache of a recording on a device: depth maps (T, H, W) and their cameras."""
    cache = VoxelCache("auto", 48, dtype=torch.bfloat16, device=device)
    for t in range(len(depth)):
        latent = torch.randn(1, 48, 44, 80, generator=torch.Generator().manual_seed(t)).bfloat16().to(device)
        p = unproject(depth[t : t + 1].to(device), latent, cameras[t].to(device))
        cache.insert(p.xyz, p.features, p.footprint, valid=p.valid, stamp=t)
    return cache


def assert_recording_is_the_same(depth: Tensor, cameras: Cameras) -> None:
    on_gpu, on_host = cache_of(depth, cameras, GPU), on_cpu(lambda: cache_of(depth, cameras, "cpu"))
    assert_same_caches(on_gpu, on_host)
    views = cameras.rescale((44, 80))
    assert_same(to_device(on_gpu.splat(views.to(GPU)), "cpu"), on_cpu(lambda: on_host.splat(views)))


def test_recording_has_the_same_bits_on_every_device() -> None:
    g = torch.Generator().manual_seed(2)
    assert_recording_is_the_same(1 + torch.rand(2, 60, 90, generator=g), testing.random_cameras(g, 2, (60, 90)))


@pytest.mark.skipif("MIRAGE_DATA" not in os.environ, reason="MIRAGE_DATA is not set: it names the recordings")
def test_real_recording_has_the_same_bits_on_every_device() -> None:
    read_rgbd = pytest.importorskip("mirage.recordings.hololens").read_rgbd
    recording = read_rgbd(os.path.join(os.environ["MIRAGE_DATA"], "hololens_dev"))
    frames = list(range(0, len(recording.depth), 12))
    assert_recording_is_the_same(recording.depth[frames], recording.cameras[frames])
