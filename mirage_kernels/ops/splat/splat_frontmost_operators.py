# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operation ``splat_frontmost``: schema, fake kernel, and the function that calls it."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import _library, _memory, _transforms, backend
from ...cameras import Cameras
from . import splat_frontmost_reference as reference

# Not inf: AOTInductor cannot load a program with an infinite constant.
_NO_LIMIT = 1e39  # more than any float32


def frontmost_points(
    xyz: Tensor,
    cameras: Cameras,
    *,
    valid: Tensor | None,
    near: float,
    far: float,
    tolerance: float,
    cut_off: bool,
) -> Tensor:
    """Run the operation ``splat_frontmost`` on the backend of the points' device. Arguments are not checked.

    Args and result are those of :func:`mirage_kernels.frontmost`; without a limit, ``far`` is infinite.
    """
    run = backend.operation("splat_frontmost", xyz)
    floats: tuple[float, ...] = (near, min(far, _NO_LIMIT), tolerance)
    if torch.compiler.is_dynamo_compiling():
        floats = _transforms.constants(*floats)
    front: Tensor
    try:
        front = run(xyz, cameras._intrinsics, cameras._world2cam, *cameras.size, valid, *floats, cut_off)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "frontmost", xyz=xyz, cameras=cameras)
    return front


_library.define(
    "splat_frontmost(Tensor xyz, Tensor intrinsics, Tensor world2cam, SymInt h, SymInt w, Tensor? valid, float near, "
    "float far, float tolerance, bool cut_off) -> Tensor",
    reference=reference.splat_frontmost,
    triton=f"{__package__}.splat_frontmost_triton",
    fake=lambda xyz, intrinsics, world2cam, *_: xyz.new_empty(world2cam.shape[0], xyz.shape[0], dtype=torch.bool),
)
