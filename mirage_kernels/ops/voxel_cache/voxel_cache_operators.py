# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operations of a voxel cache: schemas, fake kernels, and one function per operation that calls it.

The functions run on the backend of the state's device and do not check their arguments. The letters in shapes are those
of ``voxel_cache_reference.py``.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import starmap
from typing import Any

import torch
from torch import Tensor

from ... import _library, _memory, _transforms, backend
from ..._modes import FUSIONS, Fusion
from ...cameras import Cameras
from . import voxel_cache_reference as reference
from .voxel_cache_state import InsertInput, State


def plan(state: State, points: InsertInput, *, voxel_size: float, fusion: Fusion) -> tuple[Tensor, Tensor]:
    """Plan an insert. Nothing is modified.

    Args:
        state: the cache.
        points, voxel_size, fusion: as for :func:`insert`.

    Returns:
        As :func:`insert` does.
    """
    run = backend.operation("voxel_cache_plan", state.keys)
    mode, inverse_size = FUSIONS.index(fusion), _inverse_of(voxel_size)
    found = (state.keys, state.footprint, state.table, state.rows)
    planned: tuple[Tensor, Tensor] = run(
        *(points.xyz, points.features, *found, inverse_size, voxel_size, mode, points.footprint, points.valid)
    )
    return planned


def insert(
    state: State,
    points: InsertInput,
    *,
    stamp: int,
    voxel_size: float,
    fusion: Fusion,
    into: list[tuple[Tensor, Tensor]],
) -> None:
    """Plan an insert and, if ``state`` has room for the new voxels, write it into ``state``.

    Args:
        state: modified in place; ``state.rows`` is not updated.
        points: the points to insert.
        stamp: stamp of the modified rows.
        voxel_size: world units; also the footprint of points without one.
        fusion: what happens to a voxel that has a row already.
        into: receives one entry: the packed plan (:class:`~.voxel_cache_reference.Plan`), and on the CPU (4,) int64:
            numbers of new voxels, rejected points, kept points and segments. An interrupt comes either before the state
            is modified or after the entry was added, because no Python code runs in between.
    """
    run = backend.operation("voxel_cache_insert", state.keys)
    if torch.compiler.is_dynamo_compiling():
        (voxel_size,) = _transforms.constants(voxel_size)
    mode, inverse_size = FUSIONS.index(fusion), _inverse_of(voxel_size)
    arguments = (
        *(points.xyz, points.features, *state.insert_arguments, state.rows),
        *(stamp, inverse_size, voxel_size, mode, points.footprint, points.valid, state.scale, state.count),
    )
    try:
        into.extend(starmap(run._op, (arguments,)))
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "insert", xyz=points.xyz, features=points.features)


def commit(
    state: State,
    plan: Tensor,
    points: InsertInput,
    *,
    kept: int,
    segments: int,
    stamp: int,
    voxel_size: float,
    fusion: Fusion,
) -> None:
    """Write a planned insert into ``state``, which must have room for its new voxels.

    Args:
        state: modified in place; ``state.rows`` is not updated.
        plan: the packed plan that :func:`plan` or :func:`insert` returned.
        points: the points to insert.
        kept, segments: numbers of kept points and of segments of the plan.
        stamp, voxel_size, fusion: as for :func:`insert`.
    """
    run = backend.operation("voxel_cache_commit", state.keys)
    if torch.compiler.is_dynamo_compiling():
        (voxel_size,) = _transforms.constants(voxel_size)
    mode = FUSIONS.index(fusion)
    try:
        run(
            *(plan, kept, segments, points.xyz, points.features, *state.insert_arguments, state.rows),
            *(stamp, voxel_size, mode, points.footprint, state.scale, state.count),
        )
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "insert", xyz=points.xyz, features=points.features)


def index(state: State) -> None:
    """Rebuild the hash table and the bounding boxes of ``state`` from its rows."""
    run = backend.operation("voxel_cache_index", state.keys)
    run(state.keys, state.xyz, state.footprint, state.table, *state.boxes, state.rows)


def carve(state: State, depth: Tensor, cameras: Cameras, *, factor: float) -> Tensor:
    """Find the rows that depth maps see through.

    Args:
        state: the cache.
        depth: (V, H, W) float32 z-depth, world units.
        cameras: V cameras over (H, W).
        factor: a row at depth z is dropped where a map has more than ``factor * z``.

    Returns:
        keep (rows,) bool.
    """
    run = backend.operation("voxel_cache_carve", state.keys)
    if torch.compiler.is_dynamo_compiling():
        (factor,) = _transforms.constants(factor)
    views = (cameras._intrinsics, cameras._world2cam)
    keep: Tensor
    try:
        keep = run(state.xyz, depth, *views, *state.boxes, state.rows, factor)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "carve", depth=depth, rows=state.rows)
    return keep


def decode(state: State, index: Tensor, like: Tensor) -> Tensor:
    """Gather the features of rows, converted from int8 steps or float32 sums where they are stored so.

    Args:
        state: the cache.
        index: (V, h, w) int64, rows; -1 gives zeros.
        like: a tensor of the dtype of the result, on the device of the state.

    Returns:
        (V, C, h, w).
    """
    run = backend.operation("voxel_cache_decode", state.keys)
    scale, count = (None if tensor is None else tensor[: state.rows] for tensor in (state.scale, state.count))
    features: Tensor
    try:
        features = run(state.features[: state.rows], scale, count, index, like)
    except (RuntimeError, MemoryError, IndexError) as error:
        if index.is_cpu and index.numel() and int(index.max()) >= state.rows:
            raise IndexError(f"index: expected rows below {state.rows}, got {int(index.max())}") from None
        _memory.raise_explained(error, "features", rows=state.rows, index=index)
    return features


def voxels_of(xyz: Tensor, voxel_size: float) -> tuple[Tensor, Tensor]:
    """Return the packed voxel of every point (N,) and whether it is in range."""
    return reference.keys_of(xyz, _inverse_of(voxel_size))


def are_in_range(features: Tensor, fusion: Fusion) -> Tensor:
    """Return which points (N,) have features (N, C) that an insert does not reject."""
    return reference.are_in_range(features, FUSIONS.index(fusion))


@lru_cache
def _inverse_of(size: float) -> float:
    """Return float32(1 / float32(size)), by which coordinates are multiplied to find their voxel."""
    return float((1 / torch.tensor(size, dtype=torch.float32, device="cpu")).item())


def _fake_insert(xyz: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    words = torch.library.get_ctx().new_dynamic_size()
    return xyz.new_empty(words, dtype=torch.int64), torch.empty(4, dtype=torch.int64, device="cpu")


def _fake_nothing(*args: Any) -> None:
    return None


def _fake_carve(
    xyz: Tensor,
    depth: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    boxes0: Tensor,
    boxes1: Tensor,
    boxes2: Tensor,
    rows: int,
    factor: float,
) -> Tensor:
    return xyz.new_empty(rows, dtype=torch.bool)


def _fake_decode(features: Tensor, scale: Tensor | None, count: Tensor | None, index: Tensor, like: Tensor) -> Tensor:
    v, h, w = index.shape
    return like.new_empty(v, features.shape[1], h, w)


_TRITON = f"{__package__}.voxel_cache_triton"

# Optional arguments have defaults, because every argument that a call passes takes time.
_STATE = (
    "Tensor(a!) keys, Tensor(b!) xyz_rows, Tensor(c!) footprint_rows, Tensor(d!) features_rows, Tensor(e!) stamp_rows, "
    "Tensor(f!) table, Tensor(g!) boxes0, Tensor(h!) boxes1, Tensor(i!) boxes2, SymInt rows"
)
_STORED = "Tensor(j!)? scale=None, Tensor(k!)? count=None"

_library.define(
    "voxel_cache_plan(Tensor xyz, Tensor features, Tensor keys, Tensor footprint_rows, Tensor table, SymInt rows, "
    "float inverse_size, float default_footprint, int fusion, Tensor? footprint=None, Tensor? valid=None) "
    "-> (Tensor, Tensor)",
    reference=reference.plan_alone,
    triton=_TRITON,
    fake=_fake_insert,
)
_library.define(
    f"voxel_cache_insert(Tensor xyz, Tensor features, {_STATE}, SymInt stamp, float inverse_size, "
    f"float default_footprint, int fusion, Tensor? footprint=None, Tensor? valid=None, {_STORED}) -> (Tensor, Tensor)",
    reference=reference.insert,
    triton=_TRITON,
    fake=_fake_insert,
)
_library.define(
    f"voxel_cache_commit(Tensor plan, SymInt kept, SymInt segments, Tensor xyz, Tensor features, {_STATE}, "
    f"SymInt stamp, float default_footprint, int fusion, Tensor? footprint=None, {_STORED}) -> ()",
    reference=reference.commit,
    triton=_TRITON,
    fake=_fake_nothing,
)
_library.define(
    "voxel_cache_index(Tensor keys, Tensor xyz, Tensor footprint, Tensor(a!) table, Tensor(b!) boxes0, "
    "Tensor(c!) boxes1, Tensor(d!) boxes2, SymInt rows) -> ()",
    reference=reference.index,
    triton=_TRITON,
    fake=_fake_nothing,
)
_library.define(
    "voxel_cache_carve(Tensor xyz, Tensor depth, Tensor intrinsics, Tensor world2cam, Tensor boxes0, Tensor boxes1, "
    "Tensor boxes2, SymInt rows, float factor) -> Tensor",
    reference=reference.carve,
    triton=_TRITON,
    fake=_fake_carve,
)
_library.define(
    "voxel_cache_decode(Tensor features, Tensor? scale, Tensor? count, Tensor index, Tensor like) -> Tensor",
    reference=reference.decode,
    triton=_TRITON,
    fake=_fake_decode,
)
