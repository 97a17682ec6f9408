# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""voxel_cache as torch.library sees it. The letters are those of ``voxel_cache_reference.py``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import library
from . import voxel_cache_reference as reference


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

# What a call need not name has a default, because every argument takes time to hand over.
_STATE = (
    "Tensor(a!) keys, Tensor(b!) xyz_rows, Tensor(c!) footprint_rows, Tensor(d!) features_rows, Tensor(e!) stamp_rows, "
    "Tensor(f!) table, Tensor(g!) boxes0, Tensor(h!) boxes1, Tensor(i!) boxes2, SymInt rows"
)
_STORED = "Tensor(j!)? scale=None, Tensor(k!)? count=None"

library.define(
    f"voxel_cache_insert(Tensor xyz, Tensor features, {_STATE}, SymInt stamp, float inverse_size, "
    f"float default_footprint, int fusion, Tensor? footprint=None, Tensor? valid=None, {_STORED}) -> (Tensor, Tensor)",
    reference=reference.insert,
    triton=_TRITON,
    fake=_fake_insert,
)
library.define(
    f"voxel_cache_commit(Tensor plan, SymInt kept, SymInt segments, Tensor xyz, Tensor features, {_STATE}, "
    f"SymInt stamp, float default_footprint, int fusion, Tensor? footprint=None, {_STORED}) -> ()",
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
