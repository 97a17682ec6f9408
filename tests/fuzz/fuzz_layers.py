# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Layers and their blending, several clouds, and what occlusion leaves in view, with arguments of any kind."""

from __future__ import annotations

from typing import Any

import fuzz_values as values
import torch
from fuzz_calls import gradients, run_on_both
from fuzz_input import Input
from fuzz_operations import options

from mirage_kernels import Layers, composite, splat, testing, visible

SPLAT = ("xyz", "features", "cameras", "valid", "extent", "radius", "near", "far", "k", "offsets", "background",
         "weights", "mode", "band")  # fmt: skip


def fuzz_layers(data: Input) -> None:
    """``splat`` with ``k``, and ``composite`` of what it returns, or of something else."""
    n, views, kind = data.choice(values.COUNTS), data.choice(values.VIEWS), data.choice(testing.POINT_KINDS)
    grid = values.size(data)
    cameras = values.cameras(data, views, grid, kind)
    xyz = values.varied(data, values.points(data, n, kind))
    given = options(
        data,
        valid=lambda: values.maybe(data, values.mask(data, n)),
        extent=lambda: values.number(data, 0.1),
        radius=lambda: values.radius(data, n),
        far=lambda: values.number(data, 3),
    )
    given["k"] = values.number(data, data.integer(1, 5))
    layers = run_on_both(lambda: splat(xyz, None, cameras, **given), SPLAT, sums=True)
    if not isinstance(layers, Layers):
        return
    features = values.varied(data, values.features(data, n, data.choice(values.CHANNELS)))
    weights = values.varied(data, torch.rand(layers.index.shape, generator=data.generator()))
    index = values.varied(data, layers.index)
    mode = values.option(data, ("alpha", "weighted", "normalized"))
    seed = data.integer(0, 255)

    def blend() -> Any:
        result = composite(features, layers._replace(index=index), weights, mode=mode)
        return result, gradients([result], (features, weights), torch.Generator().manual_seed(seed))

    run_on_both(blend, ("features", "layers", "weights", "mode"), sums=True)


def fuzz_clouds(data: Input) -> None:
    """``splat`` of several clouds, as (B, N, 3) or by ``offsets``."""
    clouds, n, each = data.integer(1, 3), data.choice((3, 0, 1, 7, 64, 65)), data.integer(0, 2)
    kind, grid = data.choice(testing.POINT_KINDS), values.size(data)
    cameras = values.cameras(data, clouds * each, grid, kind)
    xyz = values.points(data, clouds * n, kind)
    features = values.features(data, clouds * n, data.choice(values.CHANNELS))
    given: dict[str, Any] = {}
    if data.byte() & 1:
        offsets = torch.arange(clouds + 1) * n
        if clouds > 1 and data.byte() & 1:
            offsets[1:-1] = torch.randint(0, clouds * n + 1, (clouds - 1,), generator=data.generator()).sort().values
        given["offsets"] = values.varied(data, offsets)
    else:
        xyz, features = xyz.reshape(clouds, n, 3), features.reshape(clouds, n, features.shape[1])
    rows = xyz.shape[:-1]
    xyz, features = values.varied(data, xyz), values.varied(data, features)
    given |= options(data, background=lambda: values.number(data, 0.5), radius=lambda: values.radius(data, *rows))
    seed = data.integer(0, 255)

    def call() -> Any:
        result = splat(xyz, features, cameras, **given)
        return result, gradients(result, (xyz, features), torch.Generator().manual_seed(seed))

    run_on_both(call, SPLAT, sums=True)


def fuzz_occlusion(data: Input) -> None:
    """``visible`` of what is the nearest of its cell, and of clouds that have grown."""
    n, views, kind = data.choice(values.COUNTS), data.choice(values.VIEWS), data.choice(testing.POINT_KINDS)
    cameras = values.cameras(data, views, values.size(data), kind)
    xyz = values.varied(data, values.points(data, n, kind))
    count = torch.randint(0, n + 1, (views,), generator=data.generator())
    given = options(
        data,
        occlusion=lambda: values.option(data, (True, False)),
        count=lambda: values.varied(data, count) if data.byte() & 1 else count.tolist(),
        valid=lambda: values.maybe(data, values.mask(data, n)),
    )
    if data.byte() & 1:
        groups = torch.randint(-1, 6, (n,), generator=data.generator())
        given |= {"groups": values.varied(data, groups), "num_groups": values.number(data, 5)}
    names = ("xyz", "cameras", "valid", "groups", "num_groups", "occlusion", "count")
    run_on_both(lambda: visible(xyz, cameras, **given), names)
