# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``VoxelCache``: a cache on each backend takes the same steps, with arguments of any kind. After each step both have
the same state, and after a refused one the state that they had."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import fuzz_values as values
import torch
from fuzz_calls import BACKENDS, Refusal, compare, outcome
from fuzz_input import Input
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import VoxelCache, testing

SETTINGS = ("voxel_size", "channels", "dtype", "device", "fusion", "storage", "max_rows", "max_bytes", "eviction",
            "extent_scale", "auto_scale")  # fmt: skip
TENSORS = ("tensors", "keys", "xyz", "footprint", "features", "stamp", "scale", "count", "touched", "voxel_size")


def state_of(cache: VoxelCache) -> list[Any]:
    """Return what is defined of the state of a cache."""
    rows = [tensor.clone() for tensor in cache.state_dict().values()]
    others = [getattr(cache.state, name).clone() for name in ("table", "boxes0", "boxes1", "boxes2")]
    totals = {name: value for name, value in cache.memory_stats().items() if name != "nbytes_by_tensor"}
    return [rows, others, totals, cache.settings]


class Caches:
    """A cache on each backend.

    Args:
        make: constructs one.
        names: of the arguments.

    Attributes:
        usable: False if the arguments were refused.
    """

    def __init__(self, make: Callable[[], VoxelCache], names: Iterable[str]) -> None:
        made = [self._on(backend, make, names) for backend in BACKENDS]
        self.usable = all(isinstance(cache, VoxelCache) for cache in made)
        if not self.usable:
            compare("new cache", *(None if isinstance(cache, VoxelCache) else cache for cache in made))
            return
        self._caches: list[VoxelCache] = made
        self._states = [state_of(cache) for cache in made]
        self._compare("new cache")

    def __len__(self) -> int:
        return len(self._caches[0])

    def _on(self, backend: Any, call: Callable[[], Any], names: Iterable[str]) -> Any:
        with mk.use_backend(backend):
            return outcome(call, names)

    def run(self, call: Callable[[VoxelCache], Any], names: Iterable[str]) -> Any:
        """Call the same of both caches. A cache that is returned replaces the one it was called of."""
        results = []
        for backend, cache in zip(BACKENDS, self._caches, strict=True):
            results.append(self._on(backend, lambda cache=cache: call(cache), names))
        if all(isinstance(result, VoxelCache) and result.device.type == "cpu" for result in results):
            self._caches = results
            results = [None] * len(results)
        if not any(isinstance(result, VoxelCache) for result in results):
            compare("result", *results, sums=True)
        before, self._states = self._states, [state_of(cache) for cache in self._caches]
        if isinstance(results[-1], Refusal):
            compare("state after an error", before[-1], self._states[-1])
        if torch.OutOfMemoryError not in [getattr(result, "kind", None) for result in results]:
            self._compare("state")
        return results[-1]

    def _compare(self, name: str) -> None:
        compare(name, *self._states, sums=self._caches[0].fusion == "mean")


def settings(data: Input) -> dict[str, Any]:
    """Return arguments of a constructor, one in some of any kind."""
    fusion = data.choice(("best", "latest", "mean"))
    made = {
        "voxel_size": values.number(data, data.choice((0.25, 0.05, 1.0, "auto"))),
        "channels": values.number(data, data.choice((2, 0, 1, 3, 16))),
        "dtype": values.option(data, values.DTYPES),
        "fusion": values.option(data, (fusion,)),
        "storage": values.option(data, (None, None if fusion == "mean" else "int8")),
        "eviction": values.option(data, ("oldest", "untouched")),
        "extent_scale": values.number(data, data.choice((0.6, 0.0, 2.0))),
        "auto_scale": values.number(data, 0.5),
        "max_rows": values.number(data, data.choice((None, 20, 100))),
        "max_bytes": values.number(data, data.choice((None, 10_000, 30_000))),
        "device": data.choice(values.WRONG) if data.rarely() else "cpu",
    }
    kept = 0 if data.byte() & 1 else 11
    return {name: value for number, (name, value) in enumerate(made.items()) if number < 2 or number < kept}


def fuzz_cache(data: Input) -> None:
    given = settings(data)
    caches = Caches(lambda: VoxelCache(**given), SETTINGS)
    if not caches.usable or given.get("device", "cpu") != "cpu":
        return
    for _ in range(data.integer(1, 6)):
        STEPS[data.integer(0, len(STEPS) - 1)](data, caches)


def insert(data: Input, caches: Caches) -> None:
    cache = caches._caches[0]
    n, kind = data.choice(values.COUNTS), data.choice(testing.POINT_KINDS)
    g = data.generator()
    xyz = testing.random_points(g, kind, n) * data.choice((0.2, 1.0, 50.0))
    features = torch.randn(n, cache.channels if cache.channels < 99 else 2, generator=g).to(cache.dtype)
    footprint = torch.randint(1, 9, (n,), generator=g) / 16
    xyz, features = (values.varied(data, t) for t in (xyz, features))
    given = {}
    if data.byte() & 1:
        given["footprint"] = values.varied(data, footprint)
    if data.byte() & 1:
        given["valid"] = values.maybe(data, values.mask(data, n))
    if data.byte() & 1:
        given["stamp"] = values.number(data, data.integer(0, 9))
    caches.run(lambda cache: cache.insert(xyz, features, **given), ("xyz", "features", "footprint", "valid", "stamp"))


def splat(data: Input, caches: Caches) -> None:
    cameras = values.cameras(data, data.choice(values.VIEWS), values.size(data))
    given: dict[str, Any] = {}
    if data.byte() & 1:
        given["valid"] = values.maybe(data, values.mask(data, len(caches)))
    if data.byte() & 1:
        given["extent_scale"] = values.number(data, 0.6)
    if data.byte() & 1:
        given["near"] = values.number(data, 0.5)
    given |= {"cull": bool(data.byte() & 1), "features": bool(data.byte() & 1)}
    names = ("cameras", "valid", "extent_scale", "near", "features")
    result = caches.run(lambda cache: cache.splat(cameras, **given), names)
    if isinstance(result, tuple) and data.byte() & 1:
        caches.run(lambda cache: cache.feature_maps(result.index), ("index",))


def carve(data: Input, caches: Caches) -> None:
    views, size = data.choice(values.VIEWS), (data.integer(1, 6), data.integer(1, 9))
    depth = values.varied(data, 3 * values.depth(data, views, *size))
    cameras, tolerance = values.cameras(data, views, size), values.number(data, 0.05)
    caches.run(lambda cache: cache.carve(depth, cameras, tolerance), ("depth", "cameras", "tolerance"))


def evict(data: Input, caches: Caches) -> None:
    given: dict[str, Any] = {}
    if data.byte() & 1:
        given["max_rows"] = values.number(data, data.integer(0, 40))
    if data.byte() & 1 or not given:
        given["max_bytes"] = values.number(data, data.integer(400, 20_000))
    if data.byte() & 1:
        given["eviction"] = values.option(data, ("oldest", "untouched", "farthest"))
    if isinstance(given.get("eviction"), str) or data.rarely():
        given["position"] = values.varied(data, torch.tensor([0.1, 0.2, 0.3]))
    caches.run(lambda cache: cache.evict(**given), ("max_rows", "max_bytes", "eviction", "position"))


def read_index(data: Input, caches: Caches) -> None:
    shape = data.choice(((5,), (1, 2, 3), (0,), (), (2, 2)))
    first, last = data.choice(((-1, 0), (0, 9), (-3, 999), (-(1 << 62), 1 << 62)))
    index = torch.randint(
        min(first, last), max(len(caches), 1) if last == 9 else last + 1, shape, generator=data.generator()
    )
    index, stamp = values.varied(data, index), values.number(data, 3)
    kind = data.integer(0, 2)
    if kind == 0:
        caches.run(lambda cache: cache.touch(index, stamp), ("index", "stamp"))
    elif kind == 1:
        caches.run(lambda cache: cache.features(index), ("index",))
    else:
        caches.run(lambda cache: cache.feature_maps(index), ("index",))


def copied(data: Input, caches: Caches) -> None:
    device = data.choice(("cpu", "cpu:1", "cuda", "gpu", *values.WRONG))
    size = values.number(data, None)
    call = data.choice(
        (
            lambda cache: cache.clone(),
            lambda cache: copy.copy(cache),
            lambda cache: pickle.loads(pickle.dumps(cache)),
            lambda cache: VoxelCache.from_state_dict(cache.settings, cache.state_dict()),
            lambda cache: cache.to(device),
            lambda cache: cache.shrink_to_fit(),
            lambda cache: cache.load_state_dict(cache.state_dict()),
            lambda cache: cache.features(),
            lambda cache: setattr(cache, "voxel_size", size) if size is not None else None,
        )
    )
    caches.run(call, ("device", *TENSORS, *SETTINGS))


STEPS = (insert, splat, carve, evict, read_index, copied, insert)


def fuzz_state(data: Input) -> None:
    """States of a cache with changed tensors and settings, which are refused, or give a cache that can be used."""
    given = {"fusion": data.choice(("best", "mean")), "dtype": data.choice(values.DTYPES)}
    if given["fusion"] == "best" and data.byte() & 1:
        given["storage"] = "int8"
    with mk.use_backend("cpp"):
        cache = VoxelCache(data.choice((0.25, "auto")), 2, eviction=data.choice(("oldest", "untouched")), **given)
        g = data.generator()
        n = data.choice(values.COUNTS)
        points = testing.random_points(g, "room", n), torch.randn(n, 2, generator=g).to(given["dtype"])
        cache.insert(*points, torch.rand(n, generator=g) + 0.1)
        state: dict[Any, Any] = {name: tensor.clone() for name, tensor in cache.state_dict().items()}
    changed = cache.settings
    for _ in range(data.integer(0, 3)):
        tamper(data, state, changed)
    if data.rarely():
        state = data.choice(values.WRONG)
    if data.rarely():
        changed = data.choice(values.WRONG)
    caches = Caches(lambda: VoxelCache.from_state_dict(changed, state), (*TENSORS, *SETTINGS, "settings"))
    if caches.usable:
        for step in (splat, insert, evict, copied):
            step(data, caches)


def tamper(data: Input, state: dict[Any, Any], changed: dict[str, Any]) -> None:
    """Change a tensor or a setting."""
    if data.byte() & 1:
        name = data.choice(list(changed) or [""])
        kind = data.integer(0, 3)
        if kind == 0:
            changed.pop(name, None)
        elif kind == 1:
            changed[data.choice(("unknown", "device", "self"))] = data.choice(values.WRONG)
        else:
            changed[name] = data.choice(values.NUMBERS) if kind == 2 else data.choice(values.WRONG)
        return
    name = data.choice(list(state) or [""])
    kind = data.integer(0, 5)
    tensor = state.get(name)
    if kind == 0 or not isinstance(tensor, Tensor):
        state.pop(name, None)
    elif kind == 1:
        state[data.choice(("unknown", 7, None, "touched", "scale", "count"))] = tensor
    elif kind == 2:
        state[name] = values.special(data, tensor)
    else:
        state[name] = values.varied(data, tensor)
