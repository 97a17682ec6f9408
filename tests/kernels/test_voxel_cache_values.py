# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a voxel cache takes and gives: points that it rejects, the voxel size "auto", and means of many observations."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from cache_steps import snapshot
from every_backend import READY, EveryBackend, run_reference
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import Cameras, VoxelCache, splat, testing, unproject
from mirage_kernels.testing import same_bits

MAX_COUNT = 1 << 20


def insert_counts(every_backend: EveryBackend, fill: Any) -> tuple[list[Any], VoxelCache]:
    """Return the counts and the cache of an insert after asserting that they are the same on every backend."""
    counts, cache = run_reference(fill)
    for name, (result, other) in every_backend(fill):
        assert result[:4] == counts[:4], name
        for key, tensor in snapshot(cache).items():
            assert same_bits(snapshot(other)[key], tensor), f"{name}: {key}"
    return list(counts[:4]), cache


def largest_feature(dtype: torch.dtype, options: dict[str, Any]) -> float:
    """Return the largest feature that a cache with these settings accepts."""
    limit = 2.0**107 if options.get("fusion") == "mean" else 2.0**127 if options.get("storage") else math.inf
    return min(limit, torch.finfo(dtype).max)


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("options", [{}, {"storage": "int8"}, {"fusion": "latest"}, {"fusion": "mean"}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("n", "channels"), [(0, 3), (7, 1), (300, 17), (1100, 48), (40, 70)])
def test_points_with_non_finite_features_are_rejected(
    n: int, channels: int, dtype: torch.dtype, options: dict[str, Any], every_backend: EveryBackend
) -> None:
    """One bad value in any channel, of points that are valid and of points that are not."""
    g = torch.Generator().manual_seed(n)
    xyz, features = testing.random_points(g, "room", n), torch.randn(n, channels, generator=g)
    largest = largest_feature(dtype, options)
    features = torch.where(torch.rand(n, channels, generator=g) < 0.1, -largest, features).to(dtype)
    bad = (torch.rand(n, generator=g) < 0.2).nonzero().squeeze(1)
    kinds = torch.tensor([math.nan, math.inf, -math.inf])
    at = torch.randint(channels, bad.shape, generator=g)
    features[bad, at] = kinds[torch.randint(3, bad.shape, generator=g)].to(dtype)
    valid = torch.rand(n, generator=g) < 0.8

    def fill() -> Any:
        cache = VoxelCache(0.3, channels, dtype=dtype, **options)
        return cache.insert(xyz, features, valid=valid), cache

    counts, cache = insert_counts(every_backend, fill)
    assert counts[2] == int(valid[bad].sum())
    assert counts[0] + counts[1] == int(valid.sum()) - counts[2]
    assert cache.memory_stats()["rejected"] == counts[2]
    assert cache.features().isfinite().all()


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("options", [{"storage": "int8"}, {"storage": "int8", "fusion": "latest"}, {"fusion": "mean"}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_features_that_would_become_infinite_are_rejected(
    dtype: torch.dtype, options: dict[str, Any], every_backend: EveryBackend, tmp_path: Path
) -> None:
    """The scale of an int8 row is rounded up, and sums grow: a cache would return infinity, and its file be refused."""
    largest = largest_feature(dtype, options)
    above = torch.tensor(largest, dtype=dtype).nextafter(torch.tensor(math.inf, dtype=dtype)).item()
    features = torch.ones(6, 3)
    features[:5, 1] = torch.tensor([largest, -largest, above, -above, torch.finfo(dtype).max])
    xyz = torch.arange(6.0)[:, None].expand(6, 3).contiguous()

    def fill() -> Any:
        cache = VoxelCache(0.5, 3, dtype=dtype, **options)
        counts = cache.insert(xyz, features.to(dtype))
        assert cache.insert(xyz[2:5], features[2:5].to(dtype)) == mk.InsertCounts(0, 0, 3, 0, None)
        return counts, cache

    counts, cache = insert_counts(every_backend, fill)
    assert counts == [3, 0, 3, 0]
    automatic = VoxelCache("auto", 3, dtype=dtype, **options)
    footprint = torch.arange(1.0, 7.0)  # of the rejected ones too: they count for nothing
    assert automatic.insert(xyz, features.to(dtype), footprint).rejected == 3
    assert automatic.voxel_size == 1.0
    assert cache.features().isfinite().all()
    cache.save(tmp_path / "cache.safetensors")
    assert same_bits(VoxelCache.load(tmp_path / "cache.safetensors").features(), cache.features())


def test_sums_of_the_largest_features_are_finite() -> None:
    cache = VoxelCache(0.5, 1, fusion="mean")
    xyz, features = torch.zeros(1 << 20, 3), torch.full((1 << 20, 1), largest_feature(torch.float32, cache.settings))
    for _ in range(2):
        cache.insert(xyz, features)
        assert cache.features().item() == features[0].item()


def test_the_farthest_rows_are_found_at_any_distance() -> None:
    """The square of a distance beyond 1.8e19 is no float32."""
    cache = VoxelCache(1e17, 1)
    cache.insert(torch.tensor([[-2e22, 0, 0], [-1e22, 0, 0], [5e21, 0, 0]]), torch.zeros(3, 1))
    assert cache.evict(max_rows=1, eviction="farthest", position=torch.zeros(3)).tolist() == [-1, -1, 0]


@pytest.mark.parametrize("name", [
    "dtype", "fusion", "storage", "eviction", "extent_scale", "auto_scale", "max_rows", "max_bytes", "channels",
])  # fmt: skip
def test_settings_cannot_change(name: str) -> None:
    """The tensors depend on them, and a file with other settings than the constructor takes could not be loaded."""
    cache = VoxelCache(0.1, 2)
    for one in (cache, cache.clone(), copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        before = one.settings
        with pytest.raises(AttributeError):
            setattr(one, name, getattr(cache, name))
        assert one.settings == before


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("n", [1, 40, 1500])
def test_footprints_that_are_not_positive_are_rejected(n: int, every_backend: EveryBackend) -> None:
    g = torch.Generator().manual_seed(n)
    xyz, features = testing.random_points(g, "room", n), torch.randn(n, 4, generator=g)
    usable = torch.tensor([1e-45, 1e-30, 0.25, 3e38])
    others = torch.tensor([0.0, -0.0, -1e-45, -1.0, math.nan, math.inf, -math.inf])
    rejected = torch.rand(n, generator=g) < 0.3
    footprint = torch.where(
        rejected, others[torch.randint(7, (n,), generator=g)], usable[torch.randint(4, (n,), generator=g)]
    )

    def fill() -> Any:
        cache = VoxelCache(0.3, 4)
        return cache.insert(xyz, features, footprint), cache

    counts, cache = insert_counts(every_backend, fill)
    assert counts[2] == int(rejected.sum())
    assert (cache.footprint > 0).all()


@pytest.mark.parametrize("fusion", ["best", "latest", "mean"])
def test_a_forgotten_mask_leaves_no_row_at_the_origin(fusion: Any) -> None:
    """Cells without depth are finite zeros with a footprint of 0, which no observation could ever replace."""
    camera = Cameras(torch.tensor([[8.0, 0, 4], [0, 8, 3], [0, 0, 1]]), torch.eye(4), size=(6, 8))
    depth = torch.full((1, 6, 8), 2.0)
    depth[:, :, :4] = 0
    points = unproject(depth, torch.ones(1, 2, 3, 4), camera)
    for name in READY:
        with mk.use_backend(name):
            cache = VoxelCache(0.1, 2, fusion=fusion)
            counts = cache.insert(points.xyz, points.features, points.footprint)
            assert counts[:3] == (6, 0, 6), name
            assert not (cache.xyz == 0).all(1).any()


def test_auto_is_taken_from_points_that_are_inserted() -> None:
    n, wide = 1000, slice(0, 600)
    g = torch.Generator().manual_seed(0)
    xyz, features, footprint = torch.rand(n, 3, generator=g), torch.randn(n, 3, generator=g), torch.full((n,), 0.05)
    footprint[wide] = 7.0
    for spoil in ("nan position", "infinite position", "far position", "feature", "mask"):
        x, f, valid = xyz.clone(), features.clone(), None
        if spoil == "feature":
            f[wide, 1] = math.nan
        elif spoil == "mask":
            valid = torch.arange(n) >= 600
        else:
            x[wide, 2] = {"nan": math.nan, "infinite": math.inf, "far": -3e38}[spoil.split()[0]]
        cache = VoxelCache("auto", 3)
        counts = cache.insert(x, f, footprint, valid=valid)
        assert cache.voxel_size == pytest.approx(0.025), spoil
        assert (counts.rejected, counts.added + counts.merged) == (0 if spoil == "mask" else 600, 400), spoil


def test_auto_without_a_point_to_insert_stays_unset() -> None:
    """All points are out of range of their own footprints."""
    cache = VoxelCache("auto", 1)
    counts = cache.insert(torch.full((5, 3), 1e6), torch.zeros(5, 1), torch.full((5,), 1e-3))
    assert counts[:4] == (0, 0, 5, 0)
    assert cache.voxel_size is None
    assert cache.insert(torch.rand(5, 3), torch.zeros(5, 1), torch.full((5,), 0.5)).rejected == 0
    assert cache.voxel_size == 0.25


def test_rows_that_float32_cannot_place_are_counted() -> None:
    """At 500 km, coordinates are multiples of 3 cm: cells of that size no longer read back themselves."""
    camera = Cameras(torch.tensor([[80.0, 0, 40], [0, 80, 22], [0, 0, 1]]), torch.eye(4), size=(44, 80))
    depth, features = torch.full((1, 44, 80), 2.0), torch.arange(3520.0).reshape(1, 1, 44, 80)
    for offset in ((0.0, 0.0, 0.0), (500_000.0, 0.0, 0.0), (0.0, -500_000.0, 0.0)):
        moved = camera.translate(offset)
        points = unproject(depth, features, moved)
        cache = VoxelCache(0.5, 1, fusion="latest")
        cache.insert(points.xyz, points.features, points.footprint, valid=points.valid)
        imprecise = cache.memory_stats()["imprecise"]
        assert imprecise == (0 if offset == (0.0, 0.0, 0.0) else len(cache))
        local = unproject(depth, features, moved.translate(tuple(-x for x in offset)))
        assert torch.equal(local.xyz, unproject(depth, features, camera).xyz)
        shown = splat(points.xyz, points.features, moved, valid=points.valid).features == features
        assert bool(shown.all()) == (imprecise == 0)


@pytest.mark.parametrize("budget", [{"max_rows": 500}, {"max_bytes": 30_000}])
def test_a_refused_insert_does_not_set_auto(budget: dict[str, int]) -> None:
    cache, xyz = VoxelCache("auto", 8, **budget), torch.rand(1000, 3)
    with pytest.raises(ValueError, match="xyz: expected points in at most"):
        cache.insert(xyz, torch.zeros(1000, 8), torch.full((1000,), 1e-4))
    assert cache.voxel_size is None
    cache.insert(xyz, torch.zeros(1000, 8), torch.full((1000,), 2.0))
    assert cache.voxel_size == 1.0


def test_an_interrupted_insert_does_not_set_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = VoxelCache("auto", 1)

    with monkeypatch.context() as patch:
        patch.setattr(cache._store, "insert", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            cache.insert(torch.rand(9, 3), torch.zeros(9, 1), torch.ones(9))
    assert cache.voxel_size is None


def test_rows_of_another_voxel_size_are_refused() -> None:
    g = torch.Generator().manual_seed(0)
    xyz, features = 4 * torch.rand(1000, 3, generator=g) - 2, torch.randn(1000, 8, generator=g)
    auto = VoxelCache("auto", 8)
    auto.insert(xyz, features, torch.full((1000,), 0.1))
    rows = auto.state_dict()
    for other, expected in (
        (VoxelCache("auto", 8), "keys: expected no rows, because the voxel size is 'auto' and not set yet"),
        (VoxelCache(0.5, 8), "keys: expected the voxels of xyz of size 0.5, got"),
        (VoxelCache(0.0501, 8), "keys: expected the voxels of xyz of size 0.0501, got"),
    ):
        with pytest.raises(ValueError, match=expected):
            other.load_state_dict(rows)
        assert len(other) == 0
    for same in (VoxelCache(0.05, 8), VoxelCache.from_state_dict(auto.settings, rows)):
        same.load_state_dict(rows)
        again = same.insert(xyz, features, torch.full((1000,), 0.5))
        assert again[:3] == (0, 1000, 0)
    empty = VoxelCache("auto", 8)
    empty.load_state_dict(VoxelCache("auto", 8).state_dict())
    assert empty.voxel_size is None


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("options", [{}, {"storage": "int8"}, {"fusion": "mean"}])
@pytest.mark.parametrize("cull", [True, False])
def test_near_of_a_read_is_that_of_splat(options: dict[str, Any], cull: bool, every_backend: EveryBackend) -> None:
    g = torch.Generator().manual_seed(0)
    xyz, features = testing.random_points(g, "room", 3000), torch.randn(3000, 5, generator=g)
    cache = VoxelCache(0.05, 5, **options)
    cache.insert(xyz, features, torch.rand(3000, generator=g) / 10)
    cameras = testing.random_cameras(g, 3, (12, 20))
    extent = 0.6 * cache.footprint.clamp(min=0.05)
    expected = run_reference(lambda: splat(cache.xyz, cache.features(), cameras, extent=extent, near=1.5))
    assert (expected.depth < cache.splat(cameras, near=2).depth).any()
    for name, view in every_backend(lambda: cache.splat(cameras, near=1.5, cull=cull)):
        for key in ("features", "depth", "index"):
            assert same_bits(getattr(view, key), getattr(expected, key)), f"{name}: {key}"


def means(count: Tensor, sums: Tensor, more: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Add observations (n, C) to each mean, one numpy float32 addition after the other; count 0 is a new row."""
    counts, totals = count.tolist(), sums.numpy().copy()
    for row, values in enumerate(more):
        for x in values.numpy():
            totals[row] = x if counts[row] == 0 else totals[row] + x
            counts[row] += 1
            if counts[row] >= MAX_COUNT:
                counts[row] //= 2
                totals[row] *= np.float32(0.5)
    return torch.tensor(counts), torch.from_numpy(totals)


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("channels", [1, 8, 20])
def test_means_are_halved(channels: int, every_backend: EveryBackend) -> None:
    """Rows whose counts are below, at and above the limit, as in older files; the last rows are new."""
    g = torch.Generator().manual_seed(channels)
    start = torch.tensor([1, MAX_COUNT - 9, MAX_COUNT - 2, MAX_COUNT - 1, MAX_COUNT, 3 * MAX_COUNT + 1, 2**31 - 1])
    rows, new, each = len(start), 2, [1, 7, 40, 3, 1, 12, 25, 9, 1]
    first = torch.randn(rows, channels, generator=g)
    more = [torch.randn(n, channels, generator=g) for n in each]
    x = torch.arange(float(rows + new)) + 0.5
    order = torch.randperm(sum(each), generator=g)
    voxel = torch.arange(rows + new).repeat_interleave(torch.tensor(each))[order]
    values = torch.cat(more)[order]
    more = [values[voxel == row] for row in range(rows + new)]
    sums = first * torch.rand(rows, 1, generator=g) * 1e4

    def fill() -> Any:
        cache = VoxelCache(1.0, channels, fusion="mean")
        cache.insert(x[:rows, None].expand(-1, 3).contiguous(), first)
        assert cache.state.count is not None
        cache.state.count[:rows] = start.int()
        cache.state.features[:rows] = sums
        return cache.insert(x[voxel, None].expand(-1, 3).contiguous(), values), cache

    _, cache = insert_counts(every_backend, fill)
    none = torch.zeros(new, dtype=torch.int64)
    counts, totals = means(torch.cat([start, none]), torch.cat([sums, torch.zeros(new, channels)]), more)
    assert cache.state.count is not None
    assert cache.state.count[: rows + new].tolist() == counts.tolist()
    assert same_bits(cache.state.features[: rows + new], totals)


def test_means_do_not_drift() -> None:
    """Without halving, the sum of 3,000,000 observations of 16 absorbs every further observation of 1."""
    cache, n = VoxelCache(1.0, 1, fusion="mean"), 600_000
    for value in [16.0] * 5 + [1.0] * 10:
        cache.insert(torch.full((n, 3), 0.5), torch.full((n, 1), value))
        assert cache.state.count is not None
        assert cache.state.count[0] < MAX_COUNT
    assert cache.features().item() == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("fusion", ["best", "latest"])
@pytest.mark.parametrize("backend", READY)
def test_an_insert_of_views_of_the_cache_itself(backend: Any, fusion: Any) -> None:
    """Each point moves to the next voxel, around."""
    with mk.use_backend(backend):
        cache, copied = (VoxelCache(0.1, 1, fusion=fusion) for _ in range(2))
        xyz = torch.tensor([[0.05, 0.05, 0.05], [0.15, 0.05, 0.05], [0.25, 0.05, 0.05]])
        for made in (cache, copied):
            made.insert(xyz, torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([0.3, 0.2, 0.1]))
        order = [1, 2, 0]
        copied.insert(xyz[order], copied.features(), copied.footprint.clone())
        cache.insert(cache.xyz[order], cache.state_dict()["features"], cache.footprint)
        assert torch.equal(cache.footprint, copied.footprint)
        assert torch.equal(cache.features(), copied.features())
