# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Tests that need a GPU: streams, graphs, waiting, sizes beyond 2^31. (The other tests check the results of a GPU, with
the fixture ``every_backend``.)

``test_gpu_stand_in.py`` runs this file without a GPU, on smaller sizes.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from gpu_backends import GPU, assert_same_caches, needs_gpu, on_cpu
from gpu_backends import gpu_backend as gpu_backend
from test_associate import associate_case
from torch import Tensor

from mirage_kernels import (
    Cameras,
    VoxelCache,
    blend_cells,
    cell_offsets,
    composite,
    frontmost,
    overlap,
    quantize,
    splat,
    splat_sum,
    testing,
    unproject,
    visible,
)
from mirage_kernels._modes import POOLINGS
from mirage_kernels.backend import operation
from mirage_kernels.testing import (
    same_bits,
    same_sums,
    splat_case,
    to_device,
    unproject_case,
    visible_case,
)

POINTS, VIEWS, GRID = 20_000, 9, (44, 80)
BUSY = 4096  # side of the matrices whose product keeps a GPU busy
PAST_2_TO_31 = 45_000_000  # rows of 48 channels
pytestmark = needs_gpu


@contextlib.contextmanager
def sync_debug_mode(mode: str) -> Iterator[None]:
    """Set what torch does when the host waits for the device: "error" or "warn"."""
    with warnings.catch_warnings():
        # torch warns about this mode once, and warnings are errors in tests
        warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype feature")
        torch.cuda.set_sync_debug_mode(mode)
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")


def host_reads(function: Callable[[], Any]) -> list[str]:
    """Return the warnings of torch about waiting for the device."""
    with warnings.catch_warnings(record=True) as caught, sync_debug_mode("warn"):
        warnings.filterwarnings("always", message="called a synchronizing CUDA operation")
        function()
    return [str(w.message) for w in caught if "called a synchronizing CUDA operation" in str(w.message)]


def filled(device: str = GPU, **options: Any) -> VoxelCache:
    cache = VoxelCache(0.05, 48, **{"dtype": torch.bfloat16, "device": device} | options)
    g = torch.Generator().manual_seed(0)
    for stamp in range(3):
        xyz, features = testing.random_points(g, "room", POINTS), torch.randn(POINTS, 48, generator=g).bfloat16()
        cache.insert(xyz.to(device), features.to(device), torch.rand(POINTS, generator=g).to(device), stamp=stamp)
    return cache


def splat_call(**options: Any) -> Callable[[], Any]:
    mode = {name: options.pop(name) for name in ("mode", "k") if name in options}
    case = splat_case(0, n=POINTS // 4, channels=48, size=GRID, views=VIEWS, valid=True, **options)
    moved = to_device(case, GPU)
    return lambda: moved.run(splat, **mode)


def unproject_call(**options: Any) -> Callable[[], Any]:
    case = to_device(unproject_case(0, batch=2, size=(64, 96), grid=(4, 6), mask=True, **options), GPU)
    return lambda: case.run(unproject)


def visible_call(num_groups: int | None) -> Callable[[], Tensor]:
    case = to_device(visible_case(0, n=POINTS // 4, views=3, num_groups=num_groups), GPU)
    return lambda: case.run(visible)


def associate_call() -> Callable[[], Tensor]:
    return associate_case(0).to("cuda").run


def quantize_call() -> Callable[[], Any]:
    values = torch.randn(48, 1560, device="cuda").bfloat16()
    return lambda: quantize(values)


def blend_call() -> Callable[[], Any]:
    case = testing.to_device(testing.splat_case(0, views=3), "cuda")
    view = splat(case.xyz, case.features, case.cameras)
    return lambda: blend_cells(view.features, cell_offsets(case.xyz, view.index, case.cameras), view.depth)


def frontmost_call() -> Callable[[], Tensor]:
    case = testing.to_device(testing.splat_case(0), "cuda")
    return lambda: frontmost(case.xyz, case.cameras)


def sum_call() -> Callable[[], Any]:
    uv, features = 9 * torch.rand(500, 2, device="cuda"), torch.randn(500, 3, device="cuda")
    return lambda: splat_sum(uv, features, (6, 9))


def composite_call() -> Callable[[], Tensor]:
    case = to_device(splat_case(0, n=POINTS // 4, channels=48, size=GRID, views=VIEWS), GPU)
    layers = case.run(splat, k=4)
    weights = torch.rand(layers.depth.shape, device=GPU)
    return lambda: composite(case.features, layers, weights)


def overlap_call() -> Callable[[], Tensor]:
    bits = visible_call(300)()
    return lambda: overlap(bits, bits)


def cache_call(name: str, **options: Any) -> Callable[[], Any]:
    cache = filled(**options)
    cameras = testing.random_cameras(torch.Generator().manual_seed(1), VIEWS, GRID).to(GPU)
    index = cache.splat(cameras).index
    return {
        "culled read": lambda: cache.splat(cameras),
        "surface": lambda: cache.splat_surface(cameras),
        "feature maps": lambda: cache.feature_maps(index),
        "features": lambda: cache.features(),
    }[name]


CACHE_READS = ("culled read", "surface", "feature maps", "features")
# Reads by name: each makes its operands and returns a call that never waits for the device.
READS: dict[str, Callable[[], Callable[[], Any]]] = {
    **{f"unproject, {pooling}": partial(unproject_call, pooling=pooling) for pooling in POOLINGS},
    "splat": splat_call,
    "splat, discs": partial(splat_call, radius=1.5),
    "splat, discs of their own": partial(splat_call, extent="discs", radius=1.5),
    "splat, squares": partial(splat_call, extent="one"),
    "splat, squares of their own": partial(splat_call, extent="each"),
    "splat, layers": partial(splat_call, k=4),
    "composite": composite_call,
    "splat_sum": sum_call,
    "frontmost": frontmost_call,
    "associate": associate_call,
    "quantize": quantize_call,
    "blend": blend_call,
    "splat, bilinear": partial(splat_call, mode="bilinear"),
    "visible": partial(visible_call, None),
    "visible, groups": partial(visible_call, 300),
    "overlap": overlap_call,
    **{name: partial(cache_call, name) for name in CACHE_READS},
    **{f"{name}, int8": partial(cache_call, name, storage="int8") for name in CACHE_READS},
    **{f"{name}, mean": partial(cache_call, name, fusion="mean") for name in CACHE_READS},
}
SUMS = ("bilinear", "mean")  # reads whose features are sums


def parts(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, tuple) else [result]


def assert_read(name: str, result: list[Tensor], expected: list[Tensor]) -> None:
    """Assert that the parts of a result, on the CPU, are equal; in sums any NaN equals any other."""
    same = same_sums if name.endswith(SUMS) else same_bits
    assert all(map(same, result, expected))


@pytest.mark.parametrize("name", READS)
class TestReads:
    def test_does_not_wait_for_the_device(self, name: str) -> None:
        call = READS[name]()
        call()
        with sync_debug_mode("error"):
            call()

    def test_graph_capture(self, name: str) -> None:
        call = READS[name]()
        expected = [part.cpu() for part in parts(call())]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = parts(call())
        for _ in range(3):
            for part in result:
                part.fill_(7)
            graph.replay()
            assert_read(name, [part.cpu() for part in result], expected)

    def test_runs_on_the_current_stream(self, name: str) -> None:
        call = READS[name]()
        expected = [part.cpu() for part in parts(call())]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        busy = torch.randn(BUSY, BUSY, device=GPU)
        for _ in range(20):  # the default stream is late
            busy = busy @ busy
        with torch.cuda.stream(side):
            result = parts(call())
        side.synchronize()
        with torch.cuda.stream(side):
            assert_read(name, [part.cpu() for part in result], expected)

    def test_twenty_runs_give_the_same_bits(self, name: str) -> None:
        call = READS[name]()
        first = [part.cpu() for part in parts(call())]
        for _ in range(20):
            assert all(map(same_bits, (part.cpu() for part in parts(call())), first))


def camera_calls() -> dict[str, Callable[[], Any]]:
    cameras = testing.random_cameras(torch.Generator().manual_seed(0), 4, (44, 80)).to(GPU)
    xyz, order = torch.randn(50, 3, device=GPU), torch.tensor([2, 0]).to(GPU)
    return {
        "rescale": lambda: cameras.rescale((11, 13)),
        "crop": lambda: cameras.crop(2, 3, (20, 30)),
        "one": lambda: cameras[-1],
        "slice": lambda: cameras[1:3],
        "order": lambda: cameras[order],
        "to": lambda: cameras.to(GPU),
        "cat": lambda: Cameras.cat([cameras, cameras]),
        "project": lambda: cameras.project(xyz),
        "centers": lambda: cameras.centers,
    }


CAMERA_CALLS = ["rescale", "crop", "one", "slice", "order", "to", "cat", "project", "centers"]


@pytest.mark.parametrize("name", CAMERA_CALLS)
def test_cameras_never_wait_for_the_device(name: str) -> None:
    call = camera_calls()[name]
    with sync_debug_mode("error"):
        call()


def gradient_call(name: str) -> Callable[[], Tensor]:
    """Return a call of the operation that computes a gradient."""
    case = to_device(splat_case(0, n=POINTS // 4, channels=48, valid=True), GPU)
    xyz, features, k, m, h, w, valid, *_ = case.arguments()
    out, depth, index, weight = operation("splat_bilinear", xyz)(xyz, features, k, m, h, w, valid, 0.05)
    blend = (k, m, valid, depth, weight, 0.05)
    arguments = {
        "splat_backward_features": (out, index, len(xyz)),
        "splat_backward_xyz": (depth, index, m, len(xyz)),
        "splat_bilinear_backward_features": (out, xyz, *blend),
        "splat_bilinear_backward_xyz": (out, out, xyz, features, *blend),
    }[name]
    return lambda: operation(name, xyz)(*arguments)


def unproject_gradient_call(pooling: int | None) -> Callable[[], Tensor]:
    """Return the gradient of the features if ``pooling`` is None, else of the depth."""
    case = to_device(unproject_case(0, pooling=POOLINGS[pooling or 0]), GPU)
    (b, _, h, w), points = case.features.shape, case.run(unproject)
    if pooling is None:
        return lambda: operation("unproject_backward_features", points.valid)(points.features, points.valid, b, h, w)
    view = (case.cameras.rescale((h, w)).intrinsics, case.cameras.cam2world)
    arguments = (points.xyz, points.footprint, points.valid, case.depth, *view, case.mask, h, w, pooling, 1, 0.0)
    return lambda: operation("unproject_backward_depth", points.valid)(*arguments)


GRADIENTS: dict[str, Callable[[], Callable[[], Tensor]]] = {
    **{
        name: partial(gradient_call, name)
        for name in (f"splat{mode}_backward_{of}" for mode in ("", "_bilinear") for of in ("features", "xyz"))
    },
    "unproject_backward_features": partial(unproject_gradient_call, None),
    **{f"unproject_backward_depth, {name}": partial(unproject_gradient_call, i) for i, name in enumerate(POOLINGS)},
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_never_wait_for_the_device(name: str) -> None:
    call = GRADIENTS[name]()
    call()
    with sync_debug_mode("error"):
        call()


def change_calls(**options: Any) -> dict[str, Callable[[], Any]]:
    """Return calls that modify a cache, each of which is to be called once."""
    cache, g = filled(**options), torch.Generator().manual_seed(5)
    points = (testing.random_points(g, "room", 50), torch.randn(50, 48, generator=g).bfloat16(), torch.rand(50))
    moved, stamp = [part.to(GPU) for part in points], 7
    cameras = testing.random_cameras(g, 2, (6, 9)).to(GPU)
    depth, position = torch.full((2, 6, 9), 1.5, device=GPU), torch.zeros(3, device=GPU)
    rows = len(cache)
    return {
        "insert": lambda: cache.insert(*moved, stamp=stamp),
        "carve": lambda: cache.carve(depth, cameras),
        "evict oldest": lambda: cache.evict(max_rows=rows // 2),
        "evict farthest": lambda: cache.evict(max_rows=rows // 4, eviction="farthest", position=position),
    }


@pytest.mark.parametrize("name", ["insert", "carve", "evict oldest", "evict farthest"])
@pytest.mark.parametrize("options", [{}, {"storage": "int8"}, {"fusion": "mean"}], ids=str)
def test_mutations_of_a_cache_wait_once(name: str, options: dict[str, Any]) -> None:
    """torch counts the waits; the cuda backend's insert waits in its own code, which torch does not count."""
    call = change_calls(**options)[name]
    assert len(host_reads(call)) <= 1


def test_a_device_without_an_index_is_the_current_one() -> None:
    cache = VoxelCache(0.1, 3, device="cuda")
    assert cache.device == cache.xyz.device == torch.device("cuda", torch.cuda.current_device())
    assert cache.to("cuda") is cache
    assert cache.clone().device == VoxelCache.from_state_dict(cache.settings, cache.state_dict(), "cuda").device


def test_shuffled_points_give_the_same_depth() -> None:
    case = splat_case(3, n=20_000, channels=48, size=GRID, views=VIEWS)
    first = to_device(case, GPU).run(splat)
    for seed in range(20):
        order = torch.randperm(len(case.xyz), generator=torch.Generator().manual_seed(seed))
        shuffled = case._replace(xyz=case.xyz[order], features=case.features[order])
        result = to_device(shuffled, GPU).run(splat)
        assert same_bits(result.depth.cpu(), first.depth.cpu())
        assert same_bits(result.features.cpu(), first.features.cpu())


def test_offsets_beyond_2_31() -> None:
    n, channels = PAST_2_TO_31, 48
    if torch.cuda.mem_get_info()[0] < 12 << 30:
        pytest.skip("12 GiB of memory are wanted")
    xyz = torch.full((n, 3), -1.0, device=GPU)  # behind the cameras
    features = torch.zeros(n, channels, dtype=torch.bfloat16, device=GPU)
    case = splat_case(1, n=1000, channels=channels, dtype=torch.bfloat16)
    xyz[-1000:], features[-1000:] = case.xyz.to(GPU), case.features.to(GPU)
    result, alone = splat(xyz, features, case.cameras.to(GPU)), on_cpu(lambda: case.run(splat))
    assert same_bits(result.features.cpu(), alone.features)
    assert same_bits(result.index.cpu(), torch.where(alone.index >= 0, alone.index + n - 1000, -1))


def test_cache_has_the_same_bits_on_every_device(tmp_path: Path) -> None:
    on_gpu, on_host = filled(), on_cpu(lambda: filled("cpu"))
    assert_same_caches(on_gpu, on_host)
    on_gpu.save(tmp_path / "cache.safetensors")
    back = on_cpu(lambda: VoxelCache.load(tmp_path / "cache.safetensors"))
    assert same_bits(on_cpu(back.features), on_cpu(on_host.features))
