# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Threads that change and read one cache: no row is lost, and every read shows one version."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from every_backend import READY
from torch import Tensor

from mirage_kernels import VoxelCache, testing, use_backend

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from versions import RecordingLock, many_switches, run_threads

N, C = 60, 3
CAMERAS = testing.random_cameras(torch.Generator().manual_seed(0), 2, (6, 9))
Cached = Callable[[VoxelCache], Any]
# Some options with which an insert works in place, in steps, or evicts.
OPTIONS: dict[str, dict[str, Any]] = {
    "best": {},
    "mean": {"fusion": "mean"},
    "int8": {"fusion": "latest", "storage": "int8"},
    "budget": {"max_rows": 150, "eviction": "untouched"},
}


def points(number: int) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(number)
    return torch.rand(N, 3, generator=g), torch.rand(N, C, generator=g), torch.rand(N, generator=g) * 0.1 + 0.1


def state(cache: VoxelCache) -> dict[str, Any]:
    """Everything that a read may show."""
    with cache.lock:
        tensors = {name: tensor.clone() for name, tensor in cache.state_dict().items()}
        return {**tensors, "totals": dict(cache._store.totals), "voxel_size": cache.voxel_size}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(value, b[name]) for name, value in a.items())
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def insert(cache: VoxelCache, number: int) -> None:
    cache.insert(*points(number), stamp=number)


def touch(cache: VoxelCache, number: int) -> None:
    index = cache.splat(CAMERAS).index
    with cache.lock:  # another thread may have removed some of these rows
        cache.touch(index[index < len(cache)], number)


def changes(cache: VoxelCache, other: dict[str, Tensor]) -> dict[str, Callable[[int], Any]]:
    depth = torch.full((2, 6, 9), 1.0)
    return {
        "insert": lambda number: insert(cache, number),
        "insert again": lambda number: insert(cache, number % 7),
        "evict": lambda _: cache.evict(max_rows=90),
        "evict farthest": lambda _: cache.evict(max_rows=80, eviction="farthest", position=torch.zeros(3)),
        "evict bytes": lambda _: cache.evict(max_bytes=9000),
        "carve": lambda _: cache.carve(depth, CAMERAS),
        "touch": lambda number: touch(cache, number),
        "load": lambda _: cache.load_state_dict(other),
        "shrink": lambda _: cache.shrink_to_fit(),
    }


def loaded(cache: VoxelCache, path: Path) -> dict[str, Any]:
    path = path / f"{threading.get_ident()}"
    cache.save(path)
    return without_totals(VoxelCache.load(path))


def without_totals(cache: VoxelCache) -> dict[str, Any]:
    return {name: value for name, value in state(cache).items() if name != "totals"}


def exported(cache: VoxelCache, path: Path) -> bytes:
    path = path / f"{threading.get_ident()}"
    cache.export_ply(path)
    return path.read_bytes()


def stats(cache: VoxelCache) -> dict[str, Any]:
    found = cache.memory_stats()
    return {name: found[name] for name in ("rows", "imprecise", "added", "merged", "rejected", "evicted", "carved")}


def reads(folder: Path) -> dict[str, Cached]:
    return {
        "splat": lambda cache: tuple(cache.splat(CAMERAS)),
        "splat all": lambda cache: tuple(cache.splat(CAMERAS, extent_scale=0, cull=False)),
        "features": lambda cache: cache.features(),
        "len": len,
        "stats": stats,
        "settings": lambda cache: cache.settings,
        "clone": lambda cache: state(cache.clone()),
        "copy": lambda cache: state(copy.copy(cache)),
        "deepcopy": lambda cache: state(copy.deepcopy(cache)),
        "pickle": lambda cache: state(pickle.loads(pickle.dumps(cache))),
        "save": lambda cache: loaded(cache, folder),
        "export": lambda cache: exported(cache, folder),
    }


def read_versions(options: dict[str, Any], seed: int, turns: int, folder: Path) -> tuple[int, int]:
    """Return the number of reads and of versions."""
    cache = VoxelCache("auto", C, **options)
    insert(cache, 0)
    other = {name: tensor.clone() for name, tensor in cache.state_dict().items()}
    lock = RecordingLock(cache.clone, lambda a, b: same(state(a), state(b)))
    cache._store.lock = lock  # type: ignore[assignment]
    bound = {name: lambda read=read: read(cache) for name, read in reads(folder).items()}
    results = run_threads(lock, changes(cache, other), bound, seed=seed, turns=turns)
    for result in results:
        candidates = lock.versions[result.first : result.last + 1]
        assert any(same(reads(folder)[result.name](version), result.value) for version in candidates), result.name
    return len(results), len(lock.versions)


@pytest.mark.parametrize("backend", READY)
@pytest.mark.parametrize("options", OPTIONS)
def test_every_read_shows_one_version(backend: Any, options: str, tmp_path: Path) -> None:
    with use_backend(backend):
        read_versions(OPTIONS[options], 0, 12, tmp_path)


def test_a_read_shows_one_version_while_another_thread_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch says of all threads that they compile as long as one of them does."""
    monkeypatch.setattr("torch.compiler._is_compiling_flag", True)
    read_versions(OPTIONS["int8"], 1, 25, tmp_path)


def added_rows(options: dict[str, Any], seed: int) -> None:
    """Threads insert: nothing fails, and no row is lost."""
    cache, errors = VoxelCache(0.05, C, **options), []

    def run(first: int) -> None:
        try:
            for number in range(first, first + 10):
                insert(cache, number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(1000 * seed + 100 * n,)) for n in range(3)]
    with many_switches():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    expected = VoxelCache(0.05, C)
    for n in range(3):
        for number in range(10):
            insert(expected, 1000 * seed + 100 * n + number)
    totals = cache.memory_stats()
    assert totals["added"] + totals["merged"] == 30 * N
    assert totals["rows"] == totals["added"] - totals["evicted"] == len(cache.state_dict()["keys"].unique())
    if "max_rows" not in options:
        assert torch.equal(cache.state_dict()["keys"].sort().values, expected.state_dict()["keys"].sort().values)


@pytest.mark.long
@pytest.mark.parametrize("options", OPTIONS)
def test_twenty_trials(options: str, tmp_path: Path, figures: Callable[[str], None]) -> None:
    found = [read_versions(OPTIONS[options], seed, 60, tmp_path) for seed in range(20)]
    for seed in range(20):
        added_rows(OPTIONS[options], seed)
    counts = [sum(numbers) for numbers in zip(*found, strict=True)]
    figures(f"threads on a cache, {options}: 20 of 20 trials, {counts[0]} reads of {counts[1]} versions, 0 mixed, "
            "0 rows lost")  # fmt: skip
