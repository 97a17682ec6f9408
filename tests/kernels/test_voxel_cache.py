# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from cache_steps import Oracle, Scenario, read, run_steps, scenarios, snapshot
from every_backend import READY
from hypothesis import HealthCheck, given, settings
from strategies import SEEDS, examples
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import Cameras, VoxelCache, splat, testing, unproject
from mirage_kernels.backend import INTERPRETED
from mirage_kernels.testing import assert_same, same_bits

ALLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def record(scenario: Scenario, folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the result of every step and the state after it."""
    log = []
    for step, cache, result in run_steps(scenario, folder):
        happened: dict[str, Any] = {f"result {n}": value for n, value in enumerate(result)}
        happened |= snapshot(cache)
        if scenario.settings["fusion"] == "mean":
            # Copies keep every bit. Sums begin with a conversion to float32, and which NaN that makes of a float16 one
            # depends, in torch itself, on whether it falls into a full vector.
            happened = {name: one_nan(value) for name, value in happened.items()}
        log.append((step.kind, happened))
    return log


def one_nan(value: Any) -> Any:
    floats = isinstance(value, Tensor) and value.is_floating_point()
    return torch.where(value.isnan(), math.nan, value) if floats else value


def assert_same_logs(log: list[Any], expected: list[Any], backend: str) -> None:
    for number, ((kind, a), (_, b)) in enumerate(zip(log, expected, strict=True)):
        step = f"{backend}, step {number} ({kind})"
        assert a.keys() == b.keys(), step
        for name, value in a.items():
            if isinstance(value, Tensor):
                assert same_bits(value, b[name]), f"{step}: {name}"
            else:
                assert value == b[name], f"{step}: {name}"


@pytest.mark.usefixtures("native")
@settings(max_examples=examples(350), suppress_health_check=ALLOW)
@given(scenario=scenarios())
def test_backends_equal_reference_after_every_step(scenario: Scenario, tmp_path: Path) -> None:
    """Compare keys, rows, winners, features, stamps, scales, counts, table and boxes. Each example runs with one
    instruction set and number of threads, and with Triton's interpreter if TRITON_INTERPRET is set."""
    with mk.use_backend("reference"):
        expected = record(scenario, tmp_path)
    sets = mk.instruction_sets()
    seed = scenario.steps[0].seed
    try:
        with mk.use_backend("cpp"):
            mk.use_instruction_set(sets[seed % len(sets)])
            torch.set_num_threads(1 + seed // 8 % 2)
            name = f"{sets[seed % len(sets)]} on {torch.get_num_threads()} threads"
            assert_same_logs(record(scenario, tmp_path), expected, name)
        if INTERPRETED:
            with mk.use_backend("triton"):
                assert_same_logs(record(scenario, tmp_path), expected, "triton")
    finally:
        mk.use_instruction_set(sets[-1])


@pytest.mark.usefixtures("native")
@settings(max_examples=examples(60), suppress_health_check=ALLOW)
@given(scenario=scenarios())
def test_steps_on_every_instruction_set(scenario: Scenario, tmp_path: Path, every_backend: Any) -> None:
    first = None
    for name, log in every_backend(lambda: record(scenario, tmp_path)):
        first = first or log
        assert_same_logs(log, first, name)


@settings(max_examples=examples(100), suppress_health_check=ALLOW)
@given(scenario=scenarios())
def test_culling_changes_nothing(scenario: Scenario) -> None:
    for name in READY:
        with mk.use_backend(name):
            for step, cache, _ in run_steps(scenario):
                assert_same(read(cache, step, cull=True), read(cache, step, cull=False))


@settings(max_examples=examples(150), suppress_health_check=ALLOW)
@given(scenario=scenarios(max_rows=None, max_bytes=None))
def test_cache_equals_a_python_dict(scenario: Scenario, backend: str) -> None:
    if scenario.settings["voxel_size"] == "auto":
        scenario = scenario._replace(settings=scenario.settings | {"voxel_size": 0.25})
    steps = [step._replace(size=min(step.size, 80)) for step in scenario.steps if step.kind != "read"]
    scenario = scenario._replace(steps=steps)
    oracle = Oracle(scenario)
    with mk.use_backend(backend):
        for step, cache, result in run_steps(scenario):
            oracle.follow(scenario, step, result)
            oracle.compare(cache)


@pytest.mark.parametrize("storage", [None, "int8"])
def test_cache_splat_equals_splat_of_its_rows(storage: str | None) -> None:
    cache = room(storage=storage)
    cameras = testing.random_cameras(torch.Generator().manual_seed(1), 3, (12, 20))
    extent = 0.6 * cache.footprint.clamp(min=cache.voxel_size)
    assert_same(cache.splat(cameras), splat(cache.xyz, cache.features(), cameras, extent=extent))
    before = snapshot(cache)
    cache.splat(cameras)
    assert all(same_bits(a, b) for a, b in zip(before.values(), snapshot(cache).values(), strict=True))


@pytest.mark.parametrize("kind", [{}, {"storage": "int8"}, {"fusion": "mean"}, {"dtype": torch.bfloat16}])
def test_feature_maps_equal_features_of_splat(kind: dict[str, Any], backend: str) -> None:
    cameras = testing.random_cameras(torch.Generator().manual_seed(1), 3, (12, 20))
    with mk.use_backend(backend):
        cache = room(**kind)
        read, bare = cache.splat(cameras), cache.splat(cameras, features=False)
        assert bare.features.shape == (3, 0, 12, 20)
        assert bare.features.dtype == read.features.dtype
        assert_same(bare._replace(features=cache.feature_maps(bare.index)), read)
        assert 0 < int(read.mask.sum()) < read.mask.numel(), "holes and what is none"


def room(n: int = 3000, **options: Any) -> VoxelCache:
    g = torch.Generator().manual_seed(0)
    cache = VoxelCache(**({"voxel_size": 0.05, "channels": 5} | options))
    features = torch.randn(n, 5, generator=g).to(cache.dtype)
    cache.insert(testing.random_points(g, "room", n), features, torch.rand(n, generator=g) / 10)
    return cache


def test_auto_is_half_the_median_footprint_of_the_first_insert() -> None:
    cache = VoxelCache("auto", 1)
    assert len(cache.splat(testing.plain_cameras(1, (3, 4))).depth) == 1
    nothing = cache.insert(torch.zeros(2, 3), torch.zeros(2, 1), torch.tensor([math.nan, -1.0]))
    assert nothing[:4] == (0, 0, 2, 0)
    assert cache.voxel_size is None
    cache.insert(torch.rand(3, 3), torch.zeros(3, 1), torch.tensor([0.25, 0.5, 4.0]))
    assert cache.voxel_size == 0.25
    with pytest.raises(ValueError, match="footprint: expected"):
        VoxelCache("auto", 1).insert(torch.zeros(2, 3), torch.zeros(2, 1))


def test_smallest_footprint_is_kept() -> None:
    for name in READY:
        with mk.use_backend(name):
            cache = VoxelCache(1.0, 1)
            at = torch.full((1, 3), 0.5)
            for stamp, (value, width) in enumerate([(1.0, 0.5), (2.0, 0.25), (3.0, 0.25), (4.0, 0.3)]):
                cache.insert(at, torch.tensor([[value]]), torch.tensor([width]), stamp=stamp)
            assert cache.features().item() == 2.0
            assert cache.stamp.tolist() == [1]


def test_the_same_points_again_add_nothing() -> None:
    g = torch.Generator().manual_seed(0)
    xyz, features = testing.random_points(g, "room", 500), torch.randn(500, 5, generator=g)
    cache = VoxelCache(0.1, 5)
    first, again = cache.insert(xyz, features), cache.insert(xyz, features)
    assert first.added + first.merged == 500
    assert again[:4] == (0, 500, 0, 0)


def test_points_out_of_range_are_counted_and_never_wrapped() -> None:
    cache = VoxelCache(1.0, 1)
    edge = float(2**20)
    xyz = torch.tensor(
        [[edge, 0, 0], [-edge, 0, 0], [edge - 1, 0, 0], [0, math.nan, 0], [0, 0, math.inf], [3e38, 0, 0]]
    )
    assert cache.insert(xyz, torch.zeros(6, 1))[:4] == (2, 0, 4, 0)


@pytest.mark.parametrize("eviction", ["oldest", "untouched"])
def test_a_budget_of_rows_holds(eviction: str) -> None:
    cache = VoxelCache(0.01, 1, max_rows=100, eviction=eviction)
    g = torch.Generator().manual_seed(0)
    evicted = 0
    for stamp in range(30):
        xyz = torch.rand(20, 3, generator=g) + torch.tensor([stamp, 0.0, 0.0])
        before = len(cache)
        counts = cache.insert(xyz, torch.full((20, 1), float(stamp)), stamp=stamp)
        assert len(cache) <= 100
        assert before + counts.added - counts.evicted == len(cache)
        assert (counts.remap is not None) == (counts.evicted > 0)
        evicted += counts.evicted
    assert evicted == cache.memory_stats()["evicted"] > 0
    assert int(cache.stamp.min()) > 20, "the oldest go first"
    with pytest.raises(ValueError, match="xyz: expected points in at most 100 voxels"):
        cache.insert(torch.rand(500, 3, generator=g), torch.zeros(500, 1))


def test_touched_rows_are_kept() -> None:
    cache = VoxelCache(1.0, 1)
    cache.insert(torch.arange(10.0)[:, None].expand(10, 3).contiguous(), torch.arange(10.0)[:, None], stamp=1)
    cache.touch(torch.tensor([[0, 3], [-1, 7]]), 2)
    remap = cache.evict(max_rows=3, eviction="untouched")
    assert cache.features()[:, 0].tolist() == [0.0, 3.0, 7.0]
    assert remap.tolist() == [0, -1, -1, 1, -1, -1, -1, 2, -1, -1]


def test_farthest_rows_are_evicted_first() -> None:
    cache = VoxelCache(1.0, 1)
    cache.insert(torch.arange(10.0)[:, None].expand(10, 3).contiguous(), torch.arange(10.0)[:, None])
    cache.evict(max_rows=2, eviction="farthest", position=torch.tensor([6.0, 6.0, 6.0]))
    assert cache.features()[:, 0].tolist() == [6.0, 7.0]


def test_a_byte_budget_counts_every_byte() -> None:
    cache = room(20_000)
    cache.evict(max_bytes=100_000)
    assert 80_000 < cache.nbytes <= 100_000
    assert cache.nbytes == sum(t.untyped_storage().nbytes() for _, t in cache.state.tensors())
    assert cache.memory_stats()["nbytes"] == cache.nbytes


def test_shrink_to_fit_releases_capacity() -> None:
    cache = room(1000)
    cache.insert(torch.rand(100, 3) + 5, torch.zeros(100, 5))
    before, bytes_before = snapshot(cache), cache.nbytes
    cache.shrink_to_fit()
    assert cache.nbytes < bytes_before
    assert cache.state.capacity == len(cache)
    assert same_bits(before["features"], snapshot(cache)["features"])


def test_carving_removes_rows_in_free_space() -> None:
    """A box in front of a wall is taken away: its rows are removed, those of the wall are kept."""
    cameras = Cameras(torch.tensor([[20.0, 0, 20], [0, 20.0, 15], [0, 0, 1]]), torch.eye(4), (30, 40))
    wall, box = torch.full((1, 30, 40), 4.0), torch.full((1, 30, 40), 4.0)
    box[:, 10:20, 10:20] = 2.0
    p = unproject(box, torch.zeros(1, 3, 30, 40), cameras)
    cache = VoxelCache(0.01, 3)
    cache.insert(p.xyz, p.features, p.footprint)
    remap = cache.carve(wall, cameras, 0.05)
    assert (remap < 0).sum() == 100
    assert bool((cache.xyz[:, 2] == 4.0).all())
    assert cache.splat(cameras).mask.sum() == 30 * 40 - 100
    assert cache.memory_stats()["carved"] == 100


def test_failed_allocation_leaves_the_cache_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = room()
    before, empty = snapshot(cache), torch.empty

    def refuse(*shape: Any, **options: Any) -> Tensor:
        if options.get("dtype") == torch.float32 and shape and isinstance(shape[0], tuple) and shape[0][-1:] == (5,):
            raise MemoryError("no room")
        return empty(*shape, **options)

    monkeypatch.setattr(torch, "empty", refuse)
    with pytest.raises(torch.OutOfMemoryError, match="no room"):
        cache.insert(torch.rand(3000, 3) + 9, torch.zeros(3000, 5))
    monkeypatch.undo()
    assert all(same_bits(a, b) for a, b in zip(before.values(), snapshot(cache).values(), strict=True))
    assert cache.insert(torch.rand(10, 3) + 9, torch.zeros(10, 5)).added > 0


def test_int8_size_and_error() -> None:
    plain, small = room(channels=5), room(storage="int8")
    assert plain.state.features.nbytes == 4 * small.state.features.nbytes
    error = (plain.features() - small.features()).abs().amax(1)
    assert bool((error <= plain.features().abs().amax(1) / 127 / 2 * 1.0001).all())


def test_mean_rounds_once() -> None:
    """In bfloat16, 1 + 255 more ones would stall at 256 halves; the sum is float32."""
    for name in READY:
        with mk.use_backend(name):
            cache = VoxelCache(1.0, 1, dtype=torch.bfloat16, fusion="mean")
            values = torch.full((1000, 1), 3.0, dtype=torch.bfloat16)
            cache.insert(torch.full((1000, 3), 0.5), values)
            cache.insert(torch.full((1000, 3), 0.5), values)
            assert cache.features().item() == 3.0
            assert cache.state.count is not None
            assert cache.state.count.tolist()[:1] == [2000]


def test_empty_caches_and_calls() -> None:
    for name in READY:
        with mk.use_backend(name):
            cache = VoxelCache(0.1, 4)
            assert not cache.splat(testing.plain_cameras(2, (3, 4))).mask.any()
            assert cache.insert(torch.zeros(0, 3), torch.zeros(0, 4))[:4] == (0, 0, 0, 0)
            assert cache.evict(max_rows=0).shape == (0,)
            assert cache.carve(torch.ones(2, 3, 4), testing.plain_cameras(2, (3, 4))).shape == (0,)
            assert cache.features().shape == (0, 4)
            cache.shrink_to_fit()
            cache.insert(torch.zeros(1, 3), torch.zeros(1, 4))
            assert cache.splat(testing.plain_cameras(0, (3, 4))).features.shape == (0, 4, 3, 4)


def test_clones_are_independent() -> None:
    cache = room()
    copy = cache.clone()
    copy.evict(max_rows=5)
    assert len(cache) > 5
    assert cache.to("cpu") is cache


def test_reading_compiles_into_one_graph(backend: str) -> None:
    torch.compiler.reset()
    cameras = testing.random_cameras(torch.Generator().manual_seed(1), 2, (6, 9))
    for options in ({}, {"storage": "int8"}, {"fusion": "mean"}):
        cache = room(**options)
        compiled = torch.compile(lambda views, cache=cache: cache.splat(views), fullgraph=True, backend="aot_eager")
        with mk.use_backend(backend):
            assert_same(compiled(cameras), cache.splat(cameras))
            cache.insert(torch.rand(50, 3), torch.zeros(50, 5))
            assert_same(compiled(cameras), cache.splat(cameras))


@pytest.mark.parametrize("options", [{}, {"storage": "int8"}, {"fusion": "mean"}])
def test_splat_constructs_its_result_in_one_call(options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Dynamo of torch 2.11 does not trace `_replace` of a named tuple that is made of an operation's results."""
    cameras, cache = testing.plain_cameras(1, (6, 9)), room(**options)
    monkeypatch.delattr(type(cache.splat(cameras)), "_replace")
    for features in (True, False):
        cache.splat(cameras, features=features)


@pytest.mark.usefixtures("native")
@settings(max_examples=examples(150), suppress_health_check=ALLOW)
@given(scenario=scenarios(), seed=SEEDS)
def test_culling_changes_nothing_when_most_rows_are_out_of_view(scenario: Scenario, seed: int) -> None:
    """Most rows are in no view."""
    g = torch.Generator().manual_seed(seed)
    cameras = testing.random_cameras(g, seed % 4, (6, 9))
    cache = scenario.cache()
    n = seed % 9000
    xyz = torch.randn(n, 3, generator=g) * 10.0 ** (seed % 3)
    cache.voxel_size = cache.voxel_size or 0.1
    try:
        cache.insert(xyz, torch.zeros(n, cache.channels, dtype=cache.dtype), torch.rand(n, generator=g))
    except ValueError:  # more than the budget allows
        return
    with mk.use_backend("cpp"):
        assert_same(cache.splat(cameras), cache.splat(cameras, cull=False))
