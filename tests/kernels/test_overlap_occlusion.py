# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Visibility with occlusion, and of the first points of a cloud, against loops over points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from every_backend import EveryBackend, run_reference
from torch import Tensor

from mirage_kernels import Cameras, testing, visible
from mirage_kernels.testing import same_bits


def sets_of(bits: Tensor) -> list[set[int]]:
    return [{64 * w + b for w, word in enumerate(row) for b in range(64) if word >> b & 1} for row in bits.tolist()]


def expected_sets(
    xyz: Tensor, cameras: Cameras, groups: Tensor, number: int, valid: Tensor, count: list[int], occlusion: bool
) -> list[set[int]]:
    uv, depth, inside = cameras.project(xyz)
    result = []
    for v in range(len(cameras)):
        nearest: dict[tuple[int, int], tuple[float, int]] = {}
        seen = set()
        for n in range(count[v]):
            if not inside[v, n] or not valid[n]:
                continue
            cell = (int(uv[v, n, 0]), int(uv[v, n, 1]))
            nearest[cell] = min(nearest.get(cell, (np.inf, n)), (float(depth[v, n]), n))
            seen.add(n)
        if occlusion:
            seen = {n for _, n in nearest.values()}
        result.append({int(groups[n]) for n in seen if 0 <= groups[n] < number})
    return result


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("occlusion", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("n", [0, 1, 63, 300])
def test_sets_equal_a_loop(n: int, counted: bool, grouped: bool, occlusion: bool, every_backend: EveryBackend) -> None:
    g = torch.Generator().manual_seed(n)
    xyz, cameras = testing.random_points(g, "room", n), testing.plain_cameras(3, (5, 9))
    xyz[: n // 10] = torch.nan
    number = 70 if grouped else n
    groups = torch.randint(-2, number + 2, (n,), generator=g) if grouped else torch.arange(n)
    valid = torch.rand(n, generator=g) < 0.8
    count = torch.randint(0, n + 1, (3,), generator=g).tolist() if counted else [n] * 3
    options: dict[str, Any] = {"groups": groups, "num_groups": number} if grouped else {}
    options |= {"count": count} if counted else {}
    call = lambda: (visible(xyz, cameras, valid=valid, occlusion=occlusion, **options),)  # noqa: E731
    (bits,) = run_reference(call)
    assert bits.shape == (3, -(-number // 64))
    assert sets_of(bits) == expected_sets(xyz, cameras, groups, number, valid, count, occlusion)
    for name, (result,) in every_backend(call):
        assert same_bits(result, bits), name


def test_a_wall_hides_what_is_behind() -> None:
    camera = testing.plain_cameras(1, (4, 4))[0]
    near = torch.stack([(camera.centers[0] + camera.cam2world[0, :3, :3] @ torch.tensor(p)) for p in
                        ([0.0, 0, 1], [0.0, 0, 2])])  # fmt: skip
    assert sets_of(visible(near, camera)) == [{0, 1}]
    assert sets_of(visible(near, camera, occlusion=True)) == [{0}]
    assert sets_of(visible(near.flip(0), camera, occlusion=True)) == [{1}]
    # A frame that saw the cloud when it had one point.
    assert sets_of(visible(near.flip(0), camera, occlusion=True, count=torch.tensor([1]))) == [{0}]


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"count": 3}, TypeError, "count: expected 3 integers, one for each camera, got int"),
    ({"count": [1, 2]}, ValueError, "count: expected 3 integers, one for each camera, got 2"),
    ({"count": [1, 2, 8]}, ValueError, r"count\[2\]: expected 0 to 7, got 8"),
    ({"count": [1, 2, -1]}, ValueError, r"count\[2\]: expected 0 to 7, got -1"),
    ({"count": torch.rand(3)}, TypeError, r"count\[0\]: expected an integer, got float"),
    ({"count": torch.zeros(3, device="meta")}, TypeError, "count: expected 3 integers, one for each camera, got Tens"),
    ({"occlusion": 1}, TypeError, "occlusion: expected a bool, got int"),
])  # fmt: skip
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        visible(torch.rand(7, 3), testing.plain_cameras(3, (5, 9)), **options)
