# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Threads that change and read one memory: every read shows one version, also while several frames are written."""

from __future__ import annotations

import copy
import os
import pickle
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mirage.memory import History, LatentSpatialMemory
from mirage_kernels import Cameras

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from versions import RecordingLock, run_threads

SIZE = (6, 8)
K = torch.tensor([[7.0, 0, 4], [0, 7, 3], [0, 0, 1]])
OPTIONS: dict[str, dict[str, Any]] = {"plain": {"max_frames": 6}, "budget": {"max_frames": 6, "max_bytes": 30_000}}
Remembered = Callable[[LatentSpatialMemory], Any]


def cameras(*places: float) -> Cameras:
    poses = torch.eye(4).repeat(len(places), 1, 1)
    poses[:, 0, 3] = torch.tensor(places)
    return Cameras(K, poses, SIZE)


TARGET = cameras(0.0, 1.0)


def write(memory: LatentSpatialMemory, number: int, count: int) -> None:
    """Write some frames as one change; ``number`` is the stamp of all of them."""
    g = torch.Generator().manual_seed(number)
    places = [0.3 * (number % 9 + frame) for frame in range(count)]
    depth = 1 + torch.rand(count, *SIZE, generator=g)
    memory.write(torch.randn(4, count, *SIZE, generator=g), cameras(*places), depth, stamps=[number] * count)


def fail(memory: LatentSpatialMemory, number: int) -> None:
    """Write a frame, and fail before the change is complete."""

    def change() -> None:
        write(memory, number, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        memory.atomic(change)


def changes(memory: LatentSpatialMemory) -> dict[str, Callable[[int], Any]]:
    far = torch.full(SIZE, 9.0)
    return {
        "write": lambda number: write(memory, number, 1),
        "write three": lambda number: write(memory, number, 3),
        "fill": lambda number: memory.write(torch.ones(4, 1, *SIZE), cameras(0.2 * (number % 9))),
        "carve": lambda number: memory.carve(far, cameras(0.3 * (number % 9))[0], SIZE),
        "fail": lambda number: fail(memory, number),
    }


def state(memory: LatentSpatialMemory) -> dict[str, Any]:
    with memory.lock:
        return {name: tensor.clone() for name, tensor in memory._tensors().items()}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(value, b[name]) for name, value in a.items())
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def loaded(memory: LatentSpatialMemory, folder: Path) -> dict[str, Any]:
    path = folder / f"{threading.get_ident()}"
    memory.save(path)
    return state(LatentSpatialMemory.load(path))


def retrieved(memory: LatentSpatialMemory) -> tuple[Any, ...]:
    found = memory.retrieve(TARGET, k=3, threshold=0)
    return found.latents, found.cameras.cam2world, found.stamps, found.scores


def history(memory: LatentSpatialMemory) -> dict[str, Any]:
    with memory.history.lock:
        return {name: tensor.clone() for name, tensor in memory.history.tensors().items()}


def reads(folder: Path) -> dict[str, Remembered]:
    return {
        "read": lambda memory: tuple(memory.read(TARGET)),
        "read finer": lambda memory: tuple(memory.read(TARGET, finer=True)),
        "retrieve": retrieved,
        "len": len,
        "frames": lambda memory: len(memory.history),
        "stamps": lambda memory: memory.history.stamps,
        "latents": lambda memory: memory.history.latents,
        "history": history,
        "copy": lambda memory: state(copy.copy(memory)),
        "pickle": lambda memory: state(pickle.loads(pickle.dumps(memory))),
        "save": lambda memory: loaded(memory, folder),
    }


def read_versions(options: dict[str, Any], seed: int, turns: int, folder: Path) -> tuple[int, int]:
    """Return the number of reads and of versions."""
    memory = LatentSpatialMemory(4, **options)
    write(memory, 0, 2)
    lock = RecordingLock(lambda: copy.deepcopy(memory), lambda a, b: same(state(a), state(b)))
    memory.cache._store.lock = lock  # type: ignore[assignment]
    bound = {name: lambda read=read: read(memory) for name, read in reads(folder).items()}
    results = run_threads(lock, changes(memory), bound, seed=seed, turns=turns)
    for result in results:
        candidates = lock.versions[result.first : result.last + 1]
        assert any(same(reads(folder)[result.name](version), result.value) for version in candidates), result.name
    return len(results), len(lock.versions)


@pytest.mark.parametrize("options", OPTIONS)
def test_every_read_shows_one_version(options: str, tmp_path: Path) -> None:
    read_versions(OPTIONS[options], 0, 12, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("options", OPTIONS)
def test_twenty_trials(options: str, tmp_path: Path, figures: Callable[[str], None]) -> None:
    found = [read_versions(OPTIONS[options], seed, 40, tmp_path) for seed in range(20)]
    counts = [sum(numbers) for numbers in zip(*found, strict=True)]
    figures(f"threads on a memory, {options}: 20 of 20 trials, {counts[0]} reads of {counts[1]} versions, 0 mixed")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", ["history", "memory"])
def test_a_forked_process_waits_for_no_thread(kind: str) -> None:
    """Another thread retrieves while the process forks: in the child it does not exist, and its lock is free."""
    memory = LatentSpatialMemory(4)
    write(memory, 0, 2)
    frames = memory.history if kind == "memory" else History(4)
    started, done = threading.Event(), threading.Event()

    def hold() -> None:
        with frames.lock:
            started.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    started.wait()
    child = os.fork()
    if child == 0:
        os._exit(0 if frames.lock.acquire(blocking=False) else 1)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
