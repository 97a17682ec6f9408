# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The functions of mirage_kernels, with arguments of any kind."""

from __future__ import annotations

from typing import Any

import fuzz_values as values
import torch
from fuzz_calls import gradients, run_on_both
from fuzz_input import Input

from mirage_kernels import check, group_voxels, overlap, pool_depth, splat, testing, unproject, visible

POOLINGS = ("median", "nearest", "min", "bilinear")


def options(data: Input, **made: Any) -> dict[str, Any]:
    """Return some of the options, each if a byte of its own says so."""
    return {name: value() for name, value in made.items() if data.byte() & 1}


def fuzz_splat(data: Input) -> None:
    mode = data.choice(("nearest", "bilinear"))
    n, views, kind = data.choice(values.COUNTS), data.choice(values.VIEWS), data.choice(testing.POINT_KINDS)
    grid = values.size(data)
    cameras = values.cameras(data, views, grid, kind)
    xyz = values.varied(data, values.points(data, n, kind))
    features = values.varied(data, values.features(data, n, data.choice(values.CHANNELS)))
    extents = 0.3 * torch.randn(n, generator=data.generator())
    given = options(
        data,
        valid=lambda: values.maybe(data, values.mask(data, n)),
        extent=lambda: values.varied(data, extents) if data.byte() & 1 else values.number(data, 0.1),
        radius=lambda: values.radius(data, n),
        band=lambda: values.number(data, 0.05),
        near=lambda: values.number(data, 0.25),
        mode=lambda: values.option(data, (mode,)),
    )
    seed = data.integer(0, 255)

    def call() -> Any:
        result = splat(xyz, features, cameras, **given)
        inputs = (features,) if given.get("mode") == "bilinear" else (xyz, features)
        return result, gradients(result, inputs, torch.Generator().manual_seed(seed))

    names = ("xyz", "features", "cameras", "valid", "extent", "radius", "band", "near", "mode")
    run_on_both(call, names, sums=True)


def fuzz_unproject(data: Input) -> None:
    views, full, grid = data.choice(values.VIEWS), values.size(data), values.size(data)
    cameras = values.cameras(data, views, full)
    full, grid = (g if isinstance(g, tuple) and len(g) == 2 and _small(g) else (4, 6) for g in (full, grid))
    depth = values.varied(data, values.depth(data, views, *full))
    features = values.varied(data, values.features(data, views, data.choice(values.CHANNELS), *grid))
    given = options(
        data,
        mask=lambda: values.maybe(data, values.mask(data, views, *full)),
        pooling=lambda: values.option(data, POOLINGS),
        min_valid=lambda: values.number(data, 2),
        max_masked=lambda: values.number(data, 0.25),
    )
    seed = data.integer(0, 255)

    def call() -> Any:
        points = unproject(depth, features, cameras, **given)
        return points, gradients(points, (depth, features), torch.Generator().manual_seed(seed))

    names = ("depth", "features", "cameras", "mask", "pooling", "min_valid", "max_masked")
    run_on_both(call, names, sums=True)


def _small(grid: tuple[Any, ...]) -> bool:
    return all(type(side) is int and 0 < side < 99 for side in grid)


def fuzz_pool_depth(data: Input) -> None:
    views, full, grid = data.choice(values.VIEWS), (data.integer(1, 9), data.integer(1, 17)), values.size(data)
    depth = values.varied(data, values.depth(data, views, *full))
    given = options(
        data,
        mask=lambda: values.maybe(data, values.mask(data, views, *full)),
        max_masked=lambda: values.number(data, 0.25),
        pooling=lambda: values.option(data, POOLINGS),
    )
    seed = data.integer(0, 255)

    def call() -> Any:
        pooled = pool_depth(depth, grid, **given)
        return pooled, gradients([pooled], [depth], torch.Generator().manual_seed(seed))

    run_on_both(call, ("depth", "grid", "mask", "max_masked", "pooling"), sums=True)


def fuzz_visible(data: Input) -> None:
    n, views, kind = data.choice(values.COUNTS), data.choice(values.VIEWS), data.choice(testing.POINT_KINDS)
    cameras = values.cameras(data, views, values.size(data), kind)
    xyz = values.varied(data, values.points(data, n, kind))
    count = data.choice((5, 0, 1, 63, 64, 65, 300))
    groups = torch.randint(-1, count + 1, (n,), generator=data.generator())
    given = options(data, valid=lambda: values.maybe(data, values.mask(data, n)))
    if data.byte() & 1:
        given |= {"groups": values.varied(data, groups), "num_groups": values.number(data, count)}
    elif data.rarely():
        given["num_groups"] = values.number(data, None)
    run_on_both(lambda: visible(xyz, cameras, **given), ("xyz", "cameras", "valid", "groups", "num_groups"))


def fuzz_overlap(data: Input) -> None:
    words = data.integer(0, 9)
    bounds = (-(1 << 63), (1 << 63) - 1)
    a, b = (
        values.varied(data, torch.randint(*bounds, (data.integer(0, 40), words), generator=data.generator()))
        for _ in range(2)
    )
    run_on_both(lambda: overlap(a, b), ("a", "b"))


def fuzz_group_voxels(data: Input) -> None:
    n, kind = data.choice(values.COUNTS), data.choice(testing.POINT_KINDS)
    xyz = values.varied(data, values.points(data, n, kind))
    voxel_size = values.number(data, 0.2)
    given = options(data, valid=lambda: values.maybe(data, values.mask(data, n)))
    run_on_both(lambda: group_voxels(xyz, voxel_size, **given), ("xyz", "voxel_size", "valid"))


def fuzz_check(data: Input) -> None:
    """The checks of arguments themselves."""
    value = data.choice(values.WRONG) if data.byte() & 1 else data.choice(values.NUMBERS)
    calls = (
        lambda: check.number("value", value, *bounds),
        lambda: check.positive("value", value),
        lambda: check.integer("value", value, least),
        lambda: check.size("value", value),
        lambda: check.choice("value", value, ("nearest", "bilinear")),
        lambda: check.dtype("value", value),
        lambda: check.device_type("value", value),
        lambda: check.device("value", value),
        lambda: check.tensor("value", value, ("N", 3), {}),
    )
    bounds, least = (data.choice((None, 0, 1)), data.choice((None, 2, 100))), data.choice((0, 1, -(1 << 63)))
    run_on_both(data.choice(calls), ("value",))
