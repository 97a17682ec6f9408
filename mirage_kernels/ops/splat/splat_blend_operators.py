# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operations ``splat_offsets`` and ``splat_blend``: schemas, fake kernels, and the functions that call them."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import _library, _memory, _transforms, backend
from ...cameras import Cameras
from . import splat_blend_reference as reference


def offsets_of_cells(xyz: Tensor, index: Tensor, cameras: Cameras) -> Tensor:
    """Run the operation ``splat_offsets`` on the backend of the points' device. Arguments are not checked.

    Args and result are those of :func:`mirage_kernels.cell_offsets`.
    """
    offsets: Tensor
    try:
        offsets = backend.operation("splat_offsets", xyz)(xyz, index, cameras._intrinsics, cameras._world2cam)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "cell_offsets", index=index)
    return offsets


def blended_maps(features: Tensor, offsets: Tensor, depth: Tensor, *, band: float) -> Tensor:
    """Run the operation ``splat_blend`` on the backend of the features' device. Arguments are not checked.

    Args and result are those of :func:`mirage_kernels.blend_cells`.
    """
    run = backend.operation("splat_blend", features)
    if torch.compiler.is_dynamo_compiling():
        (band,) = _transforms.constants(band)
    maps: Tensor
    try:
        maps = run(features, offsets, depth, band)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "blend_cells", features=features)
    return maps


_library.define(
    "splat_offsets(Tensor xyz, Tensor index, Tensor intrinsics, Tensor world2cam) -> Tensor",
    reference=reference.splat_offsets,
    triton=f"{__package__}.splat_blend_triton",
    fake=lambda xyz, index, *_: xyz.new_empty(index.shape[0], 2, index.shape[1], index.shape[2]),
)
_library.define(
    "splat_blend(Tensor features, Tensor offsets, Tensor depth, float band) -> Tensor",
    reference=reference.splat_blend,
    triton=f"{__package__}.splat_blend_triton",
    fake=lambda features, *_: features.new_empty(features.shape),
)
