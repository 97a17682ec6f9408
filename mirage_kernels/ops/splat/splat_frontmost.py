# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Which points of a cloud cameras see: those in front of all others in their cell."""

from __future__ import annotations

from torch import Tensor

from ... import _inputs, check
from ...cameras import NEAR, Cameras, check_cameras
from .splat_frontmost_operators import frontmost_points
from .splat_inputs import check_far
from .splat_operators import check_near


def frontmost(
    xyz: Tensor,
    cameras: Cameras,
    *,
    valid: Tensor | None = None,
    near: float = NEAR,
    far: float | None = None,
    tolerance: float = 0.0,
    cut_off: bool = False,
) -> Tensor:
    """Return which points every camera sees: those whose depth is at most that of the nearest in their cell.

    A point in view is in the cell that it lands in, as :func:`splat` draws points. Of points at the same depth all are
    front-most, where :func:`splat` takes the one with the lowest index. With a ``tolerance``, so are those with depth
    <= depth of the nearest + tolerance, in float32. The result is the same on every backend, device and number of
    threads. It has no gradient, and the function does not wait for the device.

    Args:
        xyz: (N, 3) float32, or float64 that is rounded to float32 once; world units. Points with a coordinate that is
            not finite are in no view.
        cameras: V cameras over one grid (h, w), on the same device. Choose a grid about as coarse as the points are
            dense: through gaps between near points, farther ones are seen.
        valid: (N,) bool; points where it is False are in no view. It may also be uint8 or floating point, where
            whatever is not 0 is True.
        near: world units, 1e-6 to 3e38. Points up to this depth are in no view.
        far: world units, more than ``near``. Points at this depth or beyond are in no view. None: no limit.
        tolerance: world units, at least 0.
        cut_off: whether coordinates are cut off toward zero, as by a conversion to integers, instead of rounded down:
            points less than a cell beyond the left or the upper border are in the first column or row.

    Returns:
        (V, N) bool.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: an argument has the wrong shape, device or value.

    Example:
        >>> import torch
        >>> from mirage_kernels import Cameras, frontmost
        >>> camera = Cameras(torch.tensor([[4.0, 0, 2], [0, 4, 1], [0, 0, 1]]), torch.eye(4), size=(2, 4))
        >>> xyz = torch.tensor([[0.1, 0.1, 2.0], [0.1, 0.1, 1.0], [0.1, 0.1, 1.25], [-0.4, 0.1, 3.0]])
        >>> frontmost(xyz, camera).tolist()
        [[False, True, False, True]]
        >>> frontmost(xyz, camera, tolerance=0.5).tolist()
        [[False, True, True, True]]
    """
    dims: check.Dims = {}
    xyz = _inputs.geometry("xyz", xyz, ("N", 3), dims)
    check_cameras(cameras, "xyz", xyz)
    if len(xyz) >= (1 << 32) - 1:
        raise check.value_error("xyz", "fewer than 2^32 - 1 points", len(xyz))
    if valid is not None:
        valid = _inputs.mask("valid", valid, ("N",), dims, ("xyz", xyz))
    near = check_near(near)
    return frontmost_points(
        xyz,
        cameras,
        valid=valid,
        near=near,
        far=check_far(far, near),
        tolerance=check.number("tolerance", tolerance, 0),
        cut_off=check.flag("cut_off", cut_off),
    )
