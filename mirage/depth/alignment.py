# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Alignment of a frame's depth to the scale of the memory."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras, check, pool_depth

from ..geometry.grids import valid_depth

if TYPE_CHECKING:
    from ..memory import MemoryView

Space = Literal["depth", "inverse"]

TOLERANCE = 0.05  # 5 %, as in the memory's own test for one surface
NUM_HYPOTHESES = 256  # with 50 % outliers, the chance that each of 256 pairs has one is below 1e-31
MAX_SCORED_CELLS = 4096  # cells that each hypothesis is scored on
MAX_ITERATIONS = 50  # of reweighting; the loop stops earlier on convergence
CUTOFF = 4.685  # of Tukey's biweight, in standard deviations: 95 % efficient on Gaussian noise
MIN_SPREAD = 0.05  # interquartile range / median of the depths, below which a shift cannot be told from a scale


class Alignment(NamedTuple):
    """Fit of a frame's depth to the memory's: ``scale * depth + shift``, for depths or for inverse depths.

    Attributes:
        scale: dimensionless.
        shift: in world units, or in inverse world units for ``space="inverse"``; 0 if only the scale was fitted.
        space: whether depths or inverse depths were fitted.
        residual: median of ``|fitted / memory - 1|`` over the inlier cells; NaN without any.
        inliers: fraction of the shared cells whose residual is within the tolerance, 0 to 1.
        cells: number of cells that have a depth in both the frame and the memory.
        accepted: whether the fit is good enough for the frame to be written.
        reason: why the fit was rejected; for an accepted fit, a note if no shift could be fitted, else empty.
    """

    scale: float
    shift: float
    space: Space
    residual: float
    inliers: float
    cells: int
    accepted: bool
    reason: str

    def apply(self, depth: Tensor) -> Tensor:
        """Bring depth to the memory's scale.

        Args:
            depth: (..., H, W) float32; invalid where not finite or not positive.

        Returns:
            The aligned depth, of the same shape; 0 where ``depth`` is invalid or the aligned depth is not positive.

        Raises:
            ValueError: the fit was not accepted.
        """
        if not self.accepted:
            raise ValueError(f"alignment: expected an accepted fit, got a rejected one: {self.reason}")
        valid = valid_depth(depth)
        x = torch.where(valid, depth, 1)
        fitted = self.scale * (1 / x if self.space == "inverse" else x) + self.shift
        valid = valid & (fitted > 0)
        fitted = torch.where(valid, fitted, 1)
        return torch.where(valid, 1 / fitted if self.space == "inverse" else fitted, 0)


def align(
    depth: Tensor,
    camera: Cameras,
    view: MemoryView,
    points: Tensor,
    *,
    mask: Tensor | None = None,
    shift: bool = False,
    space: Space = "depth",
    tolerance: float = TOLERANCE,
    min_cells: int = 64,
    min_inliers: float = 0.5,
    max_residual: float = 0.02,
) -> Alignment:
    """Fit the depth of one frame to the memory.

    Residuals are relative, ``fitted / memory - 1``, because the errors of depth networks and of camera poses grow with
    the distance. The fit has two stages:

    1. On latent cells, with the frame's depth pooled as the memory pools it: RANSAC (Fischler and Bolles 1981) from one
       cell, or from two with a shift, scored by truncated squares (MSAC, Torr and Zisserman 2000).
    2. On all points of the memory, each compared with the pixel it projects to: least squares, reweighted with Tukey's
       biweight. A view shows the nearest point of each cell, so a fit on cells alone would place every frame slightly
       too near, and the error would add up over a video.

    The result is deterministic.

    By default only a scale is fitted, because networks for metric depth are off by a factor. Fitting a shift that does
    not exist costs accuracy, and a shift cannot be found if all depths are similar. Use ``space="inverse"`` for
    networks that predict disparity up to scale and shift.

    Args:
        depth: (H, W) float32, the frame's z-depth; invalid where not finite or not positive.
        camera: the frame's camera, over a grid of any size.
        view: the memory read from that camera before the frame is written, over the latent grid.
        points: (N, 3) float32, all points of the memory (``memory.cache.xyz``).
        mask: (H, W) bool, True for pixels to leave out, such as moving objects.
        shift: whether to fit a shift besides the scale.
        space: whether to fit depths or inverse depths.
        tolerance: largest absolute residual of an inlier.
        min_cells: fewest cells with a depth in both frame and memory.
        min_inliers: smallest fraction of inliers, 0 to 1.
        max_residual: largest median residual of the inliers. For residuals spread evenly over the tolerance it is half
            of the tolerance.

    Returns:
        The fit. If ``accepted`` is False, the frame must not be written, and ``reason`` says why.

    Raises:
        TypeError, ValueError: a shape is wrong, there is not exactly one camera, ``space`` is unknown, or a number is
            not finite or out of range.
    """
    tolerance, max_residual = check.positive("tolerance", tolerance), check.number("max_residual", max_residual, 0)
    min_cells, min_inliers = check.integer("min_cells", min_cells, 0), check.number("min_inliers", min_inliers, 0, 1)
    _check(depth, camera, view, mask, space)
    target = view.depth[0]
    masks = None if mask is None else mask[None]
    pooled = pool_depth(depth[None], (target.shape[0], target.shape[1]), mask=masks)[0]
    both = target.isfinite() & pooled.isfinite()
    x, y = pooled[both].double(), target[both].double()
    cells = len(x)
    if cells < max(min_cells, 2):
        reason = f"{cells} cells have a depth in both the frame and the memory, at least {max(min_cells, 2)} are needed"
        return Alignment(1.0, 0.0, space, math.nan, 0.0, cells, False, reason)
    a, b = _at_points(depth, camera, points, mask)
    if space == "inverse":
        x, y, a, b = 1 / x, 1 / y, 1 / a, 1 / b
    note = ""
    if shift and _spread(y) < MIN_SPREAD:
        shift, note = False, "only the scale was fitted: the depths are too similar for a shift"
    scale, offset = _refine(x, y, *_guess(x, y, shift, tolerance), shift, tolerance)
    scale, offset = _refine(a, b, scale, offset, shift, tolerance)
    error = _residuals(x, y, scale, offset).abs()
    agree = error <= tolerance
    inliers = agree.double().mean().item()
    residual = error[agree].median().item() if inliers else math.nan
    rejection = ""
    if not scale > 0:
        rejection = f"the fitted scale is {scale:.3g}, it must be positive"
    elif inliers < min_inliers:
        rejection = f"{inliers:.0%} of {cells} cells agree with the memory, at least {min_inliers:.0%} are needed"
    elif not residual <= max_residual:
        rejection = f"the median residual of the inliers is {residual:.2%}, at most {max_residual:.2%} is allowed"
    return Alignment(scale, offset, space, residual, inliers, cells, not rejection, rejection or note)


def _check(depth: Tensor, camera: Cameras, view: MemoryView, mask: Tensor | None, space: str) -> None:
    if depth.dim() != 2:
        raise ValueError(f"depth: expected (H, W), got {tuple(depth.shape)}")
    if mask is not None and mask.shape != depth.shape:
        raise ValueError(f"mask: expected (H={depth.shape[0]}, W={depth.shape[1]}), got {tuple(mask.shape)}")
    if len(camera) != 1:
        raise ValueError(f"camera: expected 1 camera, got {len(camera)}")
    if view.depth.dim() != 3 or len(view.depth) != 1:
        raise ValueError(f"view: expected the view of 1 camera, depth (1, h, w), got {tuple(view.depth.shape)}")
    if space not in ("depth", "inverse"):
        raise ValueError(f"space: expected 'depth' or 'inverse', got {space!r}")


def _at_points(depth: Tensor, camera: Cameras, points: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The frame's depth at the pixel that each point projects to, and the point's depth, both (M,) float64. Points
    outside the frame and points on invalid or masked pixels are left out."""
    uv, z, inside = camera.rescale((depth.shape[0], depth.shape[1])).project(points)
    column, row = uv[0, inside[0]].long().unbind(1)
    sampled = depth[row, column]
    usable = valid_depth(sampled)
    if mask is not None:
        usable = usable & ~mask[row, column]
    return sampled[usable].double(), z[0, inside[0]][usable].double()


def _spread(x: Tensor) -> float:
    """Interquartile range divided by the median."""
    low, middle, high = x.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=x.dtype, device=x.device)).tolist()
    return float((high - low) / middle)


def _residuals(x: Tensor, y: Tensor, scale: Tensor | float, shift: Tensor | float) -> Tensor:
    return (scale * x + shift) / y - 1


def _guess(x: Tensor, y: Tensor, shift: bool, tolerance: float) -> tuple[float, float]:
    """The best scale and shift of many that fit one cell, or two, exactly (MSAC)."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    a, b = torch.randint(len(x), (2, NUM_HYPOTHESES), generator=generator, dtype=torch.int64, device="cpu").to(x.device)
    scale, offset = y[a] / x[a], torch.zeros_like(x[a])
    if shift:
        differ = x[a] != x[b]
        slope = (y[a] - y[b]) / torch.where(differ, x[a] - x[b], 1)
        use = differ & (slope > 0)
        scale = torch.where(use, slope, scale)
        offset = torch.where(use, y[a] - slope * x[a], offset)
    step = -(-len(x) // MAX_SCORED_CELLS)
    error = _residuals(x[::step], y[::step], scale[:, None], offset[:, None])
    best = error.square().clamp(max=tolerance**2).sum(1).argmin()
    return scale[best].item(), offset[best].item()


def _refine(x: Tensor, y: Tensor, scale: float, offset: float, shift: bool, tolerance: float) -> tuple[float, float]:
    """Iteratively reweighted least squares on relative residuals, with Tukey's biweight."""
    for _ in range(MAX_ITERATIONS):
        error = _residuals(x, y, scale, offset)
        agree = error.abs()[error.abs() <= tolerance]
        # At least the rounding error: on exact data a deviation of 0 would reject almost every cell.
        deviation = max(1.4826 * agree.median().item(), 1e-6) if len(agree) else tolerance
        weight = (1 - (error / (CUTOFF * deviation)).square()).clamp(min=0).square() / y.square()
        total = weight.sum()
        if not total > 0:
            return scale, offset
        before = (scale, offset)
        if shift:
            mx, my = (weight * x).sum() / total, (weight * y).sum() / total
            variance = (weight * (x - mx).square()).sum()
            if not variance > 0:
                return scale, offset
            scale = ((weight * (x - mx) * (y - my)).sum() / variance).item()
            offset = (my - scale * mx).item()
        else:
            scale = ((weight * x * y).sum() / (weight * x.square()).sum()).item()
        if abs(scale - before[0]) <= 1e-9 * abs(scale) and abs(offset - before[1]) <= 1e-9 * abs(y[0].item()):
            break
    return scale, offset
