# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operation ``associate``: schema, fake kernel, and the function that calls it."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import _library, _memory, _transforms, backend
from . import associate_reference as reference


def associate_points(
    xyz: Tensor,
    depth: Tensor,
    footprint: Tensor,
    rendered: tuple[Tensor, Tensor],
    footprints: Tensor,
    *,
    valid: Tensor | None,
    past: tuple[Tensor, Tensor, Tensor],
    tolerance: float,
    closer: float,
) -> Tensor:
    """Run the operation ``associate`` on the backend of the points' device. Arguments are not checked.

    Args and result are those of :func:`mirage_kernels.associate`; ``rendered`` is depth (N,) and index (N,), ``past``
    depth (F, h, w), intrinsics (F, 3, 3) and world2cam (F, 3, 4).
    """
    run = backend.operation("associate", xyz)
    floats: tuple[float, ...] = (tolerance, closer)
    if torch.compiler.is_dynamo_compiling():
        floats = _transforms.constants(*floats)
    code: Tensor
    try:
        code = run(xyz, depth, footprint, valid, *rendered, footprints, *past, *floats)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "associate", xyz=xyz, past=past[0])
    return code


_library.define(
    "associate(Tensor xyz, Tensor depth, Tensor footprint, Tensor? valid, Tensor rendered, Tensor index, "
    "Tensor footprints, Tensor past, Tensor intrinsics, Tensor world2cam, float tolerance, float closer) -> Tensor",
    reference=reference.associate,
    triton=f"{__package__}.associate_triton",
    fake=lambda xyz, *_: xyz.new_empty(xyz.shape[0], dtype=torch.uint8),
)
