# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The modes of the operations as ``Literal`` types, so that a type checker finds a misspelled one."""

from __future__ import annotations

from typing import Literal, get_args

BackendName = Literal["cuda", "triton", "cpp", "reference"]
SplatMode = Literal["nearest", "bilinear"]
CompositeMode = Literal["alpha", "weighted", "normalized"]
Pooling = Literal["median", "nearest", "min", "bilinear"]
DepthType = Literal["z", "ray"]
Fusion = Literal["best", "latest", "mean"]
Storage = Literal["int8"]
Eviction = Literal["oldest", "untouched", "farthest"]
# "farthest" needs a position, so it is a mode of VoxelCache.evict only.
AutomaticEviction = Literal["oldest", "untouched"]

BACKENDS: tuple[BackendName, ...] = get_args(BackendName)  # in order of preference
SPLAT_MODES: tuple[SplatMode, ...] = get_args(SplatMode)
# Operations take the position of a pooling, a fusion or a mode of composite in its tuple.
COMPOSITE_MODES: tuple[CompositeMode, ...] = get_args(CompositeMode)
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
FUSIONS: tuple[Fusion, ...] = get_args(Fusion)
DEPTH_TYPES: tuple[DepthType, ...] = get_args(DepthType)
STORAGES: tuple[Storage, ...] = get_args(Storage)
EVICTIONS: tuple[Eviction, ...] = get_args(Eviction)
AUTOMATIC_EVICTIONS: tuple[AutomaticEviction, ...] = get_args(AutomaticEviction)
