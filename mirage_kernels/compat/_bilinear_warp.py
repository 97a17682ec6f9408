# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""GEN3C's bilinear warp: pixels are projected, weighted by their depth, and added to the four cells around them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import check, splat_sum

MAX_DEPTH = 1e4
_DEPTH_WEIGHT_SCALE, _MAX_EXPONENT = 50.0, 80.0
_EPS = 1e-7
_PIXELS_AT_ONCE = 1 << 16


class Warped(NamedTuple):
    """Warped frames (b, c, h, w), masks (b, 1, h, w), depth (b, h, w) and flow (b, 2, h, w), or those of one frame."""

    image: Tensor
    mask: Tensor
    depth: Tensor | None
    flow: Tensor | None

    @classmethod
    def empty(cls, shape: Sequence[int], device: torch.device, *, depth: bool, flow: bool = True) -> Warped:
        """Allocate results for frames of a shape (b, c, h, w), in float32."""
        b, _, h, w = shape
        wanted = (tuple(shape), (b, 1, h, w), (b, h, w) if depth else None, (b, 2, h, w) if flow else None)
        make = functools.partial(torch.empty, dtype=torch.float32, device=device)
        return cls(*(None if size is None else make(size) for size in wanted))  # type: ignore[arg-type]

    def of(self, i: int) -> Warped:
        return Warped(*(None if x is None else x[i] for x in self))  # type: ignore[arg-type]


def matrices(intrinsic: Tensor, world2cam: Tensor) -> Tensor:
    """(b, 3, 4) float32, from world points to (u z, v z, z), computed in float64."""
    return (intrinsic.double() @ world2cam.double()[:, :3]).float()


def relative_matrices(
    world2cam1: Tensor, world2cam2: Tensor, intrinsic1: Tensor, intrinsic2: Tensor
) -> tuple[Tensor, Tensor]:
    """(b, 3, 3) and (b, 3): pixel (x, y) at depth d is projected to (u z, v z, z) = d matrix (x, y, 1) + offset."""
    relative, k = world2cam2.double() @ _inverse("transformation1", world2cam1), intrinsic2.double()
    turn = k @ relative[:, :3, :3] @ _inverse("intrinsic1", intrinsic1)
    return turn.float(), (k @ relative[:, :3, 3:])[..., 0].float()


def _inverse(name: str, matrix: Tensor) -> Tensor:
    inverse: Tensor
    inverse, info = torch.linalg.inv_ex(matrix.double())
    if bool(info.any()):
        raise check.value_error(name, "matrices that have an inverse", matrix.tolist())
    return inverse


def z_depth(distance: Tensor, intrinsic: Tensor) -> Tensor:
    """Convert lengths of rays (b, 1, h, w) to z-depth."""
    h, w = distance.shape[2:]
    axes = [torch.arange(size, dtype=torch.float64, device=distance.device) for size in (h, w)]
    y, x = torch.meshgrid(*axes, indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)]).reshape(3, -1)
    rays = _inverse("intrinsic1", intrinsic) @ pixels
    length: Tensor = rays.norm(dim=1)
    return (distance.double() / length.reshape(-1, 1, h, w)).float()


class Projection(NamedTuple):
    """How the pixels of a frame are projected.

    Attributes:
        planes: returns the coordinates (u z, v z, z) of the pixels of some rows, from the first up to but without the
            last one, as planes (3, n).
        depth: returns the last of these planes, (1, n).
    """

    planes: Callable[[int, int], Tensor]
    depth: Callable[[int, int], Tensor]


def depth_projection(depth: Tensor, matrix: Tensor, offset: Tensor) -> Projection:
    """The projection of pixels with a depth (h, w) by :func:`relative_matrices`."""
    x = torch.arange(depth.shape[1], dtype=torch.float32, device=depth.device)
    depth = torch.nan_to_num(depth.float(), nan=MAX_DEPTH).clamp_(0, MAX_DEPTH)

    def project(matrix: Tensor, offset: Tensor, first: int, last: int) -> Tensor:
        y = torch.arange(first, last, dtype=torch.float32, device=depth.device)
        rays = (matrix[:, :1] * x)[:, None] + (matrix[:, 1:2] * y + matrix[:, 2:])[..., None]
        return rays.mul_(depth[first:last]).add_(offset[:, None, None]).reshape(len(matrix), -1)

    return Projection(functools.partial(project, matrix, offset), functools.partial(project, matrix[2:], offset[2:]))


def world_projection(points: Tensor, matrix: Tensor) -> Projection:
    """The projection of the world points (h, w, 3) of pixels by a matrix (3, 4)."""

    def project(matrix: Tensor, first: int, last: int) -> Tensor:
        return torch.addmm(matrix[:, 3:], matrix[:, :3], points[first:last].reshape(-1, 3).float().T)

    return Projection(functools.partial(project, matrix), functools.partial(project, matrix[2:]))


def _blocks(h: int, w: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows whose planes stay in the processor's cache."""
    rows = max(1, _PIXELS_AT_ONCE // w)
    return ((first, min(first + rows, h)) for first in range(0, h, rows))


def depth_scale(projections: Sequence[Projection], h: int, w: int) -> Tensor:
    """The factor of log1p(z) in the exponent of the weights of frames. Depths that are NaN are ignored."""
    depths = (project.depth(*rows) for project in projections for rows in _blocks(h, w))
    farthest = torch.stack([torch.where(depth > 0, depth, 0).max() for depth in depths]).max()
    return _DEPTH_WEIGHT_SCALE / (farthest.log1p() + _EPS)


def splat_frame(
    frame: Tensor, mask: Tensor | None, project: Projection, scale: Tensor, is_image: bool, out: Warped
) -> None:
    """Warp one frame (c, h, w) with weights (h, w)."""
    c, h, w = frame.shape
    depth = None if out.depth is None else torch.empty(1, h * w, dtype=torch.float32, device=frame.device)
    at, weights = _place(project, mask, scale, (h, w), depth)
    values = frame.float().reshape(c, h * w)
    values = values if depth is None else torch.cat([values, depth])
    if out.flow is not None:
        x, y = (torch.arange(size, dtype=torch.float32, device=frame.device) for size in (w, h))
        torch.sub(at[0].view(h, w), x, out=out.flow[0])
        torch.sub(at[1].view(h, w), y[:, None], out=out.flow[1])
    sums, total = splat_sum(at.T, values.T, (h, w), weights=weights, integer_centers=True)
    known = torch.gt(total, 0, out=out.mask[0])
    hole = 1 - known
    total = total + hole  # not 0
    if is_image:
        torch.sub(sums[:c], hole, out=out.image).div_(total).clamp_(-1, 1)
    else:
        torch.div(sums[:c], total, out=out.image)
    if out.depth is not None:
        torch.div(sums[c], total, out=out.depth)


def _place(
    project: Projection, mask: Tensor | None, scale: Tensor, size: tuple[int, int], depth: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The coordinates (u, v) of all pixels, (2, h w), and their weights, (h w,), 0 behind the camera.

    Their depths are written to ``depth`` (1, h w).
    """
    h, w = size
    at = torch.empty(2, h * w, dtype=torch.float32, device=scale.device)
    weights, zero = torch.empty_like(at[0]), at.new_zeros(())
    for first, last in _blocks(h, w):
        planes, pixels = project.planes(first, last), slice(first * w, last * w)
        z, uv, weight = planes[2], at[:, pixels], weights[pixels]
        torch.div(planes[:2], z + _EPS, out=uv)
        exponent = (z.clamp(min=0).log1p_() * scale).clamp_(max=_MAX_EXPONENT)
        torch.where(z > 0, exponent.exp_().add_(_EPS).reciprocal_(), zero, out=weight)  # also where z is NaN
        if mask is not None:
            weight *= mask[first:last].reshape(-1)
        if depth is not None:
            depth[0, pixels] = z
        # Both cells of an axis are the pixel itself where a coordinate is an integer.
        for exact in torch.eq(uv, uv.floor(), out=planes[:2]):
            weight.addcmul_(weight, exact)
    return at, weights
