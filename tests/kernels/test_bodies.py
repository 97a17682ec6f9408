# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Properties of the bodies of the operations, which host and device share, one by one."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import FLOATS, examples, f32, fixture_is_pure


@given(
    st.one_of(FLOATS, st.floats(-20, 40, width=32)), st.one_of(FLOATS, st.floats(0, 20, width=32)), st.integers(1, 20)
)
@fixture_is_pure
def test_centers_within(c: ModuleType, at: float, reach: float, size: int) -> None:
    check_centers_within(c, at, reach, size)


@given(st.integers(-2, 22), st.floats(0, 8, width=32), st.integers(-3, 3), st.booleans(), st.integers(1, 20))
@settings(max_examples=examples(500), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_centers_within_at_the_very_border(
    c: ModuleType, cell: int, reach: float, steps: int, left: bool, size: int
) -> None:
    """A square that ends on a cell's center, give or take a few units in the last place."""
    at = np.float32(cell + 0.5) + np.float32(reach) * (1 if left else -1)
    for _ in range(abs(steps)):
        at = np.nextafter(at, np.float32(math.copysign(math.inf, steps)))
    check_centers_within(c, float(at), reach, size)


def check_centers_within(c: ModuleType, at: float, reach: float, size: int) -> None:
    with np.errstate(all="ignore"):
        lo = (np.float32(at) - np.float32(reach)) - np.float32(0.5)
        hi = (np.float32(at) + np.float32(reach)) - np.float32(0.5)
    covered = [j for j in range(size) if lo <= j <= hi]
    first, last = c.centers_within(at, reach, size)
    assert list(range(first, last + 1)) == covered


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
@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
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
@settings(max_examples=examples(400), suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    assert [(cell, weight) for cell, weight in c.bilinear_taps(u, v, 1.0, 6, 9) if cell >= 0] == expected
    assert all(cell < 0 for cell, _ in c.bilinear_taps(u, v, -1.0, 6, 9)), "behind the camera"


def test_extents_and_limits_by_rule(c: ModuleType) -> None:
    assert c.scaled_extent(0.5, 3.0, 2.0) == 1.5
    assert c.scaled_extent(0.5, 1.0, 2.0) == 1.0
    assert c.scaled_extent(0.5, math.nan, 2.0) == 1.0
    assert c.blend_limit(2.0, 0.5) == 3.0
    assert c.blend_limit(math.inf, 0.5) == 0.0, "a hole mixes nothing"


@given(st.integers(1, 40), st.integers(1, 90))
@fixture_is_pure
def test_every_pixel_has_one_cell(c: ModuleType, cells: int, pixels: int) -> None:
    owner = {}
    for i in range(cells):
        first, last = c.pixels_of(i, cells, pixels)
        owner |= dict.fromkeys(range(first, last), i)
    assert owner == {r: ((2 * r + 1) * cells) // (2 * pixels) for r in range(pixels)}
    if pixels >= cells:  # then the pixel under a cell's center is its own
        assert all(owner[c.pixel_under(i, cells, pixels)] == i for i in range(cells))


@given(st.integers(1, 40), st.integers(1, 90))
@fixture_is_pure
def test_taps_surround_the_center(c: ModuleType, cells: int, pixels: int) -> None:
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


@pytest.mark.parametrize("guess", [True, False])
@given(
    values=st.lists(st.one_of(st.integers(1, 0x7F7FFFFF), st.integers(1, 9)), min_size=1, max_size=60), data=st.data()
)
@fixture_is_pure
def test_select_rank_is_sorting(c: ModuleType, values: list[int], data: st.DataObject, guess: bool) -> None:
    rank = data.draw(st.integers(0, len(values) - 1))
    value, asked = c.select_rank(values, rank, guess)
    assert value == sorted(values)[rank]
    assert asked <= 8 * guess + 31, "there are 31 bits to bisect"


def test_select_rank_guesses_well(c: ModuleType) -> None:
    """On values that are spread evenly; the worst ones there are cost it its guesses."""
    even = list(range(1 << 20, (1 << 20) + 256 * 37, 37))
    asked = [[c.select_rank(even, rank, guess)[1] for rank in range(256)] for guess in (True, False)]
    assert max(asked[0]) <= 2
    assert sum(asked[1]) > 4 * 256
    powers = [1 << k for k in range(31)]
    for rank in range(31):
        assert c.select_rank(powers, rank, True)[1] <= c.select_rank(powers, rank, False)[1] + 8


def test_enough(c: ModuleType) -> None:
    assert c.enough(1, 0, 4, 1, 0.0)
    assert not c.enough(0, 0, 0, 1, 1.0)
    assert not c.enough(3, 1, 4, 1, 0.0)
    assert c.enough(3, 1, 4, 1, 0.25)
    assert not c.enough(1, 0, 4, 2, 0.0)


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
def test_iou_is_one_division(c: ModuleType, common: int, only_a: int, only_b: int) -> None:
    either = min(common + only_a + only_b, 2**24)
    common = min(common, either)
    expected = float(np.float32(common) / np.float32(either)) if either else 0.0
    assert c.iou(common, common, either) == expected
