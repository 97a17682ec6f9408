# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operations of a voxel cache under torch.library: opcheck of schemas, fake kernels and mutation."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import VoxelCache, _library, testing
from mirage_kernels.ops.voxel_cache import voxel_cache_reference as reference

CACHES: list[dict[str, Any]] = [
    {},
    {"fusion": "mean", "dtype": torch.bfloat16},
    {"storage": "int8", "fusion": "latest", "dtype": torch.float16},
    {"channels": 0},
]


class Insert(NamedTuple):
    """Return a cache with unused capacity and arguments of the operations; some points fall into existing voxels."""

    cache: VoxelCache
    insert: tuple[Any, ...]
    commit: tuple[Any, ...]  # of the same points


def insert(each: bool, **options: Any) -> Insert:
    """With ``each``, points have footprints and a mask."""
    g = torch.Generator().manual_seed(0)
    cache = VoxelCache(**({"voxel_size": 0.25, "channels": 5} | options))
    xyz, valid = testing.random_points(g, "room", 200), torch.rand(200, generator=g) < 0.8
    features = torch.randn(200, cache.channels, generator=g).to(cache.dtype)
    footprint = torch.rand(200, generator=g)
    cache.insert(xyz[:120], features[:120], footprint[:120])
    cache._store.state = cache._store.reserve(300)
    s, fusion = cache.state, reference.FUSIONS.index(cache.fusion)
    footprints, flags = (footprint, valid) if each else (None, None)
    points, held = (xyz, features, flags, footprints), (s.keys, s.footprint, s.table, s.rows)
    planned, _ = reference.plan(*points, *held, 4.0, 0.25, fusion)
    packed = (planned.pack(), len(planned.order), len(planned.key))
    written, kept = (xyz, features, *s.insert_arguments, s.rows, 7), (s.scale, s.count)
    return Insert(
        cache,
        (*written, 4.0, 0.25, fusion, footprints, flags, *kept),
        (*packed, *written, 0.25, fusion, footprints, *kept),
    )


def cloned(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(arg.clone() if isinstance(arg, Tensor) else arg for arg in args)


def check(namespace: str, name: str, *args: Any) -> None:
    torch.library.opcheck(_library.overload(namespace, f"voxel_cache_{name}"), cloned(args))


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("options", CACHES)
def test_opcheck_insert(namespace: str, options: dict[str, Any], each: bool) -> None:
    cache, inserted, committed = insert(each, **options)
    check(namespace, "insert", *inserted)
    check(namespace, "commit", *committed)
    s = cache.state
    check(namespace, "index", s.keys, s.xyz, s.footprint, s.table, *s.boxes, s.rows)


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("options", [{}, {"fusion": "mean"}, {"storage": "int8"}])
def test_features_of_int8_are_refused_before_they_are_read(options: dict[str, Any]) -> None:
    args = list(insert(False, **options).commit)
    args[4] = args[4].to(torch.int8)
    with pytest.raises(RuntimeError, match="voxel_cache_commit: features must be float32, bfloat16 or float16"):
        torch.ops.mirage_kernels.voxel_cache_commit(*args)


@pytest.mark.parametrize("options", CACHES)
def test_opcheck_splat_and_decode(namespace: str, options: dict[str, Any]) -> None:
    cache, *_ = insert(True, **options)
    s, cameras = cache.state, testing.random_cameras(torch.Generator().manual_seed(1), 2, (6, 9))
    views = (cameras.intrinsics, cameras.world2cam)
    check(namespace, "carve", s.xyz, 3 * torch.rand(2, 6, 9), *views, *s.boxes, s.rows, 1.05)
    index = cache.splat(cameras).index
    assert 0 < (index >= 0).sum() < index.numel()
    check(namespace, "decode", s.features, s.scale, s.count, index, torch.empty(0, dtype=cache.dtype))


def test_opcheck_of_empty_tensors(namespace: str) -> None:
    s, views = VoxelCache(0.25, 3).state, testing.plain_cameras(2, (6, 9))
    lenses = (views.intrinsics, views.world2cam)
    nothing = torch.zeros(0, 3)
    check(namespace, "insert", nothing, nothing, *s.insert_arguments, 0, 7, 4.0, 0.25, 0)
    check(namespace, "index", s.keys, s.xyz, s.footprint, s.table, *s.boxes, 0)
    check(namespace, "carve", s.xyz, torch.ones(2, 6, 9), *lenses, *s.boxes, 0, 1.05)
    check(namespace, "decode", s.features, None, None, torch.full((2, 6, 9), -1), torch.empty(0))


def test_error_for_a_table_that_is_too_small() -> None:
    """Slots are searched 64 at a time, so a smaller table would be read beyond its end."""
    if mk.backends()["cpp"] is not None:
        pytest.skip(f"backend cpp: {mk.backends()['cpp']}")
    s = VoxelCache(0.25, 1).state
    for slots in (8, 32, 96):
        table = torch.full((slots,), -1, dtype=torch.int32)
        with pytest.raises(RuntimeError, match="bad size of table"):
            torch.ops.mirage_kernels.voxel_cache_index(s.keys, s.xyz, s.footprint, table, *s.boxes, 0)
        points = (torch.rand(20, 3), torch.rand(20, 1))
        rows = (s.keys, s.xyz, s.footprint, s.features, s.stamp)
        with pytest.raises(RuntimeError, match="bad size of table"):
            torch.ops.mirage_kernels.voxel_cache_insert(*points, *rows, table, *s.boxes, 0, 0, 4.0, 0.25, 0)
