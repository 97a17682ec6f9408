# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What ``splat`` does around its operations: calls for parts of the views, and what a hole contains."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..._results import Splat
from ...cameras import project
from .splat_inputs import SplatInputs


def one_mask_each(inputs: SplatInputs, run: Callable[[SplatInputs], Splat]) -> Splat:
    """Run a function that takes one mask for all views: once, or once per view if each has a mask of its own."""
    if inputs.valid is None or inputs.valid.dim() == 1:
        return run(inputs)
    views = [run(inputs._replace(cameras=inputs.cameras[v], valid=mask)) for v, mask in enumerate(inputs.valid)]
    if not views:
        return run(inputs._replace(valid=None))
    return Splat(*(torch.cat(parts) for parts in zip(*views, strict=True)))


def without_far(inputs: SplatInputs) -> SplatInputs:
    """Turn the limit ``far`` into a mask per view. (In mode "nearest", :func:`fill_holes` does the same for less.)"""
    if inputs.far == math.inf:
        return inputs
    cameras = inputs.cameras
    depth = project(inputs.xyz.detach(), cameras._world2cam, cameras._intrinsics)[2]  # (V, N)
    nearer = depth < inputs.far
    return inputs._replace(valid=nearer if inputs.valid is None else nearer & inputs.valid, far=math.inf)


def fill_holes(view: Splat, far: float, background: Tensor | None) -> Splat:
    """Turn cells at depth ``far`` or beyond into holes, and give all holes the features ``background``.

    A cell shows its nearest point, so where that one is too far, all points of the cell are.
    """
    if far == math.inf and background is None:
        return view
    features, depth, index = view
    holes = index < 0
    if far < math.inf:
        holes = ~(depth < far)
        depth, index = torch.where(holes, math.inf, depth), torch.where(holes, -1, index)
    fill = features.new_zeros(()) if background is None else background.reshape(-1, 1, 1)
    return Splat(torch.where(holes[:, None], fill, features), depth, index)
