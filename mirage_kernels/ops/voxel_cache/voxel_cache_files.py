# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A voxel cache as tensors, as a file, and as a picture for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ... import check
from ...files import load_tensors, replacing, save_tensors, tensor_bytes
from .voxel_cache_index_reference import AXIS
from .voxel_cache_state import State

if TYPE_CHECKING:
    from .voxel_cache import VoxelCache

KIND, VERSION = "voxel_cache", 1
_SETTINGS = ("fusion", "storage", "eviction", "extent_scale", "auto_scale", "max_rows", "max_bytes")
_DTYPES = {check.dtype_name(dtype): dtype for dtype in check.FEATURE_DTYPES}


def settings(cache: VoxelCache) -> dict[str, Any]:
    size: float | str = "auto" if cache.voxel_size is None else cache.voxel_size
    common = {"voxel_size": size, "channels": cache.channels, "dtype": check.dtype_name(cache.dtype)}
    return common | {name: getattr(cache, name) for name in _SETTINGS}


def from_state_dict(
    kind: type[VoxelCache], settings: dict[str, Any], tensors: dict[str, Tensor], device: torch.device | str
) -> VoxelCache:
    if not isinstance(settings, dict):
        raise check.type_error("settings", "a dict", settings)
    check.choice("dtype", settings.get("dtype"), tuple(_DTYPES))
    cache = kind(**settings | {"dtype": _DTYPES[settings["dtype"]]}, device=device)
    load_state_dict(cache, {name: tensor.to(device) for name, tensor in tensors.items()})
    return cache


def state_dict(cache: VoxelCache) -> dict[str, Tensor]:
    return {name: tensor[: len(cache)] for name, tensor in cache.state.row_tensors()}


def load_state_dict(cache: VoxelCache, tensors: dict[str, Tensor]) -> None:
    layout, rows = cache._store.layout, len(tensors.get("keys", ()))
    empty = State.allocate(layout._replace(touched="touched" in tensors or layout.touched), 0)
    expected = {name: tensor for name, tensor in empty.row_tensors() if name != "touched" or name in tensors}
    if unknown := sorted(set(tensors) - set(expected)):
        raise check.value_error("state", f"{', '.join(expected)}", f"{', '.join(unknown)} too")
    for name, like in expected.items():
        if name not in tensors:
            raise check.value_error(name, "a tensor", "none")
        check.tensor(name, tensors[name], (rows, *like.shape[1:]), {}, (like.dtype,))
    keys = tensors["keys"]
    in_order = keys.sort().values
    if rows and (int(in_order[0]) < 0 or int(in_order[-1]) >> 3 * AXIS or not bool(in_order.diff().all())):
        raise check.value_error("keys", "packed voxels, each once", "others")
    if rows > cache._store.most:
        raise check.value_error("keys", f"at most {cache._store.most} rows, the budget of the cache", rows)
    store = cache._store.with_state(State.allocate(layout, rows))
    if "touched" in tensors:
        store.keep_track_of_touches()
    new = store.state
    for name, tensor in new.row_tensors():
        tensor.copy_(tensors.get(name, tensors["stamp"]))  # what was never touched counts from its stamp
    new.rows = rows
    store.index(new)
    cache._store = store


def save(cache: VoxelCache, path: str | Path) -> None:
    save_tensors(path, state_dict(cache), kind=KIND, version=VERSION, settings=settings(cache))


def load(kind: type[VoxelCache], path: str | Path, device: torch.device | str) -> VoxelCache:
    tensors, made_with = load_tensors(path, kind=KIND, version=VERSION)
    try:
        return from_state_dict(kind, made_with, tensors, device)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: expected a cache that fits together, got {error}") from None


def export_ply(cache: VoxelCache, path: str | Path, colors: Tensor | None) -> None:
    rows = len(cache)
    if colors is not None:
        check.tensor("colors", colors, ("rows", 3), {"rows": rows}, (torch.uint8,))
    columns = [
        (("float x", "float y", "float z"), cache.xyz),
        (("float footprint",), cache.footprint[:, None]),
        (("double stamp",), cache.stamp.double()[:, None]),  # PLY knows no 64-bit integers
    ]
    if colors is not None:
        columns.append((("uchar red", "uchar green", "uchar blue"), colors))
    properties = "".join(f"property {name}\n" for names, _ in columns for name in names)
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {rows}\n{properties}end_header\n"
    body = torch.cat([column.cpu().contiguous().view(torch.uint8) for _, column in columns], 1)
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(header.encode())
        file.write(tensor_bytes(body))
