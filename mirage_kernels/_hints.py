# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A warning where every view is empty because poses follow another convention.

The first calls of a process are looked at, until one of them shows a point: then the poses are right, and no later call
pays for this.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ._camera_operators import is_recorded
from ._projection import inside, project
from .cameras import Cameras

is_pending = True  # read by splat before it calls look_at
_MAX_CALLS = 16
_MAX_POINTS = 4096
_MIN_SHARE = 0.25  # of the points in view by another convention
_calls = 0


def look(xyz: Tensor, cameras: Cameras, index: Tensor) -> None:
    """Warn if all views are empty and points would be in view if the poses had another convention.

    Args:
        xyz: (N, 3), world units.
        cameras: the cameras that the points were rendered into.
        index: (V, h, w), of the points of each cell.
    """
    global is_pending, _calls
    if is_recorded() or xyz.is_meta or xyz.dim() != 2 or len(xyz) == 0 or index.numel() == 0:
        return
    if xyz.is_cuda and (torch.cuda.is_current_stream_capturing() or torch.cuda.get_sync_debug_mode()):
        return  # this reads values, and waits for the device
    _calls += 1
    is_pending = int(index.max()) < 0 and _calls < _MAX_CALLS
    if is_pending and (hint := _hint(xyz.detach(), cameras)):
        is_pending = False
        warnings.warn(f"splat: no camera sees a point. {hint}", stacklevel=3)


def _hint(xyz: Tensor, cameras: Cameras) -> str | None:
    xyz = xyz[xyz.isfinite().all(1)]
    xyz = xyz[:: -(-len(xyz) // _MAX_POINTS) or 1].float()
    given, inverse = cameras._world2cam, cameras._cam2world[:, :3]
    flip = given.new_ones(3, 1)
    flip[1:] = -1
    other = {
        "with the axes of OpenGL, y up and z backward; see Cameras.from_opengl": flip * given,
        "as world-to-camera poses; see Cameras.from_world2cam": inverse,
        "as world-to-camera poses with the axes of OpenGL": flip * inverse,
    }
    shares = {reading: _share_in_view(xyz, m, cameras) for reading, m in other.items()}
    best = max(shares, key=lambda reading: shares[reading])
    if not len(xyz) or shares[best] < _MIN_SHARE or _share_in_view(xyz, given, cameras) > 0:
        return None
    return f"{shares[best]:.0%} of the points would be in view if the poses were read {best}"


def _share_in_view(xyz: Tensor, world2cam: Tensor, cameras: Cameras) -> float:
    u, v, depth, _ = project(xyz, world2cam, cameras._intrinsics)
    return float(inside(u, v, depth, cameras.size).any(0).float().mean())
