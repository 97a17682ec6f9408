# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the Triton kernels of several operations share: projection, and how a kernel is launched.

Importing this imports triton, so only the kernels themselves do. The arithmetic is that of
:mod:`mirage_kernels.cameras`, float32 with one rounding per operation: :func:`launch` switches fused multiply-add off,
and divisions are ``tl.div_rn``, because the plain ``/`` is not rounded correctly on a GPU.

Sizes are not specialised (``do_not_specialize``): what a kernel compiles to depends on dtypes, on the number of
channels and on what is there (a mask, groups), never on how much of it.

Loops with a bound known only at run time are ``while``: the interpreter of Triton 3.6 cannot run the others beside
NumPy 2.4.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
import triton
import triton.language as tl

NEAR = tl.constexpr(1e-6)  # that of mirage_kernels.cameras
INFINITY = tl.constexpr(float("inf"))

OPTIONS = {"enable_fp_fusion": False}  # every kernel is compiled with


GRID_LIMITS = (2**31 - 1, 65_535, 65_535)  # programs along each axis, of CUDA


def launch(
    kernel: Any, grid: tuple[int, ...], device: torch.device, *args: Any, num_warps: int = 4, **options: Any
) -> None:
    """Run a kernel on the device's current stream; an empty grid is no work.

    Raises:
        ValueError: the grid is larger than CUDA allows. Kernels fold what may be large, such as views, into axis 0.
    """
    if 0 in grid:
        return
    if any(size > limit for size, limit in zip(grid, GRID_LIMITS, strict=False)):
        limits = GRID_LIMITS[: len(grid)]
        raise ValueError(f"{kernel.__name__}: expected a grid of at most {limits} programs, got {grid}; split the call")
    on_device = torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()
    with on_device:
        kernel[grid](*args, num_warps=num_warps, **OPTIONS, **options)


@triton.jit
def widen(x):
    """A float32 of the same value."""
    if x.dtype == tl.bfloat16:  # the interpreter knows no denormals
        wide = (x.to(tl.int16, bitcast=True).to(tl.int32) << 16).to(tl.float32, bitcast=True)
    else:
        wide = x.to(tl.float32)
    return wide


@triton.jit
def narrow(x, dtype: tl.constexpr):
    """A float32 rounded to the nearest of a dtype, ties to even."""
    if dtype == tl.bfloat16:  # the interpreter cuts off instead
        bits = x.to(tl.int32, bitcast=True)
        nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        x = tl.where(x == x, nearest, 0x7FC0).to(tl.int16).to(tl.bfloat16, bitcast=True)
    return x.to(dtype)


@triton.jit
def transform_row(row, x, y, z):
    """``((r0 x + r1 y) + r2 z) + t``; ``row`` points at those four numbers."""
    return ((tl.load(row) * x + tl.load(row + 1) * y) + tl.load(row + 2) * z) + tl.load(row + 3)


@triton.jit
def project(world2cam, intrinsics, x, y, z):
    """u, v, depth and 1 / depth in the view whose (3, 4) and (3, 3) matrices the pointers name."""
    depth = transform_row(world2cam + 8, x, y, z)
    inverse = tl.div_rn(1.0, depth)
    u = (transform_row(world2cam, x, y, z) * inverse) * tl.load(intrinsics) + tl.load(intrinsics + 2)
    v = (transform_row(world2cam + 4, x, y, z) * inverse) * tl.load(intrinsics + 4) + tl.load(intrinsics + 5)
    return u, v, depth, inverse


@triton.jit
def inside(u, v, depth, h, w):
    """Whether a projection lies in front of its camera and on its grid; False for NaN."""
    in_front = (depth > NEAR) & (depth < INFINITY)
    return in_front & (u >= 0) & (u < w.to(tl.float32)) & (v >= 0) & (v < h.to(tl.float32))


@triton.jit
def is_finite(x):
    return tl.abs(x) < INFINITY
