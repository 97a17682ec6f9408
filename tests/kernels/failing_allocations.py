# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Lets every allocation of every operation fail, one after the other, and then it and all after it.

It is a separate program, because .ci/sanitize/failing_allocations.cpp has to be loaded before everything else. Each
failure must be torch.OutOfMemoryError, and leave arguments and caches as they were.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import Cameras, VoxelCache, _native_module, overlap, splat, testing, unproject, visible

LIBRARY = ctypes.CDLL(None)
LIBRARY.failing_range.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
Make = Callable[[], tuple[Any, Callable[[], Any]]]  # a state to look at, and the call


def find_kernels() -> None:
    """Say which addresses are those of the native kernels."""
    path = str(Path(sys.modules[f"mirage_kernels.{_native_module.NAME}"].__file__).resolve())
    spans = [line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines() if path in line]
    LIBRARY.failing_range(min(int(first, 16) for first, _ in spans), max(int(last, 16) for _, last in spans))


def splats(**options: Any) -> Make:
    mode = {name: options.pop(name) for name in ("mode", "k") if name in options}
    case = testing.splat_case(0, **({"n": 9000, "size": (24, 40)} | options))
    return lambda: (None, lambda: case.run(splat, **mode))


def gradients(function: Any, first: str, **options: Any) -> Make:
    """The backward pass alone. ``first`` is the name of the argument besides the features that has a gradient."""
    mode = {"mode": options.pop("mode")} if "mode" in options else {}
    case = testing.splat_case(0, **options) if first == "xyz" else testing.unproject_case(0, **options)
    inputs = [getattr(case, name).detach().requires_grad_() for name in (first, "features")]
    result = case._replace(**{first: inputs[0], "features": inputs[1]}).run(function, **mode)
    outputs = [part for part in result if part.requires_grad]
    grads = [torch.ones_like(part) for part in outputs]
    return lambda: (None, lambda: torch.autograd.grad(outputs, inputs, grads, retain_graph=True))


def unprojects(**options: Any) -> Make:
    case = testing.unproject_case(0, **options)
    return lambda: (None, lambda: case.run(unproject))


def seen(**options: Any) -> Make:
    case = testing.visible_case(0, **({"n": 20_000} | options))
    return lambda: (None, lambda: case.run(visible))


def compared() -> tuple[None, Callable[[], Any]]:
    a = torch.arange(3 * 40_000).reshape(3, -1)
    return None, lambda: overlap(a, a)


def cameras() -> tuple[None, Callable[[], Any]]:
    made = testing.random_cameras(torch.Generator().manual_seed(0), 2, (6, 9))
    intrinsics, cam2world = made.intrinsics, made.cam2world
    return None, lambda: Cameras(intrinsics, cam2world, made.size)


def points(seed: int, count: int, cache: VoxelCache) -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    xyz = torch.rand(count, 3, generator=g) * 4
    return xyz, torch.rand(count, cache.channels, generator=g).to(cache.dtype), torch.rand(count, generator=g) + 0.1


def caches(change: Callable[[VoxelCache], Any], *, rows: int = 300, room: bool = False, **options: Any) -> Make:
    """A change of a cache that holds some rows, with room for more or without."""

    def make() -> tuple[VoxelCache, Callable[[], Any]]:
        cache = VoxelCache(**({"voxel_size": 0.2, "channels": 5} | options))
        if rows:
            cache.insert(*points(1, rows, cache))
        if room:
            cache._store.state = cache._store.reserve(40_000)
        return cache, lambda: change(cache)

    return make


INSERTED = {
    (count, dtype): points(2, count, VoxelCache(1.0, 5, dtype=dtype))
    for count in (300, 20_000)
    for dtype in (torch.float32, torch.float16)
}


def insert(count: int) -> Callable[[VoxelCache], Any]:
    return lambda cache: cache.insert(*INSERTED[count, cache.dtype])


VIEWS = testing.random_cameras(torch.Generator().manual_seed(0), 2, (6, 9))
DEPTH = torch.full((2, 6, 9), 9.0)
ORIGIN, ROWS = torch.zeros(3), torch.arange(9)
CALLS: dict[str, Make] = {
    "splat": splats(),
    "splat extents": splats(extent="each", boxes=True, valid=True),
    "splat radius": splats(radius=1.5, dtype=torch.bfloat16, strided=True),
    "splat layers": splats(k=5),
    "splat bilinear": splats(mode="bilinear"),
    "splat bilinear float16": splats(mode="bilinear", dtype=torch.float16, strided=True),
    "gradient of splat": gradients(splat, "xyz"),
    "gradient of splat bfloat16": gradients(splat, "xyz", dtype=torch.bfloat16, channels=40),
    "gradient of splat bilinear": gradients(splat, "xyz", mode="bilinear"),
    "gradient of splat bilinear float16": gradients(splat, "xyz", mode="bilinear", dtype=torch.float16),
    **{f"unproject {p}": unprojects(pooling=p, size=(120, 200)) for p in ("median", "nearest", "min", "bilinear")},
    "unproject masked": unprojects(mask=True, strided=True, dtype=torch.bfloat16),
    "gradient of unproject": gradients(unproject, "depth"),
    "gradient of unproject bilinear": gradients(unproject, "depth", pooling="bilinear", dtype=torch.float16),
    "visible": seen(),
    "visible groups": seen(num_groups=300, valid=True, strided=True),
    "overlap": compared,
    "project": lambda: (None, lambda: VIEWS.project(INSERTED[20_000, torch.float32][0])),
    "cameras": cameras,
    "first insert": caches(insert(300), rows=0),
    "first insert auto": caches(insert(300), rows=0, voxel_size="auto"),
    "insert that grows": caches(insert(300)),
    "insert that grows, split": caches(insert(20_000)),
    "insert in place": caches(insert(300), room=True),
    "insert in place, split": caches(insert(20_000), room=True),
    "insert far apart, split": caches(insert(20_000), room=True, voxel_size=1e-5),
    "insert mean": caches(insert(300), room=True, fusion="mean"),
    "insert int8": caches(insert(300), storage="int8", dtype=torch.float16),
    "insert touched": caches(insert(300), room=True, eviction="untouched"),
    "insert that evicts": caches(insert(300), max_rows=400),
    "evict": caches(lambda c: c.evict(max_rows=100)),
    "evict farthest": caches(lambda c: c.evict(max_rows=100, eviction="farthest", position=ORIGIN)),
    "evict bytes": caches(lambda c: c.evict(max_bytes=9000)),
    "carve": caches(lambda c: c.carve(DEPTH, VIEWS)),
    "touch": caches(lambda c: c.touch(ROWS, 7)),
    "shrink": caches(lambda c: c.shrink_to_fit(), room=True),
    "clone": caches(lambda c: c.clone()),
    "features": caches(lambda c: c.features(), storage="int8"),
    "read": caches(lambda c: c.splat(VIEWS)),
    "read int8": caches(lambda c: c.splat(VIEWS), storage="int8"),
    "read mean": caches(lambda c: c.splat(VIEWS), fusion="mean"),
    "state_dict": caches(lambda c: c.state_dict()),
    "load_state_dict": caches(lambda c: c.load_state_dict(c.state_dict())),
}


def contents(state: Any) -> list[Any]:
    if not isinstance(state, VoxelCache):
        return []
    store = state._store
    return [
        *(t.clone() for t in state.state_dict().values()),
        state.state.table.clone(),
        store.totals,
        store.voxel_size,
    ]


def same(a: list[Any], b: list[Any]) -> bool:
    return all(torch.equal(x, y) if isinstance(x, Tensor) else x == y for x, y in zip(a, b, strict=True))


def check(name: str, make: Make, sticky: bool) -> tuple[int, list[str]]:
    """Return how many allocations a call makes, and what was wrong after one of them had failed."""
    wrong, number = [], 0
    changed, call = make()
    before = contents(changed)
    call()
    after = contents(changed)
    while True:
        state, call = make()
        LIBRARY.failing_arm(number, sticky)
        error: BaseException | None = None
        try:
            call()
        except BaseException as raised:
            error = raised
        if LIBRARY.failing_disarm() <= number:
            assert error is None, error
            return number, wrong
        at = f"{name}: allocation {number}{' and all after it' if sticky else ''}"
        if type(error) is not torch.OutOfMemoryError:
            wrong.append(f"{at}: {type(error).__name__}: {str(error)[:200]}")
        if not same(contents(state), before):
            wrong.append(f"{at}: the state has changed")
        try:
            call()  # it works again
        except BaseException as raised:
            wrong.append(f"{at}: the next call raises {type(raised).__name__}: {str(raised)[:200]}")
        if not same(contents(state), after):
            wrong.append(f"{at}: the next call has another result")
        number += 1


def main(names: list[str]) -> None:
    find_kernels()
    total, wrong = 0, []
    with mk.use_backend("cpp"):
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for name in names or CALLS:
                for sticky in (False, True):
                    count, found = check(f"{name} on {threads} threads", CALLS[name], sticky)
                    total += count
                    wrong += found
    print("\n".join([*wrong, f"{total} failed allocations, {len(wrong)} faults"]))
    sys.exit(bool(wrong) or not total)


if __name__ == "__main__":
    main(sys.argv[1:])
