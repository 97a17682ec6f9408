# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Depth maps, masks and latents in the shapes that users have, brought to (V, H, W) and (V, C, h, w)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ... import _inputs, check
from ...cameras import Cameras

_Check = Callable[[str, Any, tuple[str | int, ...]], Tensor]


def depth_maps(name: str, depth: Any, count: str, dims: check.Dims, clips: bool = False) -> Tensor:
    """Return depth maps as (count, H, W) float32 or float64, and bind ``count``, H and W.

    Args:
        name: name of the argument.
        depth: (H, W), (count, H, W), (count, 1, H, W); with ``clips`` also (B, T, H, W) with B T = count.
        count: name of the number of maps in messages.
        dims: sizes of the named dimensions; updated.
        clips: whether maps may be those of clips (B, T).
    """

    def check_maps(name: str, value: Any, shape: tuple[str | int, ...]) -> Tensor:
        _inputs.check_geometry(name, value, shape, dims)
        checked: Tensor = value
        return checked

    return _flat_maps(name, depth, count, dims, clips, check_maps)


def mask_maps(name: str, mask: Any, count: str, dims: check.Dims, like: _inputs.Like, clips: bool = False) -> Tensor:
    """Return masks as (count, H, W) bool. They come in the shapes of depth maps, whose sizes ``dims`` has."""
    return _flat_maps(
        name, mask, count, dims, clips, lambda name, value, shape: _inputs.mask(name, value, shape, dims, like)
    )


def _flat_maps(name: str, maps: Any, count: str, dims: check.Dims, clips: bool, check_maps: _Check) -> Tensor:
    axes = maps.dim() if isinstance(maps, Tensor) and not maps.is_nested else 3
    if axes == 2:
        single = check_maps(name, maps, ("H", "W"))
        if dims.setdefault(count, 1) != 1:
            raise check.value_error(name, f"({count}={dims[count]}, H, W)", tuple(maps.shape))
        return single[None]
    if axes != 4:
        return check_maps(name, maps, (count, "H", "W"))
    if maps.shape[1] == 1 or not clips:
        return check_maps(name, maps, (count, 1, "H", "W"))[:, 0]
    flat = check_maps(name, maps, ("clips", "T", "H", "W")).flatten(0, 1)
    if dims.setdefault(count, len(flat)) != len(flat):
        raise check.value_error(name, f"({count}={dims[count]}, H, W)", tuple(maps.shape))
    return flat


def latent_maps(features: Any, grid: Any, dims: check.Dims, like: _inputs.Like) -> tuple[Tensor, tuple[int, int]]:
    """Return features as (V, C, h, w), and (h, w).

    Args:
        features: (C, h, w) if V = 1; (V, C, h, w); latents (B, C, T, h, w) with B T = V; or None: no channels.
        grid: (h, w) without features, or None for that of the depth maps; else None.
        dims: has V under the name "B", and H and W of the depth maps.
        like: the depth maps.
    """
    if features is None:
        h, w = (dims["H"], dims["W"]) if grid is None else check.size("grid", grid)
        return like[1].new_empty(dims["B"], 0, h, w, dtype=torch.float32), check.size("depth's size", (h, w))
    if grid is not None:
        raise check.value_error("grid", "None if features is given", grid)
    axes = features.dim() if isinstance(features, Tensor) and not features.is_nested else 4
    if axes == 5:
        sizes: check.Dims = {}
        check.tensor("features", features, ("B", "C", "T", "h", "w"), sizes, check.FEATURE_DTYPES, like)
        if sizes["B"] * sizes["T"] != dims["B"]:
            expected = f"(B, C, T, h, w) with B T = {dims['B']}, the number of depth maps"
            raise check.value_error("features", expected, tuple(features.shape))
        features = features.transpose(1, 2).flatten(0, 1)
    elif axes == 3 and dims["B"] == 1:
        check.tensor("features", features, ("C", "h", "w"), {}, check.FEATURE_DTYPES, like)
        features = features[None]
    else:
        check.tensor("features", features, ("B", "C", "h", "w"), dims, check.FEATURE_DTYPES, like)
    return features, check.size("features' grid", tuple(features.shape[2:]))


def depth_of_rays(lengths: Tensor, cameras: Cameras) -> Tensor:
    """Return the z-depth of points at distances (V, H, W) from the camera's center, through the pixel centers."""
    k = cameras._intrinsics.double()
    h, w = cameras.size
    columns = torch.arange(w, dtype=torch.float64, device=k.device) + 0.5
    rows = torch.arange(h, dtype=torch.float64, device=k.device) + 0.5
    x = (columns - k[:, 0, 2:]) / k[:, 0, :1]  # (V, W)
    y = (rows - k[:, 1, 2:]) / k[:, 1, 1:2]  # (V, H)
    return lengths / (1 + x[:, None, :] ** 2 + y[:, :, None] ** 2).sqrt()
