# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Properties of the functions that host and device share, one by one."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import SEEDS

from mirage_kernels import testing
from mirage_kernels.cameras import project

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[1] / "csrc"
FLOATS = st.floats(width=32)
TAME = st.floats(-1e3, 1e3, width=32)
POSITIVE = st.floats(2.0**-126, 2.0**126, width=32)
AXES = st.tuples(*[st.one_of(st.integers(0, 2**21 - 1), st.integers(2**20 - 9, 2**20 + 9))] * 3)
fixture_is_pure = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def f32(x: float) -> float:
    return float(np.float32(x))


@pytest.fixture(scope="session")
def c(pytestconfig: pytest.Config) -> ModuleType:
    """The test module, built once per state of the sources."""
    pybind11 = pytest.importorskip("pybind11")
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if not compiler or not CSRC.is_dir():
        pytest.skip("needs a C++ compiler and the sources")
    sources = [HERE / "common_module.cpp", *sorted(CSRC.glob("**/*.h"))]
    state = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    cache = pytestconfig.cache
    assert cache is not None
    library = cache.mkdir("common_module") / f"{state}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not library.exists():
        include = [f"-I{path}" for path in (CSRC, pybind11.get_include(), sysconfig.get_path("include"))]
        flags = [
            "-std=c++20",
            "-O1",
            "-ffp-contract=off",
            "-fvisibility=hidden",
            "-fPIC",
            "-shared",
            "-undefined",
            "dynamic_lookup",
        ]
        flags = flags if os.uname().sysname == "Darwin" else flags[:-2]
        partial = library.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, *flags, *include, str(sources[0]), "-o", str(partial)], check=True)
        partial.rename(library)
    spec = importlib.util.spec_from_file_location("common_module", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


@given(AXES, st.integers(6, 40))
@fixture_is_pure
def test_home_slot(c: ModuleType, axes: tuple[int, int, int], log_slots: int) -> None:
    x, y, z = axes
    h = ((x >> 1) << 40 | (y >> 1) << 20 | (z >> 1)) * 0x9E3779B97F4A7C15 % 2**64
    h = (h ^ h >> 32) * 0xD6E8FEB86659FD93 % 2**64
    block = (h ^ h >> 32) % (2**log_slots // 8)
    assert c.home_slot(c.voxel_key(x, y, z), 2**log_slots) == block * 8 + (x % 2 * 4 + y % 2 * 2 + z % 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bit_floats_are_torchs(c: ModuleType, dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    words = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16)
    floats = getattr(c, f"{name}_to_float")(words.numpy().view(np.uint16))
    np.testing.assert_array_equal(floats, words.view(dtype).float().numpy())
    # back: every value itself, the midpoints to both neighbours, a little beside them, and numbers of every size
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


@given(
    st.one_of(FLOATS, st.floats(-20, 40, width=32)), st.one_of(FLOATS, st.floats(0, 20, width=32)), st.integers(1, 20)
)
@fixture_is_pure
def test_centres_within(c: ModuleType, at: float, reach: float, size: int) -> None:
    check_centres_within(c, at, reach, size)


@given(st.integers(-2, 22), st.floats(0, 8, width=32), st.integers(-3, 3), st.booleans(), st.integers(1, 20))
@settings(max_examples=1000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_centres_within_at_the_very_border(
    c: ModuleType, cell: int, reach: float, steps: int, left: bool, size: int
) -> None:
    """A square that ends on a cell's centre, give or take a few units in the last place."""
    at = np.float32(cell + 0.5) + np.float32(reach) * (1 if left else -1)
    for _ in range(abs(steps)):
        at = np.nextafter(at, np.float32(math.copysign(math.inf, steps)))
    check_centres_within(c, float(at), reach, size)


def check_centres_within(c: ModuleType, at: float, reach: float, size: int) -> None:
    with np.errstate(all="ignore"):
        lo = (np.float32(at) - np.float32(reach)) - np.float32(0.5)
        hi = (np.float32(at) + np.float32(reach)) - np.float32(0.5)
    covered = [j for j in range(size) if lo <= j <= hi]
    first, last = c.centres_within(at, reach, size)
    assert list(range(first, last + 1)) == covered


@given(SEEDS)
@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
        if c.misses(m, lens, 6, 9, part.amin(0).tolist(), part.amax(0).tolist(), extent):
            assert not any(drawn)


@given(SEEDS)
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
                drawn |= any(cell >= 0 for cell, _ in c.touched(at_u, at_v, depth, 6, 9))
            else:
                covered = any(c.disc_covers(at_u, at_v, radius, *cell) for cell in cells)
                drawn |= depth > f32(1e-6) and (covered or c.cell_of(at_u, at_v, depth, 6, 9) >= 0)
        margin = 1.0 if corners else radius
        if c.misses(m, lens, 6, 9, part.amin(0).tolist(), part.amax(0).tolist(), 0.0, margin=margin):
            assert not drawn


@given(
    st.one_of(FLOATS, st.floats(-20, 40, width=32)),
    st.one_of(FLOATS, st.floats(-20, 40, width=32)),
    st.floats(2.0**-10, 40, width=32),
    st.integers(1, 20),
    st.integers(1, 20),
)
@fixture_is_pure
def test_the_range_around_a_disc_leaves_nothing_out(
    c: ModuleType, u: float, v: float, radius: float, h: int, w: int
) -> None:
    i0, i1, j0, j1 = c.cells_around(u, v, radius, h, w)
    for i in range(h):
        for j in range(w):
            x, y = (np.float32(j) + np.float32(0.5)) - np.float32(u), (np.float32(i) + np.float32(0.5)) - np.float32(v)
            with np.errstate(all="ignore"):
                covered = x * x + y * y <= np.float32(radius) * np.float32(radius)
            assert c.disc_covers(u, v, radius, i, j) == covered
            assert not covered or (i0 <= i <= i1 and j0 <= j <= j1)


@given(st.integers(0, 8), st.sampled_from([0.3, 0.5, 1.0, 2.0, 7.25]), st.integers(-3, 3), st.booleans())
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_range_around_a_disc_at_the_very_border(
    c: ModuleType, cell: int, radius: float, steps: int, left: bool
) -> None:
    at = np.float32(cell + 0.5) + np.float32(radius) * (1 if left else -1)
    for _ in range(abs(steps)):
        at = np.nextafter(at, np.float32(math.copysign(math.inf, steps)))
    i0, i1, j0, j1 = c.cells_around(float(at), 3.5, radius, 7, 9)
    if c.disc_covers(float(at), 3.5, radius, 3, cell):
        assert i0 <= 3 <= i1
        assert j0 <= cell <= j1


@given(st.one_of(FLOATS, st.floats(-2, 12, width=32)), st.one_of(FLOATS, st.floats(-2, 9, width=32)), st.booleans())
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_corners_surround_the_point(c: ModuleType, u: float, v: float, border: bool) -> None:
    if border and abs(u) < 20:
        u = f32(round(u) + 0.5)
    one, half = np.float32(1), np.float32(0.5)
    expected = []
    with np.errstate(all="ignore"):
        a, b = np.float32(u) - half, np.float32(v) - half
        near = bool(-1 <= a < 9 and -1 <= b < 6)
        for di, dj in ((0, 0), (0, 1), (1, 0), (1, 1)):
            if not near:
                continue
            j, i = math.floor(a), math.floor(b)
            s, t = a - np.float32(j), b - np.float32(i)
            weight = (s if dj else one - s) * (t if di else one - t)
            if 0 <= i + di < 6 and 0 <= j + dj < 9 and weight > 0:
                expected.append(((i + di) * 9 + j + dj, float(weight)))
    assert [(cell, weight) for cell, weight in c.touched(u, v, 1.0, 6, 9) if cell >= 0] == expected
    assert all(cell < 0 for cell, _ in c.touched(u, v, -1.0, 6, 9)), "behind the camera"


def test_extents_and_limits_by_rule(c: ModuleType) -> None:
    assert c.scaled_extent(0.5, 3.0, 2.0) == 1.5
    assert c.scaled_extent(0.5, 1.0, 2.0) == 1.0
    assert c.scaled_extent(0.5, math.nan, 2.0) == 1.0
    assert c.blend_limit(2.0, 0.5) == 3.0
    assert c.blend_limit(math.inf, 0.5) == 0.0, "a hole mixes nothing"


def test_boxes_out_of_view_are_rejected(c: ModuleType) -> None:
    pose, lens = [1.0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], [4.0, 4, 4.5, 3]
    behind, left, ahead = [(-1, -1, -3), (1, 1, -1)], [(-9, -1, 1), (-8, 1, 2)], [(-1, -1, 1), (1, 1, 2)]
    assert c.misses(pose, lens, 6, 9, *behind, 0.0)
    assert c.misses(pose, lens, 6, 9, *left, 0.0)
    assert not c.misses(pose, lens, 6, 9, *left, 8.0)
    assert c.misses(pose, lens, 6, 9, *left, 0.0, margin=11.0)  # at most at column 4.5 - 4 * 8 / 2
    assert not c.misses(pose, lens, 6, 9, *left, 0.0, margin=12.0)
    assert not c.misses(pose, lens, 6, 9, *ahead, 0.0)
    assert c.misses(pose, lens, 6, 9, *left, math.nan), "an extent that is not a number leaves a point"
    for value in (math.inf, 3e38):
        assert not c.misses(pose, lens, 6, 9, *left, value)
        assert not c.misses(pose, lens, 6, 9, left[0], (-8, 1, value), 0.0)
    assert c.misses(pose, lens, 6, 9, (math.inf,) * 3, (-math.inf,) * 3, 0.0), "a box without a finite point"


@given(st.integers(1, 40), st.integers(1, 90))
@fixture_is_pure
def test_every_pixel_has_one_cell(c: ModuleType, cells: int, pixels: int) -> None:
    owner = {}
    for i in range(cells):
        first, last = c.pixels_of(i, cells, pixels)
        owner |= dict.fromkeys(range(first, last), i)
    assert owner == {r: ((2 * r + 1) * cells) // (2 * pixels) for r in range(pixels)}
    if pixels >= cells:  # then the pixel under a cell's centre is its own
        assert all(owner[c.pixel_under(i, cells, pixels)] == i for i in range(cells))


@given(st.integers(1, 40), st.integers(1, 90))
@fixture_is_pure
def test_taps_surround_the_centre(c: ModuleType, cells: int, pixels: int) -> None:
    for i in range(cells):
        first, second, weight = c.taps_of(i, cells, pixels)
        at = min(max((i + 0.5) * pixels / cells - 0.5, 0), pixels - 1)
        assert 0 <= first <= second < pixels
        assert abs(first + weight * (second - first) - at) < 1e-4
        assert (second == first) or 0 < weight < 1


@given(FLOATS)
@fixture_is_pure
def test_sortable(c: ModuleType, depth: float) -> None:
    usable = 0 < depth < math.inf
    assert c.sortable(depth) == (int(np.float32(depth).view(np.uint32)) if usable else c.UNUSABLE)


@given(st.lists(st.one_of(st.integers(1, 0x7F7FFFFF), st.integers(1, 9)), min_size=1, max_size=60), st.data())
@fixture_is_pure
def test_select_rank_is_sorting(c: ModuleType, values: list[int], data: st.DataObject) -> None:
    rank = data.draw(st.integers(0, len(values) - 1))
    assert c.select_rank(values, rank) == sorted(values)[rank]


@given(st.integers(0, 2**64 - 1))
@fixture_is_pure
def test_count_bits(c: ModuleType, word: int) -> None:
    assert c.count_bits(word) == word.bit_count()


@given(st.one_of(st.integers(-200, 200), st.integers(-(2**63), 2**63 - 1)), st.integers(1, 200))
@fixture_is_pure
def test_bit_of_group(c: ModuleType, group: int, groups: int) -> None:
    assert c.bit_of_group(group, groups) == ((group // 64, 1 << group % 64) if 0 <= group < groups else (0, 0))


@given(st.integers(0, 2**24), st.integers(0, 2**24), st.integers(0, 2**24))
@fixture_is_pure
def test_intersection_over_union_is_one_division(c: ModuleType, common: int, only_a: int, only_b: int) -> None:
    either = min(common + only_a + only_b, 2**24)
    common = min(common, either)
    expected = float(np.float32(common) / np.float32(either)) if either else 0.0
    assert c.intersection_over_union(common, common, either) == expected


def test_enough(c: ModuleType) -> None:
    assert c.enough(1, 0, 4, 1, 0.0)
    assert not c.enough(0, 0, 0, 1, 1.0)
    assert not c.enough(3, 1, 4, 1, 0.0)
    assert c.enough(3, 1, 4, 1, 0.25)
    assert not c.enough(1, 0, 4, 2, 0.0)


@given(st.integers(0, 40), st.integers(0, 40), POSITIVE)
@fixture_is_pure
def test_lift_is_written_in_this_order(c: ModuleType, i: int, j: int, z: float) -> None:
    f = np.float32
    fx, fy, cx, cy = f(3.7), f(5.1), f(4.2), f(2.9)
    with np.errstate(over="ignore"):
        x = ((f(j) + f(0.5)) - cx) * (f(1) / fx) * f(z)
        y = ((f(i) + f(0.5)) - cy) * (f(1) / fy) * f(z)
    assert c.lift([fx, fy, cx, cy], i, j, z) == [float(x), float(y), z]
