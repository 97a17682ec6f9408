# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""voxel_cache as torch.library sees it. The letters are those of ``voxel_cache_reference.py``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import library
from . import voxel_cache_reference as reference


def _fake_plan(xyz: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    context = torch.library.get_ctx()
    kept, voxels = context.new_dynamic_size(), context.new_dynamic_size()

    def empty(size: Any, dtype: torch.dtype = torch.int32) -> Tensor:
        return xyz.new_empty(size, dtype=dtype)

    return (
        empty(kept),
        empty(voxels + 1),
        empty(voxels, torch.int64),
        empty(voxels),
        empty(voxels),
        torch.empty(2, dtype=torch.int64, device="cpu"),
    )


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

library.define(
    "voxel_cache_plan(Tensor xyz, Tensor? valid, Tensor? footprint, Tensor keys, Tensor footprint_rows, Tensor table, "
    "SymInt rows, float inverse_size, float default_footprint, int fusion) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    reference=reference.plan,
    triton=_TRITON,
    fake=_fake_plan,
)
library.define(
    "voxel_cache_commit(Tensor order, Tensor starts, Tensor key, Tensor row, Tensor winner, Tensor xyz, "
    "Tensor? footprint, Tensor features, Tensor(a!) keys, Tensor(b!) xyz_rows, Tensor(c!) footprint_rows, "
    "Tensor(d!) features_rows, Tensor(e!)? scale, Tensor(f!)? count, Tensor(g!) stamp_rows, Tensor(h!) table, "
    "Tensor(i!) boxes0, Tensor(j!) boxes1, Tensor(k!) boxes2, SymInt rows, SymInt stamp, float default_footprint, "
    "int fusion) -> ()",
    reference=reference.commit,
    triton=_TRITON,
    fake=_fake_nothing,
)
library.define(
    "voxel_cache_index(Tensor keys, Tensor xyz, Tensor footprint, Tensor(a!) table, Tensor(b!) boxes0, "
    "Tensor(c!) boxes1, Tensor(d!) boxes2, SymInt rows) -> ()",
    reference=reference.index,
    triton=_TRITON,
    fake=_fake_nothing,
)
library.define(
    "voxel_cache_carve(Tensor xyz, Tensor depth, Tensor intrinsics, Tensor world2cam, Tensor boxes0, Tensor boxes1, "
    "Tensor boxes2, SymInt rows, float factor) -> Tensor",
    reference=reference.carve,
    triton=_TRITON,
    fake=_fake_carve,
)
library.define(
    "voxel_cache_decode(Tensor features, Tensor? scale, Tensor? count, Tensor index, Tensor like) -> Tensor",
    reference=reference.decode,
    triton=_TRITON,
    fake=_fake_decode,
)
