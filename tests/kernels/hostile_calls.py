# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Calls the native operations, without the checks of the Python functions, with wrong arguments.

Arguments of a good call are replaced by tensors of other shapes, dtypes, strides and contents, and by the largest and
smallest numbers. A call returns or raises an error of Python. It is a separate program, so that its memory can be
limited: hostile_calls.py SEED CALLS MEBIBYTES.
"""

from __future__ import annotations

import collections
import math
import random
import resource
import sys
from pathlib import Path
from typing import Any

import torch
from test_associate import associate_case
from test_voxel_cache_library import cloned, insert
from torch import Tensor

from mirage_kernels import VoxelCache, _library, composite, splat, testing, unproject

WHOLE = [0, 1, 2, 3, 63, 64, 65, 300, -1, -(2**31), -(2**63), *(2**n + d for n in (31, 32, 53, 62) for d in (-1, 0, 1))]
WHOLE += [2**63 - 1]
FLOATS = [0.0, -0.0, 1e-45, -1.0, 1e-6, 1.0, 1e30, 3e38, -3e38, 1e300, math.inf, -math.inf, math.nan]
DTYPES = [torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.int32, torch.int64, torch.bool, torch.uint8]
DTYPES += [torch.float32, torch.complex64]
# An AttributeError is that of a fake kernel, which torch calls if a tensor is None.
ALLOWED = (
    *(RuntimeError, TypeError, ValueError, NotImplementedError, IndexError, MemoryError, OverflowError),
    AttributeError,
)


def backward_of_splat() -> dict[str, tuple[Any, ...]]:
    case = testing.splat_case(0, n=30, channels=4)
    xyz, features, k, m, h, w, valid, *_ = case.arguments()
    result = case.run(splat)
    grad, depth = torch.randn(result.features.shape), torch.randn(result.depth.shape)
    out, near, _, weight = _library.overload(_library.NATIVE, "splat_bilinear")(xyz, features, k, m, h, w, valid, 0.1)
    read = (k, m, valid, near, weight, 0.1)
    return {
        "splat_backward_features": (grad, result.index, 30),
        "splat_backward_xyz": (depth, result.index, m, 30),
        "splat_bilinear": (xyz, features, k, m, h, w, valid, 0.1),
        "splat_bilinear_backward_features": (grad, xyz, *read),
        "splat_bilinear_backward_xyz": (grad, out, xyz, features, *read),
    }


def of_clouds(case: testing.SplatCase, source: random.Random) -> tuple[Any, ...]:
    """Two clouds, as (2, N / 2, ...) or by offsets."""
    xyz, features, *views, valid, extents = case.arguments()[:8]
    if source.random() < 0.5:
        offsets = torch.tensor([0, len(xyz) // 3, len(xyz)])
        return (xyz, features, *views, valid, extents, offsets, 0.1, 0.5, 1e-6)
    shape = (2, len(xyz) // 2)
    of_points = [None if t is None else t.view(shape) for t in (valid, extents)]
    return (xyz.view(*shape, 3), features.view(*shape, features.shape[1]), *views, *of_points, None, 0.1, 0.5, 1e-6)


def of_unproject(pooling: int) -> dict[str, tuple[Any, ...]]:
    case = testing.unproject_case(0, mask=True)
    camera = (case.cameras.rescale((3, 5)).intrinsics, case.cameras.cam2world, case.mask)
    p = case.run(unproject)
    grad = (torch.randn_like(p.xyz), torch.randn_like(p.footprint), p.valid)
    return {
        "unproject": (case.depth, case.features, *camera, pooling, 1, 0.5),
        "unproject_backward_features": (torch.randn_like(p.features), p.valid, 2, 3, 5),
        "unproject_backward_depth": (*grad, case.depth, *camera, 3, 5, pooling, 1, 0.5),
    }


def of_composite(case: testing.SplatCase) -> dict[str, tuple[Any, ...]]:
    layers, mode = splat(case.xyz, None, case.cameras, k=3), 0
    depth, out = torch.rand(layers.depth.shape), composite(case.features, layers, layers.depth)
    views = (case.cameras.intrinsics, case.cameras.world2cam)
    return {
        "splat_layers_backward_xyz": (depth, depth, case.xyz, *views, layers.index),
        "composite": (case.features, layers.index, depth, mode),
        "composite_backward_features": (out, layers.index, depth, len(case.xyz), mode),
        "composite_backward_weights": (out, case.features, layers.index, depth, mode),
    }


def of_surface(n: int, source: random.Random) -> tuple[Any, ...]:
    case = testing.splat_case(1, n=n, valid=True, extent="each", boxes=True)
    masks = [source.choice([None, torch.rand(n) < 0.5]) for _ in range(2)]
    views = (case.cameras.intrinsics, case.cameras.world2cam, 6, 9)
    return (case.xyz, case.extent, *views, case.valid, *masks, 0.0, 0.6, 0.1, 0.05, *(case.boxes or ()), 1e-6)


def of_cache(options: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    cache, inserted, committed = insert(True, **options)
    s, cameras = cache.state, testing.random_cameras(torch.Generator().manual_seed(1), 2, (6, 9))
    found = (s.keys, s.footprint, s.table, s.rows)
    index = cache.splat(cameras).index
    like = torch.empty(0, dtype=cache.dtype)
    views = (cameras.intrinsics, cameras.world2cam)
    return {
        "voxel_cache_plan": (*inserted[:2], *found, 4.0, 0.25, 0, None, None),
        "voxel_cache_insert": inserted,
        "voxel_cache_commit": committed,
        "voxel_cache_index": (s.keys, s.xyz, s.footprint, s.table, *s.boxes, s.rows),
        "voxel_cache_carve": (s.xyz, 3 * torch.rand(2, 6, 9), *views, *s.boxes, s.rows, 1.05),
        "voxel_cache_decode": (s.features[: s.rows], None if s.scale is None else s.scale[: s.rows],
                               None if s.count is None else s.count[: s.rows], index, like),
    }  # fmt: skip


def good_calls(source: random.Random) -> dict[str, tuple[Any, ...]]:
    """Arguments of one good call of each operation."""
    dtype = source.choice([torch.float32, torch.bfloat16, torch.float16])
    n = source.choice([0, 30, 200, 9000])
    case = testing.splat_case(
        0, n=n, valid=True, extent=source.choice(["none", "one", "each"]), dtype=dtype, boxes=True
    )
    if not isinstance(case.extent, Tensor):
        case = case._replace(boxes=None)
    seen = testing.visible_case(0, n=n, valid=True, num_groups=70)
    camera = (seen.cameras.intrinsics, seen.cameras.world2cam, *seen.cameras.size)
    cache: dict[str, Any] = {"dtype": dtype, "fusion": source.choice(["best", "latest", "mean"])}
    if cache["fusion"] != "mean":
        cache["storage"] = source.choice([None, "int8"])
    return {
        "splat": case.arguments(),
        "splat_plain": case.arguments()[:6],
        "splat_layers": (*case.arguments()[:1], *case.arguments()[2:6], 3, *case.arguments()[6:8], 0.1, 0.5),
        **of_composite(case),
        "splat_frontmost": (seen.xyz, *camera, seen.valid, 1e-6, 3.0, 0.1, False),
        "splat_sum": (torch.rand(2, n) * 12 - 2, torch.rand(3, n), torch.rand(n), 6, 9, 0.5),
        "splat_clouds": of_clouds(case, source),
        "visible": (seen.xyz, *camera, seen.valid, seen.groups, 70),
        "overlap": (torch.arange(60).reshape(3, 20), torch.arange(40).reshape(2, 20)),
        "overlap_keep": (torch.randint(-9, 9, (6, 3)), 2),
        "project": (seen.xyz, *camera),
        "quantize": (torch.randn(5, n),),
        "splat_surface": of_surface(n, source),
        "splat_offsets": (seen.xyz, torch.randint(-1, max(n, 1), (len(seen.cameras), 6, 9)), *camera[:2]),
        "splat_blend": (torch.randn(2, 3, 6, 9).to(dtype), torch.rand(2, 2, 6, 9) - 0.5, torch.rand(2, 6, 9) + 1, 0.05),
        "associate": associate_case(0, n=n, rows=source.choice([0, 9]), valid=True).arguments(),
        "prepare_cameras": (seen.cameras.intrinsics, seen.cameras.cam2world),
        **backward_of_splat(),
        **of_unproject(source.randrange(4)),
        **of_cache(cache),
    }


def other_contents(tensor: Tensor, source: random.Random) -> Tensor:
    """The same shape, with some extreme values or arbitrary bits."""
    g = torch.Generator().manual_seed(source.randrange(2**32))
    tensor = tensor.clone()
    if source.random() < 0.3 and tensor.numel() and tensor.dtype != torch.bool:
        words = tensor.view(-1).view(torch.uint8)
        words.copy_(torch.randint(0, 256, words.shape, generator=g, dtype=torch.uint8))
    elif tensor.is_floating_point():
        tensor[torch.rand(tensor.shape, generator=g) < 0.3] = torch.tensor(source.choice(FLOATS)).to(tensor.dtype)
    elif tensor.dtype in (torch.int32, torch.int64):
        limit = torch.iinfo(tensor.dtype)
        value = min(max(source.choice(WHOLE), limit.min), limit.max)
        tensor[torch.rand(tensor.shape, generator=g) < source.choice([0.05, 1.0])] = value
    return tensor


def other_tensor(tensor: Tensor, source: random.Random) -> Any:
    """Another shape, dtype, layout or content."""
    kind = source.randrange(12)
    if kind < 4:
        return other_contents(tensor, source)
    if kind == 4:
        return tensor.to(source.choice(DTYPES))
    if kind == 5 and tensor.dim():
        dim = source.randrange(tensor.dim())
        return tensor.narrow(dim, 0, source.randrange(tensor.shape[dim] + 1))
    if kind == 6:
        return tensor.new_zeros([source.randrange(5) for _ in range(source.randrange(6))])
    if kind == 7 and tensor.dim():  # without memory of its own
        shape = list(tensor.shape)
        shape[source.randrange(len(shape))] = source.choice([2**31, 2**40, 2**61])
        return tensor.new_zeros([1] * len(shape)).expand(shape)
    if kind == 8 and tensor.dim() > 1:
        return tensor.transpose(0, -1).contiguous().transpose(0, -1)
    if kind == 9 and tensor.dim():
        return torch.cat([tensor, tensor[: source.randrange(2)]])
    if kind == 10:
        return source.choice([None, tensor.to("meta"), tensor.unsqueeze(0), tensor.flatten(), tensor.new_zeros(())])
    shape = [0, *(source.choice([2**31, 2**62]) for _ in range(max(tensor.dim() - 1, 0)))]
    source.shuffle(shape)
    return tensor.new_empty(shape)


def other(value: Any, source: random.Random) -> Any:
    if isinstance(value, Tensor):
        try:
            return other_tensor(value, source)
        except RuntimeError:  # torch has no such tensor
            return value.new_empty([0] * value.dim())
    if isinstance(value, float):
        return source.choice(FLOATS)
    return source.choice(WHOLE) if isinstance(value, int) else value


def main(seed: int, calls: int, mebibytes: int) -> None:
    if mebibytes:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (mebibytes << 20),) * 2)
    source, counts = random.Random(seed), collections.Counter[str]()
    torch.set_num_threads(2)
    for number in range(calls):
        if number % 200 == 0:
            good = good_calls(source)
            for name, arguments in good.items():  # they are good
                _library.overload(_library.NATIVE, name)(*cloned(arguments))
        name = source.choice(list(good))
        arguments = list(cloned(good[name]))
        for at in source.sample(range(len(arguments)), min(len(arguments), source.choice([1, 1, 1, 2, 3]))):
            arguments[at] = other(arguments[at], source)
        try:
            _library.overload(_library.NATIVE, name)(*arguments)
            counts["returned"] += 1
        except ALLOWED as error:
            counts[type(error).__name__] += 1
    VoxelCache(0.1, 1).insert(torch.ones(2, 3), torch.ones(2, 1))
    print(f"{calls} calls: " + ", ".join(f"{count} {name}" for name, count in counts.most_common()))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
