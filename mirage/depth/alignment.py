# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""New depth is brought to the scale of what the memory already knows, or refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..geometry.grids import pool_depth

if TYPE_CHECKING:
    from ..memory import MemoryView

Space = Literal["depth", "inverse"]

TOLERANCE = 0.05  # cells within 5 % agree: the memory's own rule for one surface
HYPOTHESES = 256  # all but surely one of them without an outlier, even where half of the cells are
SCORED = 4096  # cells that hypotheses are held against, at most
STEPS = 50  # of reweighting; it has come to rest long before
CUTOFF = 4.685  # of Tukey's biweight, in standard deviations: 95 % efficient on Gaussian noise
LEAST_SPREAD = 0.05  # when half of what is known lies within this share of its median, shift and scale are one


class Alignment(NamedTuple):
    """How the depth of a frame was fitted to the memory's: ``scale * depth + shift``, or the same of inverse depths.

    Attributes:
        scale: no unit.
        shift: world units, or their inverse; 0 where only the scale was fitted.
        space: of the fit.
        residual: median of ``abs(fitted / remembered - 1)`` over the cells that agree.
        inliers: share of the shared cells that agree within the tolerance.
        cells: how many cells have a depth in both.
        accepted: whether the frame may be written.
        reason: why not; or, of an accepted one, that a shift could not be told; else empty.
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
        """The frame's depth in the memory's scale, 0 where it is invalid or the fit leaves no positive depth.

        Raises:
            ValueError: the fit was not accepted.
        """
        if not self.accepted:
            raise ValueError(f"alignment: expected an accepted one, got one that was refused: {self.reason}")
        valid = depth.isfinite() & (depth > 0)
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
    """Fit the depth of one frame to what the memory shows to its camera.

    Residuals are relative, ``fitted / remembered - 1``: the memory tells surfaces apart by a share of their distance,
    and the errors of cameras and of networks grow with it. The fit starts from what the view shows, cell by cell, with
    the frame's cells pooled as the memory pools them: the best of many guesses from one cell, or two with a shift
    (RANSAC, Fischler and Bolles 1981, with truncated squares for the score: MSAC, Torr and Zisserman 2000). From there
    it goes on by least squares, reweighted with Tukey's biweight, over all points, each held against the pixel it lands
    on. A view shows the nearest of a cell's points, so cells alone would take every frame a little too near, and over a
    walk that adds up. The fit repeats bit for bit.

    Networks for metric depth are off by a factor, so the default is a scale alone: a shift that is not there costs
    accuracy, and from similar depths it cannot be told. It works on depth, in which a factor and a sensor's offset are
    linear; ``space="inverse"`` is for networks that predict disparity, whose unknown shift lies there.

    Args:
        depth: (H, W) float32 of the frame; not finite or not positive where there is none.
        camera: its camera, over a grid of any size.
        view: what the memory shows to it before the frame is written, over the latent grid.
        points: (N, 3) float32, what the memory holds, in view or not (``memory.cache.xyz``).
        mask: (H, W) bool, True where nothing may be compared (something moves, say).
        shift: whether a shift is fitted too.
        space: whether the fit is of depths or of inverse depths.
        tolerance: cells whose residual is at most this agree.
        min_cells: that both know, else there is nothing to go by.
        min_inliers: share of them that must agree.
        max_residual: of those that agree, the median. Values strewn evenly over the tolerance give half of it.

    Returns:
        The fit; ``accepted`` is False where the frame must not be written, and ``reason`` says why.
    """
    _check(depth, camera, view, mask, space)
    known = view.depth[0]
    masks = None if mask is None else mask[None]
    pooled = pool_depth(depth[None], camera, (known.shape[0], known.shape[1]), mask=masks)[0]
    both = known.isfinite() & pooled.isfinite()
    x, y = pooled[both].double(), known[both].double()
    cells = len(x)
    if cells < max(min_cells, 2):
        reason = f"the memory knows {cells} of the frame's cells, at least {max(min_cells, 2)} are needed"
        return Alignment(1.0, 0.0, space, math.nan, 0.0, cells, False, reason)
    a, b = _at_points(depth, camera, points, mask)
    if space == "inverse":
        x, y, a, b = 1 / x, 1 / y, 1 / a, 1 / b
    note = ""
    if shift and _spread(y) < LEAST_SPREAD:
        shift, note = False, "depths too much alike to tell a shift: only the scale was fitted"
    scale, offset = _refine(x, y, *_guess(x, y, shift, tolerance), shift, tolerance)
    scale, offset = _refine(a, b, scale, offset, shift, tolerance)
    error = _residuals(x, y, scale, offset).abs()
    agree = error <= tolerance
    inliers = agree.double().mean().item()
    residual = error[agree].median().item() if inliers else math.nan
    refusal = ""
    if not scale > 0:
        refusal = f"the fit has a scale of {scale:.3g}, not a positive one"
    elif inliers < min_inliers:
        refusal = f"{inliers:.0%} of {cells} cells agree with the memory, at least {min_inliers:.0%} are needed"
    elif not residual <= max_residual:
        refusal = f"cells that agree are {residual:.2%} off, at most {max_residual:.2%} is allowed"
    return Alignment(scale, offset, space, residual, inliers, cells, not refusal, refusal or note)


def _check(depth: Tensor, camera: Cameras, view: MemoryView, mask: Tensor | None, space: str) -> None:
    if depth.dim() != 2:
        raise ValueError(f"depth: expected (H, W), got {tuple(depth.shape)}")
    if mask is not None and mask.shape != depth.shape:
        raise ValueError(f"mask: expected (H={depth.shape[0]}, W={depth.shape[1]}), got {tuple(mask.shape)}")
    if len(camera) != 1:
        raise ValueError(f"camera: expected one, the frame's, got {len(camera)}")
    if view.depth.dim() != 3 or len(view.depth) != 1:
        raise ValueError(f"view: expected that of one camera, depth (1, h, w), got {tuple(view.depth.shape)}")
    if space not in ("depth", "inverse"):
        raise ValueError(f"space: expected 'depth' or 'inverse', got {space!r}")


def _at_points(depth: Tensor, camera: Cameras, points: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The frame's depth under every point that lands on a pixel with one, and the point's own, float64."""
    uv, z, inside = camera.rescale((depth.shape[0], depth.shape[1])).project(points)
    column, row = uv[0, inside[0]].long().unbind(1)
    seen = depth[row, column]
    usable = seen.isfinite() & (seen > 0)
    if mask is not None:
        usable = usable & ~mask[row, column]
    return seen[usable].double(), z[0, inside[0]][usable].double()


def _spread(x: Tensor) -> float:
    """The width of the middle half, as a share of the median."""
    low, middle, high = x.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=x.dtype, device=x.device)).tolist()
    return float((high - low) / middle)


def _residuals(x: Tensor, y: Tensor, scale: Tensor | float, shift: Tensor | float) -> Tensor:
    return (scale * x + shift) / y - 1


def _guess(x: Tensor, y: Tensor, shift: bool, tolerance: float) -> tuple[float, float]:
    """The scale and shift through one cell, or two, that most cells agree with."""
    rng = torch.Generator().manual_seed(0)
    a, b = torch.randint(len(x), (2, HYPOTHESES), generator=rng).to(x.device)
    scale, offset = y[a] / x[a], torch.zeros_like(x[a])
    if shift:
        apart = x[a] != x[b]
        slope = (y[a] - y[b]) / torch.where(apart, x[a] - x[b], 1)
        use = apart & (slope > 0)
        scale = torch.where(use, slope, scale)
        offset = torch.where(use, y[a] - slope * x[a], offset)
    step = -(-len(x) // SCORED)
    error = _residuals(x[::step], y[::step], scale[:, None], offset[:, None])
    best = error.square().clamp(max=tolerance**2).sum(1).argmin()
    return scale[best].item(), offset[best].item()


def _refine(x: Tensor, y: Tensor, scale: float, offset: float, shift: bool, tolerance: float) -> tuple[float, float]:
    """Weighted least squares on relative residuals, reweighted until it rests."""
    for _ in range(STEPS):
        error = _residuals(x, y, scale, offset)
        agree = error.abs()[error.abs() <= tolerance]
        # Noise is never taken to be less than rounding, or exact data would have no inliers but a few.
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
