# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operations ``visible`` and ``overlap``: schemas, fake kernels, and the functions that call them."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import _library, _memory, backend
from ...cameras import Cameras
from . import overlap_reference as reference


def visible_groups(
    xyz: Tensor, cameras: Cameras, *, valid: Tensor | None, groups: Tensor | None, num_groups: int
) -> Tensor:
    """Run the operation ``visible`` on the backend of the points' device. Arguments are not checked.

    Args and result are those of :func:`mirage_kernels.visible`; ``num_groups`` is N if ``groups`` is None.
    """
    h, w = cameras.size
    run = backend.operation("visible", xyz)
    bits: Tensor
    try:
        bits = run(xyz, cameras._intrinsics, cameras._world2cam, h, w, valid, groups, num_groups)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "visible", xyz=xyz, cameras=cameras, num_groups=num_groups)
    return bits


def intersection_over_union(a: Tensor, b: Tensor) -> Tensor:
    """Run the operation ``overlap`` on the backend of the sets' device. Arguments are not checked.

    Args and result are those of :func:`mirage_kernels.overlap`.
    """
    run = backend.operation("overlap", a)
    result: Tensor
    try:
        result = run(a, b)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "overlap", a=a, b=b)
    return result


def most_of_sets(bits: Tensor, count: int) -> Tensor:
    """Run the operation ``overlap_keep`` on the backend of the sets' device. Arguments are not checked.

    Args and result are those of :func:`mirage_kernels.keep_sets`.
    """
    kept: Tensor
    try:
        kept = backend.operation("overlap_keep", bits)(bits, count)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "keep_sets", bits=bits)
    return kept


_library.define(
    "visible(Tensor xyz, Tensor intrinsics, Tensor world2cam, SymInt h, SymInt w, Tensor? valid, Tensor? groups, "
    "SymInt num_groups) -> Tensor",
    reference=reference.visible,
    triton=f"{__package__}.overlap_triton",
    fake=lambda xyz, intrinsics, world2cam, h, w, valid, groups, num_groups: xyz.new_empty(
        world2cam.shape[0], (num_groups + 63) // 64, dtype=torch.int64
    ),
)
_library.define(
    "overlap(Tensor a, Tensor b) -> Tensor",
    reference=reference.overlap,
    triton=f"{__package__}.overlap_triton",
    fake=lambda a, b: a.new_empty(a.shape[0], b.shape[0], dtype=torch.float32),
)
# C++ has it. On a GPU the reference runs: sets leave one after the other, and little can be done side by side.
_library.define(
    "overlap_keep(Tensor bits, SymInt count) -> Tensor",
    reference=reference.keep_sets,
    fake=lambda bits, count: bits.new_empty(count),
    native=False,
)
