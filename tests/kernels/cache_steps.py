# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Sequences of steps on a voxel cache, drawn by hypothesis, played on any backend, and a Python dict that does the
same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st
from strategies import DTYPES, SEEDS
from torch import Tensor

from mirage_kernels import VoxelCache, testing


class Step(NamedTuple):
    """One call; everything it needs follows from the seed."""

    kind: str
    seed: int
    size: int = 0


STEPS = st.one_of(
    # the last ones are enough work to be split between threads
    st.builds(Step, st.just("insert"), SEEDS, st.one_of(st.integers(0, 60), st.sampled_from([64, 300, 5000]))),
    st.builds(Step, st.just("insert"), SEEDS, st.integers(0, 60)),
    st.builds(Step, st.sampled_from(["read", "carve", "evict", "touch", "reload", "shrink", "clone"]), SEEDS),
)


class Scenario(NamedTuple):
    """A cache's settings and what happens to it."""

    settings: dict[str, Any]
    steps: list[Step]

    def cache(self) -> VoxelCache:
        return VoxelCache(**self.settings)


@st.composite
def scenarios(draw: Any, **fixed: Any) -> Scenario:
    storage = draw(st.sampled_from([None, None, "int8"]))
    settings = {
        "voxel_size": draw(st.sampled_from([0.05, 0.25, 1.0, "auto"])),
        "channels": draw(st.sampled_from([0, 1, 3, 16, 48])),
        "dtype": draw(DTYPES),
        "fusion": draw(st.sampled_from(["best", "latest"] if storage else ["best", "latest", "mean"])),
        "storage": storage,
        "eviction": draw(st.sampled_from(["oldest", "untouched"])),
        "extent_scale": draw(st.sampled_from([0.0, 0.6])),
    }
    budget = draw(st.sampled_from([None, None, "rows", "bytes"]))
    if budget == "rows":
        settings["max_rows"] = draw(st.integers(20, 200))
    elif budget == "bytes":
        settings["max_bytes"] = draw(st.integers(10_000, 60_000))
    return Scenario(settings | fixed, draw(st.lists(STEPS, min_size=1, max_size=8)))


class Points(NamedTuple):
    xyz: Tensor
    features: Tensor
    footprint: Tensor | None
    valid: Tensor | None


def points(scenario: Scenario, step: Step) -> Points:
    """The points of an insert: few places or many, on borders, or any bits at all."""
    g = torch.Generator().manual_seed(step.seed)
    kind = ("room", "ties", "border", "wild")[step.seed % 4]
    xyz = testing.random_points(g, kind, step.size)
    if step.seed % 3 == 0:
        xyz = xyz * 0.2  # so that calls meet in the same voxels
    features = torch.randn(step.size, scenario.settings["channels"], generator=g).to(scenario.settings["dtype"])
    if step.seed % 7 == 0 and features.numel():
        features.view(-1)[:: 1 + step.seed % 11] = (math.nan, math.inf, 0.0, -0.0)[step.seed % 4]
    footprint = None
    if step.seed % 5 or scenario.settings["voxel_size"] == "auto":
        footprint = torch.randint(1, 9, (step.size,), generator=g) / 16  # many ties
        odd = torch.tensor([0.0, -0.0, -1.0, math.nan, math.inf])
        pick = torch.rand(step.size, generator=g) < 0.05
        footprint = torch.where(pick, odd[torch.randint(5, (step.size,), generator=g)], footprint)
    return Points(xyz, features, footprint, torch.rand(step.size, generator=g) < 0.8 if step.seed % 2 else None)


def run_steps(scenario: Scenario, folder: Any = None) -> Iterator[tuple[Step, VoxelCache, list[Any]]]:
    """Take the steps one by one: the step, the cache after it, and what the call returned."""
    cache = scenario.cache()
    for number, step in enumerate(scenario.steps):
        result: list[Any] = []
        if step.kind == "insert":
            p = points(scenario, step)
            try:
                result = [*cache.insert(p.xyz, p.features, p.footprint, valid=p.valid, stamp=step.seed % 5)]
            except ValueError as error:  # more voxels at once than the budget allows
                result = [str(error)]
        elif step.kind == "read":
            result = [*read(cache, step, cull=True)]
        elif step.kind == "carve":
            g = torch.Generator().manual_seed(step.seed)
            cameras = testing.random_cameras(g, 1 + step.seed % 3, (5, 7))
            depth = 3 * torch.rand(len(cameras), 5, 7, generator=g)
            depth[torch.rand(depth.shape, generator=g) < 0.2] = (math.nan, math.inf, 0.0, -1.0)[step.seed % 4]
            result = [cache.carve(depth, cameras, 0.1)]
        elif step.kind == "evict":
            eviction = ("oldest", "untouched", "farthest")[step.seed % 3]
            position = torch.tensor([0.1, 0.2, 0.3]) if eviction == "farthest" else None
            result = [cache.evict(max_rows=step.seed % 50, eviction=eviction, position=position)]
        elif step.kind == "touch":
            g = torch.Generator().manual_seed(step.seed)
            cache.touch(
                torch.randint(-1, max(len(cache), 0), (9,), generator=g) if len(cache) else torch.tensor([-1]), 7
            )
        elif step.kind == "reload":
            if folder is not None and number % 4 == 0:
                cache.save(folder / "cache.safetensors")
                cache = VoxelCache.load(folder / "cache.safetensors")
            else:
                other = scenario.cache()
                other.voxel_size = cache.voxel_size
                other.load_state_dict(cache.state_dict())
                cache = other
        elif step.kind == "shrink":
            cache.shrink_to_fit()
        else:
            cache = cache.clone()
        yield step, cache, result


def read(cache: VoxelCache, step: Step, *, cull: bool) -> Any:
    g = torch.Generator().manual_seed(step.seed)
    cameras = testing.random_cameras(g, 1 + step.seed % 3, (6, 9))
    valid = torch.rand(len(cache), generator=g) < 0.7 if step.seed % 2 else None
    return cache.splat(cameras, valid=valid, cull=cull)


def snapshot(cache: VoxelCache) -> dict[str, Tensor]:
    """Everything that is defined of a cache's state."""
    defined = {"rows": torch.tensor(len(cache)), "capacity": torch.tensor(cache.state.capacity)}
    defined |= {name: tensor[: len(cache)].clone() for name, tensor in cache.state.row_tensors()}
    return defined | {name: getattr(cache.state, name).clone() for name in ("table", "boxes0", "boxes1", "boxes2")}


def _spread(value: int) -> int:
    return sum((value >> bit & 1) << 3 * bit for bit in range(21))


class Oracle:
    """What a cache holds, as a dict from voxel to observation, in the order of its rows. No budget."""

    def __init__(self, scenario: Scenario) -> None:
        self.settings = scenario.settings
        self.size = np.float32(self.settings["voxel_size"])
        self.rows: dict[tuple[int, int, int], dict[str, Any]] = {}

    def insert(self, p: Points, stamp: int) -> tuple[int, int, int]:
        f = np.float32
        inverse = f(1) / self.size
        merged = rejected = 0
        new: dict[tuple[int, int, int], dict[str, Any]] = {}
        for n, place in enumerate(p.xyz.numpy()):
            if p.valid is not None and not p.valid[n]:
                continue
            wide = self.size if p.footprint is None else p.footprint.numpy()[n]
            with np.errstate(all="ignore"):
                cell = np.floor(place * inverse)
            sound = bool(((cell >= -(2**20)) & (cell < 2**20)).all()) and 0 <= wide < math.inf
            if self.settings["storage"] == "int8":
                sound = sound and bool(p.features[n].isfinite().all())
            if not sound:
                rejected += 1
                continue
            key = (int(cell[0]), int(cell[1]), int(cell[2]))
            seen = {"xyz": p.xyz[n], "footprint": float(wide), "features": p.features[n], "stamp": stamp}
            row = self.rows.get(key) or new.get(key)
            if row is None:
                new[key] = seen | {"all": [p.features[n]]}
                continue
            merged += 1
            row["all"].append(p.features[n])
            fusion = self.settings["fusion"]
            if fusion == "latest" or seen["footprint"] < row["footprint"]:
                row.update(seen)
            if fusion == "mean":
                row["stamp"] = stamp
        code = lambda key: sum(_spread(c + 2**20) << 2 - a for a, c in enumerate(key))  # noqa: E731
        for key in sorted(new, key=code):
            self.rows[key] = new[key]
        return len(new), merged, rejected

    def features(self, row: dict[str, Any]) -> Tensor:
        """As they come out of the cache."""
        dtype: torch.dtype = self.settings["dtype"]
        if self.settings["fusion"] == "mean":
            total = row["all"][0].float()
            for one in row["all"][1:]:
                total = total + one.float()
            return (total / len(row["all"])).to(dtype)
        if self.settings["storage"] == "int8":
            values = row["features"].float()
            scale = values.abs().max() / 127 if values.numel() else torch.tensor(0.0)
            return ((values / scale).round() * scale if scale > 0 else values * 0).to(dtype)
        features: Tensor = row["features"]
        return features

    def keep(self, keep: list[bool]) -> None:
        self.rows = {key: row for (key, row), kept in zip(self.rows.items(), keep, strict=True) if kept}
