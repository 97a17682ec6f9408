# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What ``splat`` does around its operations: labels, calls for each cloud, and what a hole contains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..._results import Splat
from ...cameras import project
from .splat_clouds_reference import count_clouds, has_own_masks, rows_of_index, rows_of_views
from .splat_inputs import LABEL_DTYPES, SplatInputs, is_one_cloud

Render = Callable[[SplatInputs], Splat]
_View = TypeVar("_View", bound=tuple[Any, ...])  # Splat or Layers


def copy_labels(inputs: SplatInputs, render: Render) -> Splat:
    """Render features of any dtype bit for bit: render the index, then copy the rows that it names."""
    labels = inputs.features
    if labels.dtype not in LABEL_DTYPES:
        return render(inputs)
    _, depth, index = render(inputs._replace(features=inputs.xyz.new_empty(*labels.shape[:-1], 0)))
    labels = labels.flatten(0, -2)
    if not len(labels):
        return Splat(labels.new_zeros(len(index), labels.shape[1], *inputs.cameras.size), depth, index)
    rows = rows_of_index(index, len(labels), count_clouds(inputs.xyz, inputs.offsets), inputs.offsets)
    winners = torch.where((rows >= 0)[..., None], labels[rows.clamp(min=0)], labels.new_zeros(()))
    return Splat(winners.permute(0, 3, 1, 2).contiguous(), depth, index)


def one_by_one(inputs: SplatInputs, render: Callable[[SplatInputs], _View]) -> _View:
    """Render several clouds, or points with several masks, by a function that takes one cloud and one mask."""
    if is_one_cloud(inputs) and inputs.far == math.inf:
        return render(inputs)
    views = [render(part) for cloud in _clouds(inputs) for part in _masks(_without_far(cloud))]
    if not views:
        xyz, features = inputs.xyz.flatten(0, -2), inputs.features.flatten(0, -2)
        part = inputs._replace(xyz=xyz, features=features, valid=None, offsets=None)
        return render(part._replace(extents=_flat(inputs.extents), weights=_flat(inputs.weights)))
    return type(views[0])(*(torch.cat(parts) for parts in zip(*views, strict=True)))


def _flat(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.flatten()


def _clouds(inputs: SplatInputs) -> Iterator[SplatInputs]:
    """Yield the clouds with their views. Offsets wait for the device."""
    views, clouds = len(inputs.cameras), count_clouds(inputs.xyz, inputs.offsets)
    xyz, features, valid = inputs.xyz.flatten(0, -2), inputs.features.flatten(0, -2), inputs.valid
    extents, weights = _flat(inputs.extents), _flat(inputs.weights)
    own_masks = has_own_masks(inputs.xyz, valid)
    each = max(views // max(clouds, 1), 1)
    rows = rows_of_views(len(xyz), views, clouds, inputs.offsets)
    for view, (first, end) in list(enumerate(rows))[::each]:
        some = slice(view, view + each)
        yield inputs._replace(
            xyz=xyz[first:end],
            features=features[first:end],
            cameras=inputs.cameras[some],
            valid=valid if valid is None else valid[some] if own_masks else valid.flatten()[first:end],
            extents=None if extents is None else extents[first:end],
            weights=None if weights is None else weights[first:end],
            offsets=None,
        )


def _masks(inputs: SplatInputs) -> Iterator[SplatInputs]:
    if inputs.valid is None or inputs.valid.dim() == 1:
        yield inputs
    else:
        for view, mask in enumerate(inputs.valid):
            yield inputs._replace(cameras=inputs.cameras[view], valid=mask)


def _without_far(inputs: SplatInputs) -> SplatInputs:
    """Turn the limit ``far`` of one cloud into a mask for each view."""
    if inputs.far == math.inf:
        return inputs
    cameras = inputs.cameras
    depth = project(inputs.xyz.detach(), cameras._world2cam, cameras._intrinsics)[2]  # (V, N)
    nearer = depth < inputs.far
    return inputs._replace(valid=nearer if inputs.valid is None else nearer & inputs.valid, far=math.inf)


def weigh(features: Tensor, weights: Tensor) -> Tensor:
    """Return features (N, C + 1) float32 whose blend :func:`normalize` turns into a weighted one."""
    column = weights[:, None]
    return torch.cat([features.float() * column, column], 1)


def normalize(view: Splat, dtype: torch.dtype) -> Splat:
    """Divide blended weighted features by the blended weights; where these are not positive, there is a hole."""
    features, weight = view.features[:, :-1], view.features[:, -1:]
    hole = ~(weight > 0)
    features = torch.where(hole, 0.0, features / torch.where(hole, 1.0, weight)).to(dtype)
    hole = hole[:, 0]
    return Splat(features, torch.where(hole, math.inf, view.depth), torch.where(hole, -1, view.index))


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
