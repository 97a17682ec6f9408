# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton functions that pool the depth of ``CELLS`` latent cells, as ``csrc/unproject/unproject.h`` does."""

from __future__ import annotations

import triton
import triton.language as tl

from ...backend import INTERPRETED
from . import unproject_reference as reference

CELLS = tl.constexpr(64 if INTERPRETED else 4)  # cells per program; the interpreter takes the same time for more
SIDE = tl.constexpr(16)  # side of a window, pixels

_MIN = tl.constexpr(reference.MIN)
_NEAREST = tl.constexpr(reference.NEAREST)
_BILINEAR = tl.constexpr(reference.BILINEAR)
# Positive floats sort as their bits. The bits of finite ones are 1 .. _LARGEST. Unusable pixels sort after all others.
_LARGEST = tl.constexpr(0x7F7FFFFF)
_UNUSABLE = tl.constexpr(0x7FFFFFFF)


@triton.jit
def locate(cell, h, w):
    """Return map, row and column of a flat cell, int64."""
    row = cell // w
    return row // h, row % h, cell % w


@triton.jit
def _first_pixel(i, cells, pixels):
    """Return the first pixel of cell i; pixel r belongs to cell ((2r + 1) cells) // (2 pixels)."""
    return (2 * pixels * i + cells - 1) // (2 * cells)


@triton.jit
def taps(i, cells, pixels):
    """Return the bilinear taps at the center of cell i: two neighboring pixels and the weight of the second.

    A tap of weight 0 is not read, because its depth may be invalid.
    """
    position = (2 * i + 1) * pixels - cells  # in units of 1 / (2 cells), more than -1
    before = (position + 2 * cells) // (2 * cells) - 1
    remainder = position - before * 2 * cells
    first = tl.maximum(before, 0)
    second = tl.where(remainder == 0, first, tl.minimum(before + 1, pixels - 1))
    return first, second, tl.div_rn(remainder.to(tl.float32), (2 * cells).to(tl.float32))


@triton.jit
def _depth_at(depth, mask, at):
    """Load the depth of pixels, 0 where it is not usable."""
    z = tl.load(depth + at)
    usable = (z > 0) & (z < float("inf"))
    if mask is not None:
        usable = usable & (tl.load(mask + at) == 0)
    return tl.where(usable, z, 0.0)


@triton.jit
def _bilinear(depth, mask, corner, i, j, height, width, h, w):
    """Interpolate the depth at cell centers, 0 where one of the four pixels is not usable."""
    top, bottom, down = taps(i, h, height)
    left, right, across = taps(j, w, width)
    d00 = _depth_at(depth, mask, corner + top * width + left)
    d01 = _depth_at(depth, mask, corner + top * width + right)
    d10 = _depth_at(depth, mask, corner + bottom * width + left)
    d11 = _depth_at(depth, mask, corner + bottom * width + right)
    above = d00 * (1.0 - across) + d01 * across
    below = d10 * (1.0 - across) + d11 * across
    z = above * (1.0 - down) + below * down
    return tl.where((d00 > 0) & (d01 > 0) & (d10 > 0) & (d11 > 0), z, 0.0)


@triton.jit
def _window(depth, mask, corner, rows, columns, top, left, width):
    """Load the window of every cell that starts at offset (top, left) from its first pixel.

    Returns:
        Sortable values (CELLS, SIDE * SIDE), the number of masked pixels, and the row-major number of each pixel in its
        cell.
    """
    k = tl.arange(0, SIDE * SIDE)
    r, c = top + k // SIDE, left + k % SIDE
    in_bounds = (r[None, :] < rows[:, None]) & (c[None, :] < columns[:, None])
    at = corner[:, None] + (r.to(tl.int64) * width + c)[None, :]
    bits = tl.load(depth + at, mask=in_bounds, other=0.0).to(tl.int32, bitcast=True)
    usable = (bits > 0) & (bits <= _LARGEST)
    masked = tl.zeros_like(rows)
    if mask is not None:
        flags = tl.load(mask + at, mask=in_bounds, other=0) != 0
        masked = tl.sum(flags.to(tl.int32), 1)
        usable = usable & (flags == 0)
    return tl.where(usable, bits, _UNUSABLE), masked, r[None, :] * columns[:, None] + c[None, :]


@triton.jit
def _split(values, bound):
    """Return, per cell, the number of values up to its bound, the largest of those, and the smallest above it."""
    below = values <= bound[:, None]
    return (
        tl.sum(below.to(tl.int32), 1),
        tl.max(tl.where(below, values, 0), 1),
        tl.min(tl.where(below, _UNUSABLE, values), 1),
    )


@triton.jit
def _split_cell(
    values, depth, mask, corner, rows, columns, max_rows, max_columns, width, bound, FITS: tl.constexpr
):  # fmt: skip
    """Do the same as ``_split`` for entire cells: for ``values`` if a cell fits into a window, else window by window.

    The fourth result is the number of masked pixels, which is counted in the latter case only.
    """
    masked = tl.zeros_like(rows)
    if FITS:
        count, largest, smallest = _split(values, bound)
    else:
        count, largest, smallest = tl.zeros_like(rows), tl.zeros_like(rows), tl.zeros_like(rows) + _UNUSABLE
        window, across = 0, tl.cdiv(max_columns, SIDE)
        while window < tl.cdiv(max_rows, SIDE) * across:
            top, left = window // across * SIDE, window % across * SIDE
            part, masked_in_window, _ = _window(depth, mask, corner, rows, columns, top, left, width)
            n, high, low = _split(part, bound)
            count, masked = count + n, masked + masked_in_window
            largest, smallest = tl.maximum(largest, high), tl.minimum(smallest, low)
            window += 1
    return count, largest, smallest, masked


@triton.jit
def _number_of(
    value, values, numbers, depth, mask, corner, rows, columns, max_rows, max_columns, width, FITS: tl.constexpr
):
    """Return the number of the first pixel of every cell that has this value."""
    if FITS:
        found = tl.min(tl.where(values == value[:, None], numbers, 0x7FFFFFFF), 1)
    else:
        found = tl.zeros_like(rows) + 0x7FFFFFFF
        window, across = 0, tl.cdiv(max_columns, SIDE)
        while window < tl.cdiv(max_rows, SIDE) * across:
            top, left = window // across * SIDE, window % across * SIDE
            part, _, k = _window(depth, mask, corner, rows, columns, top, left, width)
            found = tl.minimum(found, tl.min(tl.where(part == value[:, None], k, 0x7FFFFFFF), 1))
            window += 1
    return found


@triton.jit
def pool(
    depth, mask, b, i, j, height, width, h, w, max_rows, max_columns, min_valid, max_masked,
    POOLING: tl.constexpr, FITS: tl.constexpr, PIXEL: tl.constexpr,
):  # fmt: skip
    """Return the depth of cells (b, i, j), 0 if a cell has none, and the pixel it was read from (-1 without ``PIXEL``).

    ``max_masked`` is the bits of a float64. Cells have up to ``max_rows`` by ``max_columns`` pixels; with ``FITS``
    they fit into a window.
    """
    corner = b * height * width
    first_row, first_column = _first_pixel(i, h, height), _first_pixel(j, w, width)
    rows = (_first_pixel(i + 1, h, height) - first_row).to(tl.int32)
    columns = (_first_pixel(j + 1, w, width) - first_column).to(tl.int32)
    first = first_row * width + first_column
    values, masked_in_window, numbers = _window(depth, mask, corner + first, rows, columns, 0, 0, width)
    count, largest, _, masked = _split_cell(
        values, depth, mask, corner + first, rows, columns, max_rows, max_columns, width,
        tl.zeros_like(rows) + _LARGEST, FITS,
    )  # fmt: skip
    if FITS:
        masked = masked_in_window
    limit = max_masked.to(tl.int64).to(tl.float64, bitcast=True)
    pixels = rows.to(tl.int64) * columns
    enough = (count >= min_valid) & (count > 0) & (masked.to(tl.float64) <= limit * pixels.to(tl.float64))
    pixel = tl.zeros_like(first) - 1
    if POOLING == _BILINEAR:
        z = _bilinear(depth, mask, corner, i, j, height, width, h, w)
    elif POOLING == _NEAREST:
        pixel = (2 * i + 1) * height // (2 * h) * width + (2 * j + 1) * width // (2 * w)
        z = _depth_at(depth, mask, corner + pixel)
    else:
        _, _, low, _ = _split_cell(
            values, depth, mask, corner + first, rows, columns, max_rows, max_columns, width, tl.zeros_like(rows),
            FITS,
        )  # fmt: skip
        if POOLING != _MIN:
            # Bisection on the bits, with bounds moved to existing values in each step: exact, without sorting.
            rank = (count - 1) // 2
            low = tl.where(enough, low, 0)
            high = tl.where(enough, largest, 0)
            while tl.max(high - low, 0) > 0:
                middle = low + (high - low) // 2
                n, below, above, _ = _split_cell(
                    values, depth, mask, corner + first, rows, columns, max_rows, max_columns, width, middle, FITS
                )
                searching = low < high
                low = tl.where(searching & (n <= rank), above, tl.where(searching & (n == rank + 1), below, low))
                high = tl.where(searching & (n > rank), below, tl.where(searching & (n == rank), above, high))
        if PIXEL:
            k = _number_of(
                low, values, numbers, depth, mask, corner + first, rows, columns, max_rows, max_columns, width, FITS
            )
            columns = tl.maximum(columns, 1)
            pixel = first + (k // columns).to(tl.int64) * width + k % columns
        z = low.to(tl.float32, bitcast=True)
    return tl.where(enough, z, 0.0), tl.where(enough, pixel, -1)
