# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Properties of the functions of csrc/common, one by one."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import FLOATS, SEEDS, examples, f32, fixture_is_pure

from mirage_kernels import testing
from mirage_kernels.cameras import project

TAME = st.floats(-1e3, 1e3, width=32)
POSITIVE = st.floats(2.0**-126, 2.0**126, width=32)
AXES = st.tuples(*[st.one_of(st.integers(0, 2**21 - 1), st.integers(2**20 - 9, 2**20 + 9))] * 3)


@given(FLOATS)
@fixture_is_pure
def test_is_finite(c: ModuleType, x: float) -> None:
    assert c.is_finite(x) == math.isfinite(x)


@given(st.integers(-(2**40), 2**40), st.integers(1, 2**20))
@fixture_is_pure
def test_ceil_div(c: ModuleType, a: int, b: int) -> None:
    assert c.ceil_div(a, b) == -(-a // b)


@given(POSITIVE, POSITIVE, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
@fixture_is_pure
def test_keys_order_by_depth_then_index(c: ModuleType, z1: float, z2: float, n1: int, n2: int) -> None:
    a, b = c.depth_key(z1, n1), c.depth_key(z2, n2)
    assert (a < b) == ((z1, n1) < (z2, n2))
    assert (c.key_depth(a), c.key_index(a)) == (z1, n1)
    assert 0 < a < c.EMPTY_KEY


@given(st.one_of(FLOATS, TAME), st.one_of(POSITIVE, st.sampled_from([1.0, 2.0, f32(1 / f32(0.03))])))
@fixture_is_pure
def test_voxel_axis(c: ModuleType, x: float, inverse: float) -> None:
    check_voxel_axis(c, x, inverse)


@given(st.one_of(st.integers(-(2**20) - 2, 2**20 + 2), st.integers(-3, 3)), st.integers(-2, 2))
@fixture_is_pure
def test_voxel_axis_at_the_very_border(c: ModuleType, voxel: int, steps: int) -> None:
    """A coordinate that ends on a voxel's face, give or take a few units in the last place."""
    for inverse in (1.0, 0.125, f32(1 / f32(0.03))):
        x = np.float32(voxel / inverse)
        for _ in range(abs(steps)):
            x = np.nextafter(x, np.float32(math.copysign(math.inf, steps)))
        check_voxel_axis(c, float(x), inverse)


def check_voxel_axis(c: ModuleType, x: float, inverse: float) -> None:
    with np.errstate(all="ignore"):
        cell = float(np.floor(np.float32(x) * np.float32(inverse)))
    axis = c.voxel_axis(x, inverse)
    assert axis == int(cell) + 2**20 if -(2.0**20) <= cell < 2.0**20 else axis >= 2**21


@given(AXES, AXES)
@fixture_is_pure
def test_keys_pack_and_morton_interleaves(c: ModuleType, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y, z = a
    key = c.voxel_key(x, y, z)
    assert key == x << 42 | y << 21 | z
    assert c.axes_of(key) == [x, y, z]
    code = sum((axis >> bit & 1) << (3 * bit + place) for bit in range(21) for place, axis in enumerate((z, y, x)))
    assert c.morton(key) == code
    assert c.axes_of_morton(code) == [x, y, z]
    # the axis whose highest differing bit is highest decides, x before y before z
    first = max(range(3), key=lambda axis: ((a[axis] ^ b[axis]).bit_length(), -axis))
    assert (code < c.morton(c.voxel_key(*b))) == (a[first] < b[first])


@given(AXES, st.lists(st.tuples(*[st.integers(-40, 40)] * 3), min_size=1, max_size=9), st.booleans())
@fixture_is_pure
def test_short_codes(c: ModuleType, a: tuple[int, int, int], steps: list[tuple[int, int, int]], home: bool) -> None:
    """Voxels near each other, anywhere or on both sides of the origin."""
    center = (2**20,) * 3 if home else a
    axes = [tuple(min(max(x + d, 0), 2**21 - 1) for x, d in zip(center, step, strict=True)) for step in steps]
    codes = [c.morton(c.voxel_key(*voxel)) for voxel in axes]
    bits, brief, back = c.short_codes([c.voxel_key(*voxel) for voxel in axes])
    assert back == codes
    assert max(brief) < 2**bits
    assert sorted(brief) == [code for _, code in sorted(zip(codes, brief, strict=True))]
    assert not home or bits <= 3 * 7  # 40 has six bits, and there is the side


@given(AXES, st.integers(6, 40))
@fixture_is_pure
def test_home_slot(c: ModuleType, axes: tuple[int, int, int], log_slots: int) -> None:
    x, y, z = axes
    h = ((x >> 2) << 38 | (y >> 2) << 19 | (z >> 2)) * 0x9E3779B97F4A7C15 % 2**64
    h = (h ^ h >> 32) * 0xD6E8FEB86659FD93 % 2**64
    block = (h ^ h >> 32) % (2**log_slots // 64)
    inner = sum((axis >> 1) % 2 << 5 - n | axis % 2 << 2 - n for n, axis in enumerate(axes))  # Morton order
    assert c.home_slot(c.voxel_key(x, y, z), 2**log_slots) == block * 64 + inner


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bit_floats_are_torchs(c: ModuleType, dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    words = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16)
    floats = getattr(c, f"{name}_to_float")(words.numpy().view(np.uint16))
    np.testing.assert_array_equal(floats, words.view(dtype).float().numpy())
    # back: every value itself, the midpoints to both neighbors, a little beside them, and numbers of every size
    exact = words.view(dtype).float()
    g = torch.Generator().manual_seed(0)
    wild = torch.randint(-(1 << 31), (1 << 31) - 1, (200_000,), generator=g).to(torch.int32).view(torch.float32)
    middle = (exact[1:].double() + exact[:-1].double()).float() / 2
    beside = torch.nextafter(middle, torch.full_like(middle, math.inf))
    below = torch.nextafter(middle, torch.full_like(middle, -math.inf))
    values = torch.cat([exact, middle, beside, below, wild])
    rounded = getattr(c, f"float_to_{name}")(values.numpy()).view(np.int16)
    back = torch.from_numpy(rounded).view(dtype)
    expected = values.to(dtype)
    assert torch.equal(back.isnan(), expected.isnan())
    number = ~expected.isnan()
    assert testing.same_bits(back[number], expected[number])


@given(SEEDS, TAME, TAME, TAME)
@fixture_is_pure
def test_project_is_the_reference(c: ModuleType, seed: int, x: float, y: float, z: float) -> None:
    cameras = testing.random_cameras(torch.Generator().manual_seed(seed), 1, (6, 9))
    k, m = cameras.intrinsics[0], cameras.world2cam[0]
    lens = [k[0, 0], k[1, 1], k[0, 2], k[1, 2]]
    u, v, depth, inverse = project(torch.tensor([[x, y, z]]), cameras.world2cam, cameras.intrinsics)
    got = torch.tensor(c.project(m.flatten().tolist(), lens, x, y, z))
    assert testing.same_bits(got, torch.cat([u[0], v[0], depth[0], inverse[0]]))


@given(FLOATS, FLOATS, FLOATS, st.integers(1, 50), st.integers(1, 50))
@fixture_is_pure
def test_cell_of(c: ModuleType, u: float, v: float, z: float, h: int, w: int) -> None:
    inside = f32(1e-6) < z < math.inf and 0 <= u < w and 0 <= v < h
    assert c.cell_of(u, v, z, h, w) == (math.floor(v) * w + math.floor(u) if inside else -1)


@given(st.integers(0, 40), st.integers(0, 40), POSITIVE)
@fixture_is_pure
def test_lift_is_written_in_this_order(c: ModuleType, i: int, j: int, z: float) -> None:
    f = np.float32
    fx, fy, cx, cy = f(3.7), f(5.1), f(4.2), f(2.9)
    with np.errstate(over="ignore"):
        x = ((f(j) + f(0.5)) - cx) * (f(1) / fx) * f(z)
        y = ((f(i) + f(0.5)) - cy) * (f(1) / fy) * f(z)
    assert c.lift([fx, fy, cx, cy], i, j, z) == [float(x), float(y), z]


@given(SEEDS)
@settings(max_examples=examples(600), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_box_is_rejected_only_when_nothing_in_it_is_drawn(c: ModuleType, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    scale = 10.0 ** (torch.randint(-6, 7, (), generator=g).item() if seed % 2 else 0)
    cameras = testing.random_cameras(g, 1, (6, 9), near_origin=0.3 * scale)
    k, m = cameras.intrinsics[0], cameras.world2cam[0].flatten().tolist()
    lens = [k[0, 0].item(), k[1, 1].item(), k[0, 2].item(), k[1, 2].item()]
    # points placed by their cell, on the very edges of the grid and around them
    u = torch.tensor([0.0, 9, 4, 4, -3, 12])[torch.randint(6, (8,), generator=g)]
    v = torch.tensor([3.0, 3, 0, 6, -3, 9])[torch.randint(6, (8,), generator=g)]
    z = scale * torch.rand(8, generator=g) * torch.tensor([1.0, 1, 1, 1, 1, 1, -1, 1e-6])
    local = torch.stack([(u - k[0, 2]) / k[0, 0] * z, (v - k[1, 2]) / k[1, 1] * z, z], 1)
    xyz = local @ cameras.cam2world[0, :3, :3].T + cameras.cam2world[0, :3, 3]
    extent = scale * torch.rand((), generator=g).item() * (seed % 3)
    for count in (1, 2, 8):
        part = xyz[:count]
        drawn = []
        for point in part.tolist():
            i0, i1, _, _ = c.covered_cells(m, lens, *point, extent, 6, 9)
            drawn.append(i0 <= i1)
        if c.is_culled(m, lens, 6, 9, part.amin(0).tolist(), part.amax(0).tolist(), extent):
            assert not any(drawn)


@given(SEEDS)
@settings(max_examples=examples(400), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_box_is_rejected_only_when_no_disc_and_no_corner_of_it_is_drawn(c: ModuleType, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    scale = 10.0 ** (torch.randint(-6, 7, (), generator=g).item() if seed % 2 else 0)
    cameras = testing.random_cameras(g, 1, (6, 9), near_origin=0.3 * scale)
    k, m = cameras.intrinsics[0], cameras.world2cam[0].flatten().tolist()
    lens = [k[0, 0].item(), k[1, 1].item(), k[0, 2].item(), k[1, 2].item()]
    radius = f32((0.7, 3.0, 1e3)[seed % 3])
    corners = seed % 5 == 0
    reach = f32(0.5 if corners else radius)
    # as far beside the grid as still touches it, give or take a rounding
    u = torch.tensor([-reach, 9 + reach, 0.5 - reach, 8.5 + reach, 4])[torch.randint(5, (8,), generator=g)]
    v = torch.tensor([-reach, 6 + reach, 0.5 - reach, 5.5 + reach, 3])[torch.randint(5, (8,), generator=g)]
    z = scale * torch.rand(8, generator=g) * torch.tensor([1.0, 1, 1, 1, 1, 1, -1, 1e-6])
    local = torch.stack([(u - k[0, 2]) / k[0, 0] * z, (v - k[1, 2]) / k[1, 1] * z, z], 1)
    xyz = local @ cameras.cam2world[0, :3, :3].T + cameras.cam2world[0, :3, 3]
    cells = [(i, j) for i in range(6) for j in range(9)]
    for count in (1, 2, 8):
        part, drawn = xyz[:count], False
        for point in part.tolist():
            at_u, at_v, depth, _ = c.project(m, lens, *point)
            if corners:
                drawn |= any(cell >= 0 for cell, _ in c.bilinear_taps(at_u, at_v, depth, 6, 9))
            else:
                covered = any(c.disc_covers(at_u, at_v, radius, *cell) for cell in cells)
                drawn |= depth > f32(1e-6) and (covered or c.cell_of(at_u, at_v, depth, 6, 9) >= 0)
        margin = 1.0 if corners else radius
        if c.is_culled(m, lens, 6, 9, part.amin(0).tolist(), part.amax(0).tolist(), 0.0, margin=margin):
            assert not drawn


def test_boxes_out_of_view_are_rejected(c: ModuleType) -> None:
    pose, lens = [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], [4.0, 4, 4.5, 3]
    behind, left, ahead = [(-1, -1, -3), (1, 1, -1)], [(-9, -1, 1), (-8, 1, 2)], [(-1, -1, 1), (1, 1, 2)]
    assert c.is_culled(pose, lens, 6, 9, *behind, 0.0)
    assert c.is_culled(pose, lens, 6, 9, *left, 0.0)
    assert not c.is_culled(pose, lens, 6, 9, *left, 8.0)
    assert c.is_culled(pose, lens, 6, 9, *left, 0.0, margin=11.0)  # at most at column 4.5 - 4 * 8 / 2
    assert not c.is_culled(pose, lens, 6, 9, *left, 0.0, margin=12.0)
    assert not c.is_culled(pose, lens, 6, 9, *ahead, 0.0)
    assert c.is_culled(pose, lens, 6, 9, *left, math.nan), "an extent that is not a number leaves a point"
    for value in (math.inf, 3e38):
        assert not c.is_culled(pose, lens, 6, 9, *left, value)
        assert not c.is_culled(pose, lens, 6, 9, left[0], (-8, 1, value), 0.0)
    assert c.is_culled(pose, lens, 6, 9, (math.inf,) * 3, (-math.inf,) * 3, 0.0), "a box without a finite point"
