# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operators in ``torch.ops.mirage_kernels``, with arguments that no function of the package passes. They may raise
any error of torch, but not end the process."""

from __future__ import annotations

from typing import Any

import fuzz_values as values
import torch
from fuzz_calls import BACKENDS
from fuzz_input import Input
from torch import Tensor

from mirage_kernels import VoxelCache, _library, testing

LIBRARIES = {"reference": _library.REFERENCE, "cpp": _library.NATIVE}
ERRORS = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError, MemoryError, AttributeError,
          AssertionError)  # fmt: skip
INTEGERS = (0, 1, -1, 2, 63, 64, 65, 1000, 1 << 24, 1 << 31, 1 << 32, 1 << 40, (1 << 63) - 1, -(1 << 63), 10**30)


def names() -> list[str]:
    """Return the names of all operators of the library."""
    found = {name for space, name, _ in _library._overloads if space == _library.NATIVE}
    return sorted(found)


def operator(backend: str, name: str) -> Any:
    """Return the operator of a backend; those of cameras have only a reference."""
    is_native = torch._C._dispatch_has_kernel_for_dispatch_key(f"{_library.NATIVE}::{name}", "CPU")
    return _library.overload(LIBRARIES[backend] if is_native else _library.REFERENCE, name)


def arguments(data: Input, name: str) -> list[Any]:
    """Return arguments that an operator takes, by the names in its schema."""
    n, views, (h, w), channels = data.choice(values.COUNTS), data.choice((2, 1, 0)), (5, 7), 3
    g = data.generator()
    cameras = testing.random_cameras(g, views, (h, w))
    dtype = data.choice(values.DTYPES)
    cache = VoxelCache(0.25, channels, dtype=dtype)
    points = testing.random_points(g, "room", n)
    features = torch.randn(n, channels, generator=g).to(dtype)
    cache.insert(points, features)
    state = cache.state
    plan, counts = _library.overload(_library.REFERENCE, "voxel_cache_plan")(
        *(points, features, state.keys, state.footprint, state.table, state.rows, 4.0, 0.25, 0)
    )
    maps = {"depth": torch.rand(views, h, w, generator=g) + 1, "grad_features": torch.randn(views, channels, h, w)}
    known: dict[str, Any] = {
        "xyz": points, "features": features, "intrinsics": cameras.intrinsics, "world2cam": cameras.world2cam,
        "cam2world": cameras.cam2world, "h": h, "w": w, "b": views, "num_points": n, "num_groups": n,
        "rows": state.rows, "index": torch.randint(-1, max(state.rows, 1), (views, h, w), generator=g),
        "grad_features": maps["grad_features"].to(dtype),
        "blended": maps["grad_features"].to(dtype), "weight": maps["depth"] - 1, "grad_depth": maps["depth"],
        "depth": maps["depth"], "a": torch.randint(-9, 9, (3, 2)), "like": features[:0], "keys": state.keys,
        "xyz_rows": state.xyz, "footprint_rows": state.footprint, "features_rows": state.features, "table": state.table,
        "stamp_rows": state.stamp, "boxes0": state.boxes0, "boxes1": state.boxes1, "boxes2": state.boxes2, "stamp": 3,
        "inverse_size": 4.0, "default_footprint": 0.25, "fusion": 0, "pooling": data.integer(0, 3), "min_valid": 1,
        "max_masked": 0.25, "band": 0.05, "near": 0.1, "extent": 0.1, "radius": 0.0, "least_extent": 0.0,
        "factor": 1.05, "kept": int(counts[2]), "segments": int(counts[3]), "plan": plan, "grad": features,
        "times": torch.rand(3).double(), "eye": torch.rand(2, 3).double(), "target": torch.rand(2, 3).double(),
        "quaternion": torch.rand(2, 4).double(), "translation": torch.rand(2, 3).double(),
        "up": torch.rand(3).double(), "grad_xyz": points, "grad_footprint": torch.rand(n), "valid": torch.rand(n) < 0.7,
        "footprint": torch.rand(n), "extents": torch.rand(n), "groups": torch.randint(-1, n + 1, (n,)), "mask": None,
    }  # fmt: skip
    known["b" if name == "overlap" else "other"] = torch.randint(-9, 9, (4, 2))
    if name.startswith("unproject"):
        known["features"] = torch.randn(views, channels, 3, 4).to(dtype)
        known["grad"] = torch.randn(views * 12, channels)
        known["grad_xyz"], known["grad_footprint"] = torch.randn(views * 12, 3), torch.randn(views * 12)
        known["h"], known["w"], known["mask"] = 3, 4, torch.rand(views, h, w) < 0.2
        order = ("depth", "features", "intrinsics", "cam2world", "mask", "pooling", "min_valid", "max_masked")
        known["valid"] = _library.overload(_library.REFERENCE, "unproject")(*(known[name] for name in order))[2]
    if name.startswith(("splat_layers", "composite")):
        shape = (views, 2, h, w)
        known |= {"index": torch.randint(-1, max(n, 1), shape, generator=g), "weights": torch.rand(shape), "k": 2}
        known |= {"grad": known["grad_features"], "mode": data.integer(0, 2)}
        known |= {"grad_depth": torch.randn(shape), "grad_distance2": torch.randn(shape)}
    if name == "splat_frontmost":
        known |= {"far": 3.0, "tolerance": 0.1, "cut_off": bool(data.byte() & 1)}
    if name == "overlap_keep":
        known |= {"bits": torch.randint(-9, 9, (5, 2)), "count": data.integer(0, 5)}
    if name == "quantize":
        known["values"] = torch.randn(n, 20).to(dtype)
    if name == "splat_blend":
        known |= {"features": maps["grad_features"].to(dtype), "offsets": torch.rand(views, 2, h, w) - 0.5}
    if name == "splat_offsets":
        known["index"] = torch.randint(-1, max(n, 1), (views, h, w), generator=g)
    if name == "splat_surface":
        known |= {"behind": torch.rand(n) < 0.2, "below": torch.rand(n) < 0.2, "first_scale": 0.0, "scale": 0.6}
        known["tolerance"] = 0.05
    if name == "associate":
        known |= {"depth": torch.rand(n), "rendered": torch.rand(n), "footprints": torch.rand(5)}
        known |= {"past": 3 * torch.rand(views, h, w)}
        known |= {"index": torch.randint(-1, 6, (n,), generator=g), "tolerance": 0.05, "closer": 2.0}
    if name.startswith("splat_sum"):
        known |= {"uv": 8 * torch.rand(2, n), "features": torch.randn(channels, n), "weights": torch.rand(n)}
        known |= {"center": 0.5, "grad": torch.randn(channels + 1, h, w)}
    if name == "voxel_cache_index":
        known |= {"xyz": state.xyz, "footprint": state.footprint}
    if name == "voxel_cache_carve":
        known["xyz"] = state.xyz
    if name == "check_world2cam":
        known |= {"world2cam": cameras.viewmats}
    schema = _library.overload(_library.NATIVE, name)._schema
    return [_argument(data, known, argument) for argument in schema.arguments]


def _argument(data: Input, known: dict[str, Any], argument: Any) -> Any:
    """Return an argument as it is known, or another."""
    if argument.name not in known:
        return None
    value = known[argument.name]
    if isinstance(value, float) and str(argument.type) == "Tensor":  # of an operation "symbolic"
        value = torch.tensor(value, dtype=torch.float64)
    kind = data.byte()
    if "Optional" in str(argument.type) and kind & 1:
        return None
    if kind < 200:
        return value
    if isinstance(value, Tensor):
        return values.varied(data, value)
    if isinstance(value, int):
        return data.choice(INTEGERS)
    return data.choice(values.NUMBERS) if kind < 250 else data.choice(values.WRONG)


def fuzz_operators(data: Input) -> None:
    name = data.choice(names())
    given = arguments(data, name)
    run = operator(data.choice(BACKENDS[::-1]), name)
    try:
        run(*given)
    except ERRORS:
        return
