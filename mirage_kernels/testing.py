# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Test cases and comparisons, for tests, benchmarks and authors of other backends.

Results of backends are compared without a tolerance: the operations return integers, copies, and sums in a defined
order, so equal means equal bits. The one exception is :func:`assert_close_gradients`.

Example:
    >>> from mirage_kernels import splat, testing, use_backend
    >>> case = testing.splat_case(seed=0)
    >>> with use_backend("reference"):
    ...     expected = case.run(splat)
    >>> testing.assert_same(case.run(splat), expected)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .cameras import NEAR, Cameras

_FLOAT: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}
_INT: dict[str, Any] = {"dtype": torch.int64, "device": "cpu"}
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors have the same dtype, shape and bits. 0.0 and -0.0 differ; a NaN equals itself."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    word = _BITS[a.element_size()]
    return torch.equal(a.contiguous().view(word), b.contiguous().view(word))


def same_sums(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors are equal bit for bit, except that any NaN equals any other NaN.

    IEEE 754 does not define which NaN a sum returns, and processors differ.
    """
    a, b = (t.masked_fill(t.isnan(), math.nan) if t.is_floating_point() else t for t in (a, b))
    return same_bits(a, b)


def assert_same(result: Any, expected: Any, sums: tuple[str, ...] = ()) -> None:
    """Assert that two named tuples of tensors are equal bit for bit.

    Args:
        result, expected: named tuples of the same type.
        sums: names of the fields that are compared by :func:`same_sums`.

    Raises:
        AssertionError: a field differs; the message names it and the first differing positions.
    """
    for name, a, b in zip(result._fields, result, expected, strict=True):
        if not (same_sums if name in sums else same_bits)(a, b):
            if a.shape != b.shape:
                raise AssertionError(f"{name}: expected shape {tuple(b.shape)}, got {tuple(a.shape)}")
            raise AssertionError(f"{name}: expected equal bits, got a difference at {(a != b).nonzero()[:3].tolist()}")


def assert_close_gradients(result: Tensor, expected: Tensor) -> None:
    """Assert that two gradients of points (N, 3) are equal up to the order of their sums.

    The gradient through bilinear weights is a difference of sums over channels, which backends add in different order.
    The error is a few units in the last place of the largest terms, so the tolerance is relative to the largest
    gradient.
    """
    max_gradient = float(expected.abs().amax()) if len(expected) else 0.0
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5 * max_gradient)


def random_cameras(generator: torch.Generator, views: int, size: tuple[int, int], near_origin: float = 0.3) -> Cameras:
    """Return cameras near the origin that look along +z, with random small rotations and anisotropic focal lengths."""
    h, w = size

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64, device="cpu") * 2 - 1

    axis = torch.nn.functional.normalize(uniform(views, 3), dim=1)
    angle = 0.4 * uniform(views)
    x, y, z = axis.unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(views, 3, 3)
    eye = torch.eye(3, dtype=torch.float64, device="cpu")
    rotation = eye + angle.sin()[:, None, None] * cross + (1 - angle.cos())[:, None, None] * (cross @ cross)
    cam2world = torch.eye(4, dtype=torch.float64, device="cpu").repeat(views, 1, 1)
    cam2world[:, :3, :3], cam2world[:, :3, 3] = rotation, near_origin * uniform(views, 3)
    intrinsics = torch.eye(3, dtype=torch.float64, device="cpu").repeat(views, 1, 1)
    intrinsics[:, 0, 0], intrinsics[:, 1, 1] = w * (0.9 + 0.3 * uniform(views)), h * (1.1 + 0.5 * uniform(views))
    intrinsics[:, 0, 2], intrinsics[:, 1, 2] = w * (0.5 + 0.2 * uniform(views)), h * (0.5 + 0.2 * uniform(views))
    return Cameras(intrinsics, cam2world, size)


def plain_cameras(views: int, size: tuple[int, int]) -> Cameras:
    """Return cameras without rotation, one unit apart, whose focal length is a power of two.

    Points can be placed exactly on the borders between their cells.
    """
    intrinsics = torch.tensor([[4.0, 0.0, size[1] / 2], [0.0, 4.0, size[0] / 2], [0.0, 0.0, 1.0]], **_FLOAT)
    cam2world = torch.eye(4, **_FLOAT).repeat(views, 1, 1)
    cam2world[:, 0, 3] = torch.arange(views, **_INT)
    return Cameras(intrinsics.expand(views, 3, 3), cam2world, size)


POINT_KINDS = ("room", "border", "ties", "wild")


def random_points(generator: torch.Generator, kind: str, n: int) -> Tensor:
    """Return random points (N, 3).

    Args:
        generator: the random numbers.
        kind: ``"room"``: a shell around the cameras, partly behind them. ``"border"``: for :func:`plain_cameras`, on
            and next to the borders of cells and grids. ``"ties"``: many points at few positions. ``"wild"``: arbitrary
            float32 bits, with NaN, infinities, denormals and the largest numbers.
        n: number of points.
    """
    if kind == "wild":
        bits = torch.randint(-(1 << 31), (1 << 31) - 1, (n, 3), generator=generator, **_INT)
        xyz = bits.to(torch.int32).view(torch.float32)
        is_special = torch.rand(n, 3, generator=generator, **_FLOAT) < 0.6
        values = [0.0, -0.0, 1.0, 1e-6, 1e-30, 1e30, math.inf, -math.inf, math.nan, 3.4e38, -3.4e38]
        special = torch.tensor(values, **_FLOAT)
        pick = special[torch.randint(len(special), (n, 3), generator=generator, **_INT)]
        return torch.where(is_special, pick, xyz)
    if kind == "border":
        depth = 2.0 ** torch.randint(-2, 4, (n,), generator=generator, **_INT).float()
        cell = torch.randint(-24, 24, (n, 2), generator=generator, **_INT).float()
        cell += (
            torch.randint(-1, 2, (n, 2), generator=generator, **_INT)
            * 2.0 ** -torch.randint(3, 24, (n, 1), generator=generator, **_INT).float()
        )
        return torch.cat([cell / 4 * depth[:, None], depth[:, None]], 1)
    if kind == "ties":
        positions = torch.randn(max(1, n // 8), 3, generator=generator, **_FLOAT) * 0.5 + torch.tensor(
            [0.0, 0.0, 2.0], **_FLOAT
        )
        return positions[torch.randint(len(positions), (n,), generator=generator, **_INT)]
    direction = torch.nn.functional.normalize(torch.randn(n, 3, generator=generator, **_FLOAT), dim=1)
    direction[:, 2] += 0.5
    return direction * (1 + torch.rand(n, 1, generator=generator, **_FLOAT))


def to_device(value: Any, device: torch.device | str) -> Any:
    """Move a tensor, cameras, or a named tuple of them to a device; return any other value as it is."""
    if isinstance(value, (Tensor, Cameras)):
        return value.to(device)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(to_device(part, device) for part in value))
    return value


class SplatCase(NamedTuple):
    """Arguments of one call of ``splat``. ``boxes`` is an argument of the operation only."""

    xyz: Tensor
    features: Tensor
    cameras: Cameras
    valid: Tensor | None
    extent: float | Tensor | None
    radius: float | Tensor = 0.0
    boxes: tuple[Tensor, ...] | None = None
    near: float = NEAR

    def run(self, splat: Any, **options: Any) -> Any:
        """Call ``splat`` with these arguments and further ``options``."""
        shape = {"extent": self.extent, "radius": self.radius, "near": self.near}
        return splat(self.xyz, self.features, self.cameras, valid=self.valid, **shape, **options)

    def arguments(self, scale: float = 1.0, min_extent: float = -math.inf) -> tuple[Any, ...]:
        """Return the arguments of the operation. ``scale`` and ``min_extent`` apply if every point has an extent."""
        radius, each = (2.0**24, self.radius) if isinstance(self.radius, Tensor) else (self.radius, None)
        each = self.extent if isinstance(self.extent, Tensor) else each
        extent = scale if isinstance(self.extent, Tensor) else self.extent or 0.0
        view = (self.cameras.intrinsics, self.cameras.world2cam, *self.cameras.size)
        shape = (each, extent, min_extent, radius)
        return (self.xyz, self.features, *view, self.valid, *shape, *(self.boxes or (None, None, None)), self.near)


def splat_case(
    seed: int,
    *,
    n: int = 200,
    views: int = 2,
    size: tuple[int, int] = (6, 9),
    channels: int = 3,
    dtype: torch.dtype = torch.float32,
    kind: str = "room",
    valid: bool = False,
    extent: str = "none",
    radius: float = 0.0,
    boxes: bool = False,
    strided: bool = False,
    near: float = NEAR,
) -> SplatCase:
    """Return a reproducible case for ``splat``.

    Args:
        seed: seed of the random numbers.
        n, views, size, channels, dtype: sizes of the case and dtype of the features.
        kind: kind of the points, see :func:`random_points`.
        valid: whether there is a mask of points.
        extent: ``"none"``, ``"one"`` (one number) or ``"each"`` (a tensor with some NaN and negative values); or
            ``"discs"``: points have a radius of their own instead, about ``radius``, with such values too.
        radius: radius of discs, cells.
        boxes: whether there are bounding boxes; the points are then sorted by x, so that neighbors are close together.
        strided: whether the tensors are not contiguous.
        near: points up to this depth are skipped.
    """
    g = torch.Generator(device="cpu").manual_seed(seed)
    cameras = plain_cameras(views, size) if kind == "border" else random_cameras(g, views, size)
    xyz = random_points(g, kind, n)
    if boxes:
        xyz = xyz[xyz[:, 0].argsort()]
    features = torch.randn(n, channels, generator=g, **_FLOAT).to(dtype)
    if strided:  # the same values behind other strides
        xyz = xyz.T.contiguous().T
        features = torch.stack([features, features], 2).flatten(1)[:, ::2]
    size_of: float | Tensor | None = None
    radius_of: float | Tensor = radius
    if extent == "one":
        size_of = 0.3 * torch.rand(1, generator=g, **_FLOAT).item()
    elif extent in ("each", "discs"):
        sizes = (radius if extent == "discs" else 0.3) * torch.randn(n, generator=g, **_FLOAT)
        sizes[torch.rand(n, generator=g, **_FLOAT) < 0.05] = math.nan
        sizes[torch.rand(n, generator=g, **_FLOAT) < 0.02] = math.inf
        size_of, radius_of = (size_of, sizes) if extent == "discs" else (sizes, radius)
    mask = torch.rand(n, generator=g, **_FLOAT) < 0.7 if valid else None
    bounds = bounding_boxes(xyz, size_of) if boxes else None
    return SplatCase(xyz, features, cameras, mask, size_of, radius_of, bounds, near)


def bounding_boxes(xyz: Tensor, extent: float | Tensor | None) -> tuple[Tensor, ...]:
    """Return the bounding boxes (B, 7) of runs of 64, 64^2 and 64^3 points, as the operation ``splat`` takes them."""
    extents = extent if isinstance(extent, Tensor) else torch.zeros(len(xyz), **_FLOAT)
    finite = xyz.isfinite().all(1, keepdim=True)
    low, high = (torch.where(finite, xyz, sign * math.inf) for sign in (1, -1))
    extents = torch.where(extents > 0, extents, 0)[:, None]  # 0 for NaN
    levels = []
    for run in (64, 64**2, 64**3):
        count = -(-len(xyz) // run)
        box = (torch.arange(len(xyz), **_INT) // run)[:, None].expand(-1, 3)
        level = torch.zeros(count, 7, **_FLOAT)
        level[:, :3] = torch.full((count, 3), math.inf, **_FLOAT).scatter_reduce(0, box, low, "amin")
        level[:, 3:6] = torch.full((count, 3), -math.inf, **_FLOAT).scatter_reduce(0, box, high, "amax")
        level[:, 6:] = level[:, 6:].scatter_reduce(0, box[:, :1], extents, "amax")
        levels.append(level)
    return tuple(levels)


class VisibleCase(NamedTuple):
    """Arguments of one call of ``visible``."""

    xyz: Tensor
    cameras: Cameras
    valid: Tensor | None
    groups: Tensor | None
    num_groups: int | None

    def run(self, visible: Any) -> Any:
        """Call ``visible`` with these arguments."""
        return visible(self.xyz, self.cameras, valid=self.valid, groups=self.groups, num_groups=self.num_groups)


def visible_case(
    seed: int,
    *,
    n: int = 200,
    views: int = 2,
    size: tuple[int, int] = (6, 9),
    kind: str = "room",
    valid: bool = False,
    num_groups: int | None = None,
    strided: bool = False,
) -> VisibleCase:
    """Return a reproducible case for ``visible``.

    Args:
        seed: seed of the random numbers.
        n, views, size: sizes of the case.
        kind: kind of the points, see :func:`random_points`.
        valid: whether there is a mask of points.
        num_groups: None for no groups, else the number of groups; some points get a group out of range.
        strided: whether ``xyz`` is not contiguous.
    """
    g = torch.Generator(device="cpu").manual_seed(seed)
    cameras = plain_cameras(views, size) if kind == "border" else random_cameras(g, views, size)
    xyz = random_points(g, kind, n)
    if strided:
        xyz = xyz.T.contiguous().T
    groups: Tensor | None = None
    if num_groups is not None:
        groups = torch.randint(-1, num_groups + 1, (n,), generator=g, **_INT)
        groups[torch.rand(n, generator=g, **_FLOAT) < 0.1] = -1
        groups[torch.rand(n, generator=g, **_FLOAT) < 0.05] = torch.iinfo(torch.int64).min
        groups[torch.rand(n, generator=g, **_FLOAT) < 0.05] = torch.iinfo(torch.int64).max
    return VisibleCase(xyz, cameras, torch.rand(n, generator=g, **_FLOAT) < 0.7 if valid else None, groups, num_groups)


class UnprojectCase(NamedTuple):
    """Arguments of one call of ``unproject``."""

    depth: Tensor
    features: Tensor
    cameras: Cameras
    mask: Tensor | None
    options: dict[str, Any]

    def run(self, unproject: Any) -> Any:
        """Call ``unproject`` with these arguments."""
        return unproject(self.depth, self.features, self.cameras, mask=self.mask, **self.options)


def unproject_case(
    seed: int,
    *,
    batch: int = 2,
    size: tuple[int, int] = (12, 20),
    grid: tuple[int, int] = (3, 5),
    channels: int = 3,
    dtype: torch.dtype = torch.float32,
    kind: str = "smooth",
    mask: bool = False,
    strided: bool = False,
    **options: Any,
) -> UnprojectCase:
    """Return a reproducible case for ``unproject``.

    Args:
        seed: seed of the random numbers.
        batch, size, grid, channels, dtype: sizes of the case and dtype of the features.
        kind: depth maps: ``"smooth"`` (with holes), ``"steps"`` (few values, so many ties) or ``"wild"`` (any bits).
        mask: whether there is a mask of pixels.
        strided: whether the tensors are not contiguous.
        options: further arguments of ``unproject``.
    """
    g = torch.Generator(device="cpu").manual_seed(seed)
    shape = (batch, *size)
    if kind == "wild":
        depth = random_points(g, "wild", batch * size[0] * size[1])[:, 0].reshape(shape).contiguous()
    elif kind == "steps":
        depth = torch.randint(0, 5, shape, generator=g, **_INT).float() / 4
    else:
        depth = 1 + torch.rand(shape, generator=g, **_FLOAT) * torch.rand(batch, 1, 1, generator=g, **_FLOAT)
        depth[torch.rand(shape, generator=g, **_FLOAT) < 0.3] = 0
    features = torch.randn(batch, channels, *grid, generator=g, **_FLOAT).to(dtype)
    if strided:
        depth = depth.transpose(1, 2).contiguous().transpose(1, 2)
        features = features.movedim(1, 3).contiguous().movedim(3, 1)
    masked = torch.rand(shape, generator=g, **_FLOAT) < 0.2 if mask else None
    return UnprojectCase(depth, features, random_cameras(g, batch, size), masked, options)
