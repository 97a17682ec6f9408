# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a call asks of a GPU: each launch, each fill of memory and each wait costs microseconds, whatever its size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from emulated import Emulated, Operations
from test_associate import associate_case

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
    visible,
)

SIZE = (6, 9)
Call = Callable[[], Any]


def cameras(views: int) -> Cameras:
    return testing.random_cameras(torch.Generator().manual_seed(0), views, SIZE)


def splat_points(views: int, **options: Any) -> Call:
    case = testing.splat_case(0, views=views)
    return lambda: case.run(splat, **options)


def splat_clouds(clouds: int) -> Call:
    case = testing.splat_case(0, views=clouds)
    xyz, features = case.xyz.view(clouds, -1, 3), case.features.view(clouds, len(case.xyz) // clouds, -1)
    return lambda: splat(xyz, features, case.cameras)


def splat_backward(mode: str) -> Call:
    case = testing.splat_case(0)

    def run() -> None:
        xyz, features = case.xyz.clone().requires_grad_(), case.features.clone().requires_grad_()
        result = case._replace(xyz=xyz, features=features).run(splat, mode=mode)
        torch.autograd.grad([result.features.sum(), result.depth.nan_to_num(0, 0, 0).sum()], [xyz, features])

    return run


def blend(backward: bool) -> Call:
    case = testing.splat_case(0)
    layers = case.run(splat, k=3)
    weights = torch.rand(layers.depth.shape, requires_grad=backward)
    features = case.features.clone().requires_grad_(backward)

    def run() -> None:
        out = composite(features, layers, weights)
        if backward:
            torch.autograd.grad(out.sum(), (features, weights))

    return run


def see(views: int, grouped: bool) -> Call:
    xyz = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    groups = {"groups": torch.arange(300) // 2, "num_groups": 150} if grouped else {}
    return lambda: visible(xyz, cameras(views), **groups)


def compare(count: int) -> Call:
    sets = torch.arange(count * 4).reshape(count, 4)
    return lambda: overlap(sets[:2], sets)


def project(views: int) -> Call:
    xyz = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    return lambda: cameras(views).project(xyz)


def front_points() -> Any:
    return frontmost(torch.randn(300, 3), cameras(9))


def rows() -> Any:
    return quantize(torch.randn(5, 300))


def offsets() -> Any:
    return cell_offsets(torch.randn(300, 3), torch.zeros(2, *SIZE, dtype=torch.int64), cameras(2))


def cells() -> Any:
    return blend_cells(torch.randn(2, 3, *SIZE), torch.zeros(2, 2, *SIZE), torch.ones(2, *SIZE))


def sum_points() -> Any:
    return splat_sum(torch.rand(300, 2), torch.randn(300, 3), SIZE)


class Cache:
    """A cache that holds some points already."""

    def __init__(self, points: int, **settings: Any) -> None:
        g = torch.Generator().manual_seed(points)
        self.cache = VoxelCache(voxel_size=0.25, channels=8, **settings)
        self.points = torch.randn(points, 3, generator=g), torch.randn(points, 8, generator=g)
        self.insert()

    def insert(self) -> None:
        self.cache.insert(*self.points, footprint=torch.ones(len(self.points[0])))

    def read(self, views: int) -> Call:
        return lambda: self.cache.splat(cameras(views))

    def surface(self, views: int) -> Call:
        behind = torch.arange(len(self.cache)) < 9
        return lambda: self.cache.splat_surface(cameras(views), valid=~behind, behind=behind)

    def carve(self, views: int) -> Call:
        near = torch.full((views, *SIZE), 1e-3)  # so that every row stays
        return lambda: self.cache.carve(near, cameras(views))


CALLS: dict[str, tuple[Callable[[], Call], Operations]] = {
    # prepare, rasterize, resolve
    "splat": (lambda: splat_points(9), Operations(launches=3, fills=0, sorts=0, waits=0)),
    # rasterize once for every 64 views
    "splat, 130 views": (lambda: splat_points(130), Operations(launches=5, fills=0, sorts=0, waits=0)),
    # prepare, rasterize for every layer, resolve
    "splat layers": (lambda: splat_points(9, k=4), Operations(launches=6, fills=0, sorts=0, waits=0)),
    "composite": (lambda: blend(backward=False), Operations(launches=1, fills=0, sorts=0, waits=0)),
    # beside the forward's: scales, list_cells, transpose, sum_features; transpose, products, backward_weights
    "composite backward": (lambda: blend(backward=True), Operations(launches=8, fills=1, sorts=1, waits=0)),
    # enter_depths, test_depths
    "frontmost": (lambda: front_points, Operations(launches=2, fills=1, sorts=0, waits=0)),
    "associate": (lambda: associate_case(0).run, Operations(launches=1, fills=0, sorts=0, waits=0)),
    "quantize": (lambda: rows, Operations(launches=1, fills=0, sorts=0, waits=0)),
    "cell_offsets": (lambda: offsets, Operations(launches=1, fills=0, sorts=0, waits=0)),
    "blend_cells": (lambda: cells, Operations(launches=1, fills=0, sorts=0, waits=0)),
    # three times prepare, list_leaves, rasterize, resolve; composite_surface twice
    "surface": (lambda: Cache(300).surface(9), Operations(launches=14, fills=0, sorts=0, waits=0)),
    # place_points, list_cells, sum_taps
    "splat_sum": (lambda: sum_points, Operations(launches=3, fills=1, sorts=1, waits=0)),
    "splat, 8 clouds": (lambda: splat_clouds(8), Operations(launches=3, fills=0, sorts=0, waits=0)),
    # prepare, rasterize; find_bases, find_lists, blend
    "splat bilinear": (lambda: splat_points(2, mode="bilinear"), Operations(launches=5, fills=0, sorts=1, waits=0)),
    # prepare, list_leaves, rasterize, resolve
    "culled read": (lambda: Cache(300).read(9), Operations(launches=4, fills=0, sorts=0, waits=0)),
    # and decode
    "culled read, int8": (
        lambda: Cache(300, storage="int8").read(9),
        Operations(launches=5, fills=0, sorts=0, waits=0),
    ),
    # sort_tiles, merge_tiles, mark, plan; write, copy
    "insert": (lambda: Cache(300).insert, Operations(launches=6, fills=0, sorts=0, waits=1)),
    # encode instead of sort_tiles and merge_tiles
    "insert, many points": (lambda: Cache(4000).insert, Operations(launches=5, fills=0, sorts=1, waits=1)),
    # plan
    "insert nothing": (lambda: Cache(0).insert, Operations(launches=1, fills=0, sorts=0, waits=0)),
    # prepare, mark_visible
    "visible": (lambda: see(9, grouped=False), Operations(launches=2, fills=0, sorts=0, waits=0)),
    "visible, groups": (lambda: see(9, grouped=True), Operations(launches=2, fills=0, sorts=0, waits=0)),
    # count twice, iou
    "overlap": (lambda: compare(40), Operations(launches=3, fills=2, sorts=0, waits=0)),
    # project
    "project": (lambda: project(9), Operations(launches=1, fills=0, sorts=0, waits=0)),
    # prepare, carve
    "carve": (lambda: Cache(300).carve(3), Operations(launches=2, fills=0, sorts=0, waits=0)),
    # beside the forward's: list_cells twice, sum_features, sum_depths, transpose
    "splat backward": (lambda: splat_backward("nearest"), Operations(launches=8, fills=2, sorts=2, waits=0)),
}


@pytest.mark.parametrize("name", CALLS)
def test_number_of_device_calls(name: str, cuda_code: Emulated | None) -> None:
    if cuda_code is None:
        pytest.skip("needs GCC and the sources")
    prepare, most = CALLS[name]
    assert cuda_code.count(prepare())._replace(blocks=0) == most


@pytest.mark.parametrize(("views", "columns"), [(1, 1), (7, 7), (8, 8), (9, 5), (17, 6), (64, 8)])
def test_every_column_of_the_grid_has_views(views: int, columns: int, cuda_code: Emulated | None) -> None:
    """One block of points; the emulation wants 16 blocks, so up to 8 columns share the views."""
    if cuda_code is None:
        pytest.skip("needs GCC and the sources")
    prepare = (views * 6 * 9 * 8 + 8191) // 8192
    assert cuda_code.count(splat_points(views)).blocks == min(prepare, 3) + columns + views
