# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Views resampled at the centers of their cells."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import _inputs, check
from ...cameras import Cameras, check_cameras
from .splat_blend_operators import blended_maps, offsets_of_cells


def cell_offsets(xyz: Tensor, index: Tensor, cameras: Cameras) -> Tensor:
    """Return where in its cell the rendered point of every cell lies: what :func:`splat` rounds away.

    A model that is given the offsets knows the position of a feature to a fraction of a cell. The result is the same on
    every backend, device and number of threads. It has no gradient, and the function does not wait for the device.

    Args:
        xyz: (N, 3) float32, or float64 that is rounded to float32 once; world units.
        index: (V, h, w) int64, point of every cell, as :func:`splat` returns it; a hole where it is not 0 to N - 1.
        cameras: V cameras over (h, w), those of the view.

    Returns:
        (V, 2, h, w) float32, in cells: (u - (j + 1/2), v - (i + 1/2)) in cell (i, j), of a point that is projected to
        (u, v); 0 in holes. Points rendered as squares or discs are up to their size away from a cell they cover.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: an argument has the wrong shape or device.

    Example:
        >>> import torch
        >>> from mirage_kernels import Cameras, cell_offsets, splat
        >>> camera = Cameras(torch.tensor([[4.0, 0, 2], [0, 4, 0.5], [0, 0, 1]]), torch.eye(4), size=(1, 4))
        >>> xyz = torch.tensor([[0.25, 0.0, 2.0]])
        >>> cell_offsets(xyz, splat(xyz, None, camera).index, camera).tolist()
        [[[[0.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, 0.0]]]]
        >>> xyz = torch.tensor([[0.375, 0.0, 2.0]])
        >>> cell_offsets(xyz, splat(xyz, None, camera).index, camera)[0, 0].tolist()
        [[0.0, 0.0, 0.25, 0.0]]
    """
    dims: check.Dims = {}
    xyz = _inputs.geometry("xyz", xyz, ("N", 3), dims)
    check.tensor("index", index, ("V", "h", "w"), dims, (torch.int64,), ("xyz", xyz))
    check_cameras(cameras, "xyz", xyz)
    if (len(cameras), *cameras.size) != tuple(index.shape):
        expected = f"(V={len(cameras)}, h={cameras.size[0]}, w={cameras.size[1]}) like cameras"
        raise check.value_error("index", expected, tuple(index.shape))
    return offsets_of_cells(xyz.detach(), index, cameras)


def blend_cells(features: Tensor, offsets: Tensor, depth: Tensor, *, band: float = 0.05) -> Tensor:
    """Resample rendered features at the centers of their cells.

    :func:`splat` shows a point in the cell that it lands in, up to half a cell away from the cell's center. Here every
    cell becomes the mean of the points of the nine cells around it, with their bilinear weights at its center: (1 -
    |x|) (1 - |y|) for a point that is x columns and y rows away. Of these, points count that lie in their own cell, and
    whose depth differs from that of the cell by at most ``band`` times. Where the weights sum to 1e-4 or less, and in
    holes, features stay as they are.

    Sums run in float32 in the order of the cells, and the result is the same on every backend, device and number of
    threads. It has no gradient, and the function does not wait for the device.

    Args:
        features: (V, C, h, w) float32, bfloat16 or float16, as :func:`splat` returns them.
        offsets: (V, 2, h, w) float32, as :func:`cell_offsets` returns them.
        depth: (V, h, w) float32, as :func:`splat` returns it; not finite in holes.
        band: relative difference of depths of one surface, 0 to 1e18.

    Returns:
        (V, C, h, w) in the dtype of ``features``.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: an argument has the wrong shape, device or value.

    Example:
        >>> import torch
        >>> from mirage_kernels import Cameras, blend_cells, cell_offsets, splat
        >>> camera = Cameras(torch.tensor([[4.0, 0, 2], [0, 4, 0.5], [0, 0, 1]]), torch.eye(4), size=(1, 4))
        >>> xyz = torch.tensor([[-0.625, 0, 2.0], [-0.125, 0, 2.0], [0.375, 0, 2.0], [0.875, 0, 2.0]])  # 1/4 off
        >>> view = splat(xyz, torch.tensor([[0.0], [4.0], [8.0], [12.0]]), camera)
        >>> view.features.flatten().tolist()
        [0.0, 4.0, 8.0, 12.0]
        >>> blend_cells(view.features, cell_offsets(xyz, view.index, camera), view.depth).flatten().tolist()
        [0.0, 3.0, 7.0, 11.0]
    """
    dims: check.Dims = {}
    check.tensor("features", features, ("V", "C", "h", "w"), dims, check.FEATURE_DTYPES)
    like = ("features", features)
    check.tensor("offsets", offsets, ("V", 2, "h", "w"), dims, like=like)
    check.tensor("depth", depth, ("V", "h", "w"), dims, like=like)
    band = check.number("band", band, 0, 1e18)
    return blended_maps(features.detach(), offsets, depth, band=band)
