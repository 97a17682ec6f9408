# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of ``splat_surface`` in pure PyTorch; all backends return the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .splat_reference import splat

Rendering = tuple[Tensor, Tensor]  # depth and index, (V, h, w) each


def splat_surface(*args: Any) -> Rendering:
    return splat_surface_with(splat, *args)


def splat_surface_with(
    draw: Callable[..., tuple[Tensor, Tensor, Tensor]],
    xyz: Tensor,
    footprint: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    h: int,
    w: int,
    valid: Tensor | None,
    behind: Tensor | None,
    below: Tensor | None,
    first_scale: float,
    scale: float,
    min_extent: float,
    tolerance: float,
    boxes0: Tensor | None,
    boxes1: Tensor | None,
    boxes2: Tensor | None,
    near: float,
) -> Rendering:
    """Render points several times with ``draw``, which is a backend's ``splat``, and composite the renderings."""

    def rendering(mask: Tensor | None, size: float) -> Rendering:
        shape = (mask, footprint if size > 0 else None, size, min_extent, 0.0, boxes0, boxes1, boxes2, near)
        return draw(xyz, xyz[:, :0], intrinsics, world2cam, h, w, *shape)[1:]

    def surface_of(mask: Tensor | None) -> Rendering:
        first = rendering(mask, first_scale)
        return first if scale == first_scale else _behind(first, rendering(mask, scale), 1 + tolerance)

    surface = surface_of(valid)
    if behind is not None:
        surface = _behind(surface, rendering(behind, scale), 1 + tolerance)
    return surface if below is None else _select(surface[1] < 0, surface_of(below), surface)


def _behind(first: Rendering, second: Rendering, beyond: float) -> Rendering:
    """Show the second rendering where the first is a hole, at depth +inf, or lies farther."""
    return _select(first[0] > second[0] * beyond, second, first)


def _select(condition: Tensor, one: Rendering, other: Rendering) -> Rendering:
    return torch.where(condition, one[0], other[0]), torch.where(condition, one[1], other[1])
