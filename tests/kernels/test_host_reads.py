# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading operations copy nothing from the device to the host or from the host to the device.

The tests record torch's calls on a CPU, where a kernel is one call; ``test_gpu_stand_in.py`` covers Triton's launches.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from every_backend import needs_grad, random_gradients
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mirage_kernels import (
    Cameras,
    Pooling,
    VoxelCache,
    blend_cells,
    cell_offsets,
    composite,
    overlap,
    pool_depth,
    quantize,
    splat,
    testing,
    unproject,
    visible,
)
from mirage_kernels._modes import POOLINGS
from mirage_kernels.testing import splat_case, unproject_case, visible_case

aten = torch.ops.aten
# On a GPU each of these waits: a tensor made of Python numbers, a number out of a tensor, a size that depends on
# values.
WAITING = (aten.lift_fresh, aten._local_scalar_dense, aten.equal, aten.nonzero, aten.masked_select, aten._unique2)
pytestmark = pytest.mark.usefixtures("native")


class WaitRecorder(TorchDispatchMode):
    """Records the calls that wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        indices = args[1] if func.overloadpacket in (aten.index, aten.index_put, aten.index_put_) else ()
        masks = any(index is not None and index.dtype == torch.bool for index in indices)
        if func.overloadpacket in WAITING or masks:
            self.waits.append(str(func))
        return func(*args, **(kwargs or {}))


def waits(function: Callable[[], Any]) -> list[str]:
    with WaitRecorder() as spy:
        function()
    return spy.waits


def reads(function: Callable[[], Any]) -> list[str]:
    """Return the waits, except assignments of Python numbers to elements of a tensor, which a GPU fills itself."""
    return [name for name in waits(function) if name != "aten.lift_fresh.default"]


def cameras() -> Cameras:
    return testing.random_cameras(torch.Generator().manual_seed(0), 4, (6, 9))


def filled(**options: Any) -> VoxelCache:
    cache, g = VoxelCache(0.2, 5, **options), torch.Generator().manual_seed(0)
    cache.insert(testing.random_points(g, "room", 500), torch.randn(500, 5, generator=g), torch.rand(500, generator=g))
    return cache


def splat_with_gradients(mode: str = "nearest", **options: Any) -> Callable[[], Any]:
    case = splat_case(0, **options)
    case = case._replace(xyz=needs_grad(case.xyz), features=needs_grad(case.features))

    def run() -> list[Tensor]:
        result = case.run(splat, mode=mode)
        return random_gradients([result.features, result.depth], [case.xyz, case.features], 0)

    return run


def composite_with_gradients() -> list[Tensor]:
    case = splat_case(0, radius=1.5)
    case = case._replace(xyz=needs_grad(case.xyz), features=needs_grad(case.features))
    layers = case.run(splat, k=3)
    out = composite(case.features, layers, 1 - layers.distance2)
    return random_gradients([out, layers.depth], [case.xyz, case.features], 0)


def unproject_with_gradients(pooling: str) -> Callable[[], Any]:
    case = unproject_case(0, mask=True, pooling=pooling)
    case = case._replace(depth=needs_grad(case.depth), features=needs_grad(case.features))

    def run() -> list[Tensor]:
        points = case.run(unproject)
        return random_gradients([points.xyz, points.features, points.footprint], [case.depth, case.features], 0)

    return run


def pool(pooling: Pooling) -> Callable[[], Any]:
    case = unproject_case(0, mask=True)
    return lambda: pool_depth(case.depth, (3, 5), mask=case.mask, pooling=pooling)


def cache_read(name: str, **options: Any) -> Callable[[], Any]:
    cache, views = filled(**options), cameras()
    index = cache.splat(views).index
    return {
        "splat": lambda: cache.splat(views),
        "splat all": lambda: cache.splat(views, cull=False, features=False),
        "surface": lambda: cache.splat_surface(views),
        "features": lambda: cache.features(),
        "some features": lambda: cache.features(index.flatten()),
        "feature_maps": lambda: cache.feature_maps(index),
    }[name]


def of_cameras(run: Callable[[Cameras], Any]) -> Callable[[], Any]:
    views = cameras()
    return lambda: run(views)


def of_sets(groups: int | None) -> Callable[[], Any]:
    case = visible_case(0, num_groups=groups, valid=True)
    bits = case.run(visible)
    return lambda: (case.run(visible), overlap(bits, bits))


def blended_view() -> Any:
    case = splat_case(0)
    view = splat(case.xyz, case.features, case.cameras)
    return blend_cells(view.features, cell_offsets(case.xyz, view.index, case.cameras), view.depth)


KINDS: dict[str, dict[str, Any]] = {"plain": {}, "int8": {"storage": "int8"}, "mean": {"fusion": "mean"}}
SHAPES: dict[str, dict[str, Any]] = {
    "points": {},
    "squares": {"extent": "each"},
    "discs": {"radius": 1.5},
    "discs of their own": {"extent": "discs", "radius": 1.5},
}
READS: dict[str, Callable[[], Callable[[], Any]]] = {
    **{f"unproject {pooling}": partial(unproject_with_gradients, pooling) for pooling in POOLINGS},
    **{f"splat {name}": partial(splat_with_gradients, valid=True, **shape) for name, shape in SHAPES.items()},
    "splat one extent": partial(splat_with_gradients, extent="one"),
    "splat bilinear": partial(splat_with_gradients, mode="bilinear"),
    "splat layers and composite": lambda: composite_with_gradients,
    **{f"pool_depth {pooling}": partial(pool, pooling) for pooling in POOLINGS},
    "quantize": lambda: lambda: quantize(torch.ones(3, 4)),
    "offsets and blend": lambda: blended_view,
    "visible and overlap": partial(of_sets, None),
    "visible groups": partial(of_sets, 70),
    **{
        f"cache {name}, {kind}": partial(cache_read, name, **options)
        for name in ("splat", "splat all", "surface", "features", "some features", "feature_maps")
        for kind, options in KINDS.items()
    },
    "cameras rescale": partial(of_cameras, lambda c: c.rescale((4, 7))),
    "cameras crop": partial(of_cameras, lambda c: c.crop(1, 2, (3, 4))),
    "cameras one": partial(of_cameras, lambda c: c[-1]),
    "cameras slice": partial(of_cameras, lambda c: c[1:3]),
    "cameras to": partial(of_cameras, lambda c: c.to("cpu")),
    "cameras cat": partial(of_cameras, lambda c: Cameras.cat([c, c])),
    "cameras centers": partial(of_cameras, lambda c: c.centers),
    "cameras project": partial(of_cameras, lambda c: c.project(c.centers)),
    "cameras flow": partial(of_cameras, lambda c: c.flow(torch.ones(len(c), *c.size), c[0])),
}


@pytest.mark.parametrize("name", READS)
def test_reads_never_wait(name: str) -> None:
    call = READS[name]()
    assert waits(call) == []


def test_recorder_detects_waiting() -> None:
    x = torch.ones(3)
    for call in (lambda: torch.tensor(1.0), x.sum().item, lambda: x[x > 0], lambda: x.nonzero()):
        assert len(waits(call)) == 1


@pytest.mark.parametrize("name", KINDS)
def test_mutations_of_a_cache_read_once(name: str) -> None:
    """An insert reads only the counts of its plan, which the kernel returns on the CPU; carving and evicting read which
    rows are kept."""
    cache, g = filled(**KINDS[name]), torch.Generator().manual_seed(1)
    xyz, features, footprint = testing.random_points(g, "room", 900), torch.randn(900, 5), torch.rand(900)
    views, depth, position = cameras(), torch.full((4, 6, 9), 1.2), torch.zeros(3)
    assert reads(lambda: cache.insert(xyz, features, footprint, stamp=1)) == []
    assert reads(lambda: cache.carve(depth, views)) == ["aten.nonzero.default"]
    assert reads(lambda: cache.evict(max_rows=300)) == ["aten.nonzero.default"]
    assert reads(lambda: cache.evict(max_rows=200, eviction="farthest", position=position)) == ["aten.nonzero.default"]
