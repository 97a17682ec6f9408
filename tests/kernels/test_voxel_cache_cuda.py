# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The CUDA code of voxel_cache on a CPU, against the reference bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import emulated
import pytest
import torch
from cache_steps import Scenario, scenarios
from hypothesis import given, settings
from strategies import examples
from test_voxel_cache import ALLOW, assert_same_logs, record
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import _library, testing
from mirage_kernels.ops.voxel_cache import voxel_cache_reference as reference
from mirage_kernels.ops.voxel_cache.voxel_cache_state import Layout, State
from mirage_kernels.testing import same_bits

FLOATS = [torch.float32, torch.bfloat16, torch.float16]
# as the operations take it, scale and count apart
STATE = ("keys", "xyz", "footprint", "features", "stamp", "table", "boxes0", "boxes1", "boxes2")


@pytest.fixture
def code(cuda_code: emulated.Emulated | None) -> emulated.Emulated:
    if cuda_code is None:
        pytest.skip("needs GCC and the sources")
    return cuda_code


def both(name: str, *args: Any) -> tuple[Any, Any]:
    """Compare results and mutated arguments of an operation between the CUDA code and the reference."""
    results = []
    for namespace in (emulated.NAMESPACE, _library.REFERENCE):
        own = [arg.clone() if isinstance(arg, Tensor) and arg._base is None else arg for arg in args]
        result = _library.overload(namespace, f"voxel_cache_{name}")(*own)
        results.append([*(result if isinstance(result, tuple) else [result]), *own])
    return results[0], results[1]


def assert_both_same(name: str, *args: Any) -> list[Any]:
    result, expected = both(name, *args)
    for number, (a, b) in enumerate(zip(result, expected, strict=True)):
        if isinstance(a, Tensor):
            assert same_bits(a, b), f"{name}: {number}"
    return result


def empty_state(capacity: int, channels: int, dtype: torch.dtype, **options: bool) -> State:
    kinds = {"scaled": False, "counted": False} | options
    state = State.allocate(Layout(channels, dtype, touched=False, device=torch.device("cpu"), **kinds), capacity)
    for _, tensor in state.row_tensors():
        tensor.zero_()
    return state


@settings(max_examples=examples(100), suppress_health_check=ALLOW)
@given(scenario=scenarios())
def test_cuda_code_equals_reference_after_every_step(
    scenario: Scenario, tmp_path: Path, code: emulated.Emulated
) -> None:
    with mk.use_backend("reference"):
        expected = record(scenario, tmp_path)
    with code.use():
        assert_same_logs(record(scenario, tmp_path), expected, "CUDA on a CPU")


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize("fusion", [0, 1, 2])
@pytest.mark.parametrize("length", [1, 17, 1500, 5000])
def test_voxels_with_many_points(length: int, fusion: int) -> None:
    """Segments that are processed by one lane, a warp, and several tiles, with ties, next to short segments."""
    g = torch.Generator().manual_seed(length)
    many = torch.cat([torch.full((length,), 0.5), 1 + torch.rand(700, generator=g) * 40, torch.full((length,), 70.5)])
    xyz = many[torch.randperm(len(many), generator=g)][:, None].expand(-1, 3).contiguous()
    footprint = torch.randint(1, 1 + length, (len(xyz),), generator=g) / 4096
    state = empty_state(8, 1, torch.float32, counted=fusion == 2)
    kept = (state.scale, state.count)
    for rows in (0, 1):
        state.keys[0] = 0x100000 << 42 | 0x100000 << 21 | 0x100000
        state.footprint[0] = 2 / 4096
        _library.overload(_library.REFERENCE, "voxel_cache_index")(
            *(state.keys, state.xyz, state.footprint, state.table, *state.boxes, rows)
        )
        assert_both_same(
            "insert", xyz, xyz[:, :1], *state.insert_arguments, rows, 7, 1.0, 1.0, fusion, footprint, None, *kept
        )


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize("n", [0, 1, 1023, 1024, 1025, 3000, 4500])
def test_points_are_sorted_by_voxel_then_index(n: int) -> None:
    """Fewer points than a tile, several tiles, and more than are sorted tile by tile; some points are skipped."""
    g = torch.Generator().manual_seed(n)
    xyz = torch.randn(n, 3, generator=g)
    xyz[torch.rand(n, generator=g) < 0.1] = torch.nan
    valid = torch.rand(n, generator=g) < 0.9
    state = empty_state(8, 0, torch.float32)
    for each in (None, valid):
        assert_both_same("insert", xyz, xyz[:, :0], *state.insert_arguments, 0, 7, 4.0, 1.0, 0, None, each)


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize("near", [1, 12, 10_000])
def test_table_does_not_depend_on_the_order_of_rows(near: int) -> None:
    """Keys of a small cube compete for the same slots, and later lower rows displace earlier ones."""
    g = torch.Generator().manual_seed(near)
    axes = torch.unique(torch.randint(0, 8 + near, (900, 3), generator=g), dim=0) + (1 << 20)
    axes = axes[torch.randperm(len(axes), generator=g)]
    state = empty_state(len(axes), 0, torch.float32)
    state.keys[:] = axes[:, 0] << 42 | axes[:, 1] << 21 | axes[:, 2]
    state.xyz[:] = torch.randn(state.xyz.shape, generator=g)
    state.footprint[:] = torch.rand(len(axes), generator=g)
    for rows in (0, 1, 64, len(axes)):
        result = assert_both_same("index", state.keys, state.xyz, state.footprint, state.table, *state.boxes, rows)
        assert int((result[4] >= 0).sum()) == rows


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("channels", [1, 6, 48, 80])
@pytest.mark.parametrize("kind", ["plain", "scaled", "counted"])
def test_features_of_any_size_and_alignment(kind: str, channels: int, dtype: torch.dtype) -> None:
    """Rows that are multiples of 16 bytes at aligned addresses, and others."""
    g = torch.Generator().manual_seed(channels)
    xyz, footprint = 2 * torch.rand(300, 3, generator=g), torch.rand(300, generator=g)
    for beside in (0, 1):
        flat = torch.randn(300 * channels + beside, generator=g).to(dtype)
        flat[::5] = -0.0  # a sum that begins with 0 instead of its first point would lose the sign
        features = flat[beside:].view(300, channels)
        stored = {"plain": dtype, "scaled": torch.int8, "counted": torch.float32}[kind]
        state = empty_state(400, channels, stored, **({kind: True} if kind != "plain" else {}))
        fusion = 2 if kind == "counted" else 0
        used = 0
        for points in (slice(0, 120), slice(60, 300)):
            parts = (xyz[points], features[points], footprint[points])
            rule, kept = (1.0, fusion, parts[2]), (state.scale, state.count)
            held = (state.keys, state.footprint, state.table)
            plan, _ = reference.plan(parts[0], parts[1], None, parts[2], *held, used, 4.0, *rule[:2])
            sizes = (len(plan.order), len(plan.key))
            assert_both_same("commit", plan.pack(), *sizes, *parts[:2], *state.insert_arguments, used, 7, *rule, *kept)
            result = assert_both_same("insert", *parts[:2], *state.insert_arguments, used, 7, 4.0, *rule, None, *kept)
            for name, tensor in zip((*STATE, "scale", "count"), (*result[4:13], *result[20:]), strict=True):
                setattr(state, name, tensor)
            used += int(result[1][0])


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize("like", FLOATS)
@pytest.mark.parametrize("stored", [*FLOATS, torch.int8])
@pytest.mark.parametrize(
    ("channels", "size"), [(1, (3, 5)), (48, (8, 16)), (70, (9, 15)), (80, (8, 10)), (128, (1, 64))]
)
def test_decoding_rows_of_any_kind(
    channels: int, size: tuple[int, int], stored: torch.dtype, like: torch.dtype
) -> None:
    g = torch.Generator().manual_seed(channels)
    features = (100 * torch.randn(50, channels, generator=g)).clamp(-127, 127).to(stored)
    scale, count = torch.rand(50, generator=g), torch.randint(1, 9, (50,), generator=g, dtype=torch.int32)
    index = torch.randint(-1, 50, (2, *size), generator=g)
    for kept, divisors in ((None, None), (scale, None), (None, count), (scale, count)):
        assert_both_same("decode", features, kept, divisors, index, torch.empty(0, dtype=like))


@pytest.mark.usefixtures("code")
def test_decoding_copies_every_bit() -> None:
    """Without a scale, the bits of NaN are copied too."""
    bits = torch.randint(-(1 << 31), 1 << 31, (40, 12), generator=torch.Generator().manual_seed(0)).int()
    index = torch.arange(40).reshape(1, 4, 10)
    result = _library.overload(emulated.NAMESPACE, "voxel_cache_decode")(
        bits.view(torch.float32), None, None, index, torch.empty(0)
    )
    assert torch.equal(result.view(torch.int32)[0].flatten(1).T, bits)


@pytest.mark.usefixtures("code")
@pytest.mark.parametrize("views", [0, 1, 3, 40])
def test_carving_by_many_views(views: int) -> None:
    g = torch.Generator().manual_seed(views)
    xyz = testing.random_points(g, "room", 1000)
    cameras = testing.random_cameras(g, views, (6, 9))
    boxes = testing.bounding_boxes(xyz, None)
    for rows in (0, 63, 1000):
        depth = 4 * torch.rand(views, 6, 9, generator=g)
        lenses = (cameras.intrinsics, cameras.world2cam)
        keep = assert_both_same("carve", xyz, depth, *lenses, *boxes, rows, 1.05)[0]
        assert views < 3 or rows < 1000 or 0 < int(keep.sum()) < rows
