# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Functions that the Triton kernels of several operations use: projection, conversion of dtypes, launching.

This module imports triton, so only modules with kernels import it. The arithmetic is that of
:mod:`mirage_kernels.cameras`, float32 with one rounding per operation: :func:`launch` disables fused multiply-add, and
divisions are ``tl.div_rn``, because ``/`` is not correctly rounded on a GPU.

Sizes are not specialized (``do_not_specialize``): the compiled code depends on dtypes, on the number of channels and on
which optional arguments are given, but not on sizes.

Loops whose bound is known only at run time are ``while`` loops, because the interpreter of Triton 3.6 does not run
``for`` loops over such ranges with NumPy 2.4.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
import triton
import triton.language as tl

NEAR = tl.constexpr(1e-6)  # as in mirage_kernels.cameras
INFINITY = tl.constexpr(float("inf"))

OPTIONS = {"enable_fp_fusion": False}  # compiler options of every kernel

GRID_LIMITS = (2**31 - 1, 65_535, 65_535)  # CUDA's maximum number of programs along each axis


def launch(
    kernel: Any, grid: tuple[int, ...], device: torch.device, *args: Any, num_warps: int = 4, **options: Any
) -> None:
    """Run a kernel on the current stream of a device. An empty grid runs nothing.

    Raises:
        ValueError: the grid is larger than CUDA allows. Kernels fold dimensions that may be large, such as views, into
            axis 0.
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
    """Convert to float32."""
    if x.dtype == tl.bfloat16:  # the interpreter flushes denormals
        widened = (x.to(tl.int16, bitcast=True).to(tl.int32) << 16).to(tl.float32, bitcast=True)
    else:
        widened = x.to(tl.float32)
    return widened


@triton.jit
def narrow(x, dtype: tl.constexpr):
    """Round a float32 to the nearest value of a dtype, ties to even."""
    if dtype == tl.bfloat16:  # the interpreter truncates
        bits = x.to(tl.int32, bitcast=True)
        nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        x = tl.where(x == x, nearest, 0x7FC0).to(tl.int16).to(tl.bfloat16, bitcast=True)
    return x.to(dtype)


@triton.jit
def transform_row(row, x, y, z):
    """Return ``((r0 x + r1 y) + r2 z) + t``; ``row`` points to r0, r1, r2, t."""
    return ((tl.load(row) * x + tl.load(row + 1) * y) + tl.load(row + 2) * z) + tl.load(row + 3)


@triton.jit
def project(world2cam, intrinsics, x, y, z):
    """Return u, v, depth and 1 / depth in the view with the (3, 4) and (3, 3) matrices at the pointers."""
    depth = transform_row(world2cam + 8, x, y, z)
    inverse = tl.div_rn(1.0, depth)
    u = (transform_row(world2cam, x, y, z) * inverse) * tl.load(intrinsics) + tl.load(intrinsics + 2)
    v = (transform_row(world2cam + 4, x, y, z) * inverse) * tl.load(intrinsics + 4) + tl.load(intrinsics + 5)
    return u, v, depth, inverse


@triton.jit
def inside(u, v, depth, h, w):
    """Return whether a projection is in front of its camera and on its grid; False for NaN."""
    return (depth > NEAR) & (depth < INFINITY) & on_grid(u, v, h, w)


@triton.jit
def on_grid(u, v, h, w):
    """Return whether a projection is on the grid of its camera; False for NaN."""
    return (u >= 0) & (u < w.to(tl.float32)) & (v >= 0) & (v < h.to(tl.float32))


@triton.jit
def is_finite(x):
    return tl.abs(x) < INFINITY
