# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What only a GPU shows: streams, graphs, waiting, sizes past 2^31. (That its results are right, every other test
says: ``every_way`` holds.)"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from cache_steps import snapshot
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import VoxelCache, overlap, splat, testing, unproject, visible
from mirage_kernels.backend import devices
from mirage_kernels.testing import assert_same, same_bits, splat_case, to_device, unproject_case, visible_case

READY = [name for name, why in mk.backends().items() if why is None and "cuda" in devices(name) and name != "reference"]
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@pytest.fixture(params=READY, autouse=True)
def gpu_backend(request: pytest.FixtureRequest) -> Iterator[str]:
    with mk.use_backend(request.param):
        yield request.param


def filled(device: str = "cuda") -> VoxelCache:
    cache, g = VoxelCache(0.05, 48, dtype=torch.bfloat16, device=device), torch.Generator().manual_seed(0)
    for stamp in range(3):
        xyz, features = testing.random_points(g, "room", 20_000), torch.randn(20_000, 48, generator=g).bfloat16()
        cache.insert(xyz.to(device), features.to(device), torch.rand(20_000, generator=g).to(device), stamp=stamp)
    return cache


def reads() -> dict[str, Callable[[], Any]]:
    """Calls that never wait for the device."""
    case = to_device(splat_case(0, n=5000, channels=48, size=(44, 80), views=9, valid=True), "cuda")
    discs, squares = case._replace(radius=1.5), case._replace(extent=0.05)
    lifted = to_device(unproject_case(0, batch=2, size=(64, 96), grid=(4, 6)), "cuda")
    seen = to_device(visible_case(0, n=5000, views=3, num_groups=300), "cuda")
    bits = seen.run(visible)
    cache, cameras = filled(), case.cameras
    return {
        "unproject": lambda: lifted.run(unproject),
        "splat": lambda: case.run(splat),
        "splat, discs": lambda: discs.run(splat),
        "splat, squares": lambda: squares.run(splat),
        "splat, bilinear": lambda: case.run(splat, mode="bilinear"),
        "visible": lambda: seen.run(visible),
        "overlap": lambda: overlap(bits, bits),
        "culled read": lambda: cache.splat(cameras),
    }


NAMES = ["unproject", "splat", "splat, discs", "splat, squares", "splat, bilinear", "visible", "overlap", "culled read"]


def parts(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, tuple) else [result]


@pytest.mark.parametrize("name", NAMES)
class TestReads:
    def test_nothing_waits_for_the_device(self, name: str) -> None:
        call = reads()[name]
        call()
        torch.cuda.set_sync_debug_mode("error")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode("default")

    def test_a_graph_holds_it(self, name: str) -> None:
        call = reads()[name]
        expected = [part.clone() for part in parts(call())]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = call()
        for _ in range(3):
            for part in parts(result):
                part.fill_(7)
            graph.replay()
            assert all(map(same_bits, (p.cpu() for p in parts(result)), (p.cpu() for p in expected)))

    def test_it_runs_on_the_stream_it_is_called_on(self, name: str) -> None:
        call = reads()[name]
        expected = [part.cpu() for part in parts(call())]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        busy = torch.randn(4096, 4096, device="cuda")
        for _ in range(20):  # the default stream is late
            busy = busy @ busy
        with torch.cuda.stream(side):
            result = parts(call())
        side.synchronize()
        with torch.cuda.stream(side):
            assert all(map(same_bits, (p.cpu() for p in result), expected))

    def test_twenty_runs_give_the_same_bits(self, name: str) -> None:
        call = reads()[name]
        first = [part.cpu() for part in parts(call())]
        for _ in range(20):
            assert all(map(same_bits, (p.cpu() for p in parts(call())), first))


def test_shuffled_points_show_the_same_surface() -> None:
    case = splat_case(3, n=20_000, channels=48, size=(44, 80), views=9)
    first = to_device(case, "cuda").run(splat)
    for seed in range(20):
        order = torch.randperm(len(case.xyz), generator=torch.Generator().manual_seed(seed))
        shuffled = case._replace(xyz=case.xyz[order], features=case.features[order])
        result = to_device(shuffled, "cuda").run(splat)
        assert same_bits(result.depth.cpu(), first.depth.cpu())
        assert same_bits(result.features.cpu(), first.features.cpu())


def test_offsets_pass_two_to_the_31() -> None:
    n, channels = 45_000_000, 48
    if torch.cuda.mem_get_info()[0] < 12 << 30:
        pytest.skip("12 GiB of memory are wanted")
    xyz = torch.full((n, 3), -1.0, device="cuda")  # behind the cameras
    features = torch.zeros(n, channels, dtype=torch.bfloat16, device="cuda")
    case = splat_case(1, n=1000, channels=channels, dtype=torch.bfloat16)
    xyz[-1000:], features[-1000:] = case.xyz.cuda(), case.features.cuda()
    result, alone = splat(xyz, features, case.cameras.to("cuda")), case.run(splat)
    assert same_bits(result.features.cpu(), alone.features)
    assert same_bits(result.index.cpu(), torch.where(alone.index >= 0, alone.index + n - 1000, -1))


def test_a_cache_is_the_same_on_every_device(tmp_path: Any) -> None:
    there = filled()
    with mk.use_backend(None):
        here = filled("cpu")
    for name, tensor in snapshot(here).items():
        assert same_bits(snapshot(there)[name].cpu(), tensor), name
    there.save(tmp_path / "cache.safetensors")
    back = VoxelCache.load(tmp_path / "cache.safetensors")
    assert same_bits(back.features(), here.features())


@pytest.mark.skipif("MIRAGE_DATA" not in os.environ, reason="MIRAGE_DATA is not set: it names the recordings")
def test_a_real_recording_is_the_same_on_every_device() -> None:
    read_rgbd = pytest.importorskip("mirage.data.rgbd").read_rgbd
    recording = read_rgbd(os.path.join(os.environ["MIRAGE_DATA"], "hololens_dev"))
    frames = list(range(0, len(recording.depth), 12))
    caches = {}
    for device in ("cpu", "cuda"):
        cache = VoxelCache("auto", 48, dtype=torch.bfloat16, device=device)
        for t in frames:
            g = torch.Generator().manual_seed(t)
            latent = torch.randn(1, 48, 44, 80, generator=g).bfloat16().to(device)
            p = unproject(recording.depth[t : t + 1].to(device), latent, recording.cameras[[t]].to(device))
            cache.insert(p.xyz, p.features, p.footprint, valid=p.valid, stamp=t)
        caches[device] = cache
    for name, tensor in snapshot(caches["cpu"]).items():
        assert same_bits(snapshot(caches["cuda"])[name].cpu(), tensor), name
    cameras = recording.cameras[frames].rescale((44, 80))
    assert_same(to_device(caches["cuda"].splat(cameras.to("cuda")), "cpu"), caches["cpu"].splat(cameras))
