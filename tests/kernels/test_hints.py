# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A warning names the convention in which empty views would not be empty."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from mirage_kernels import Cameras, _hints, splat

SIZE = (24, 32)
K = torch.tensor([[24.0, 0, 16], [0, 24, 12], [0, 0, 1]])
FLIP = torch.diag(torch.tensor([1.0, -1, -1, 1]))


@pytest.fixture(autouse=True)
def first_call() -> Iterator[None]:
    """Let each test make the first call of a process."""
    before = _hints.is_pending, _hints._calls
    _hints.is_pending, _hints._calls = True, 0
    yield
    _hints.is_pending, _hints._calls = before


def pose() -> Tensor:
    """A camera 10 to the right of the origin that looks back along the world's x axis, to the left."""
    m = torch.eye(4)
    m[:3, :3] = torch.tensor([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])
    m[0, 3] = 10
    return m


def in_view() -> Tensor:
    local = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.8, 3]) + torch.tensor(
        [-0.5, -0.4, 2.0]
    )
    return local @ pose()[:3, :3].T + pose()[:3, 3]


CONVENTIONS = {
    "with the axes of OpenGL, y up and z backward; see Cameras.from_opengl": pose() @ FLIP,
    "as world-to-camera poses; see Cameras.from_world2cam": torch.linalg.inv(pose()),
    "as world-to-camera poses with the axes of OpenGL": FLIP @ torch.linalg.inv(pose()),
}


@pytest.mark.parametrize("reading", CONVENTIONS)
@pytest.mark.parametrize("masked", [False, True])
def test_the_convention_is_named_once(reading: str, masked: bool) -> None:
    xyz, cameras = in_view(), Cameras(K, CONVENTIONS[reading], SIZE)
    valid = torch.ones(200, dtype=torch.bool) if masked else None
    with pytest.warns(UserWarning, match=f"splat: no camera sees a point. .*% of the points .* were read {reading}$"):
        assert not splat(xyz, torch.rand(200, 2), cameras, valid=valid).mask.any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        splat(xyz, torch.rand(200, 2), cameras)


def test_no_call_is_looked_at_after_one_that_shows_a_point() -> None:
    xyz = in_view()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert splat(xyz, torch.rand(200, 2), Cameras(K, pose(), SIZE)).mask.any()
        assert not _hints.is_pending
        splat(xyz, torch.rand(200, 2), Cameras(K, pose() @ FLIP, SIZE))


@pytest.mark.parametrize("xyz", [torch.zeros(0, 3), torch.full((5, 3), torch.nan), torch.rand(5, 3) + 1000])
def test_views_that_are_empty_in_every_convention_give_no_warning(xyz: Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(20):
            splat(xyz, torch.rand(len(xyz), 2), Cameras(K, pose(), SIZE))
    assert not _hints.is_pending or len(xyz) == 0
