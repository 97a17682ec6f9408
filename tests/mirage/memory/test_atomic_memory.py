# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A change of a memory that is interrupted or fails leaves the old state or the new one, and the memory goes on."""

from __future__ import annotations

import copy
import io
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
from interrupts import Failure, Interrupt, places, steps

K = torch.tensor([[14.0, 0, 8], [0, 14, 6], [0, 0, 1]])
Action = Callable[[LatentSpatialMemory], Any]


def camera(x: float, z: float = 0.0, size: tuple[int, int] = (12, 16)) -> Cameras:
    pose = torch.eye(4)
    pose[0, 3], pose[2, 3] = x, z
    return Cameras(K, pose, size)


def write(x: float, *, z: float = 0.0, holes: bool = False, fill: bool = False) -> Action:
    g = torch.Generator().manual_seed(int(10 * x))
    depth = torch.full((1, 12, 16), 2.0 - z)
    depth[:, :, 12:] = 0 if fill else depth[:, :, 12:]
    latents, stamps = torch.randn(4, 1, 12, 16, generator=g), [int(10 * x)]
    return lambda memory: memory.write(latents, camera(x, z), None if holes else depth, stamps=stamps, fill_depth=fill)


def written(*places: float, **options: Any) -> LatentSpatialMemory:
    memory = LatentSpatialMemory(4, max_frames=options.pop("max_frames", 4), **options)
    for x in places:
        write(x, fill=True)(memory)
    return memory


def write_two(memory: LatentSpatialMemory) -> None:
    cameras = Cameras.cat([camera(3.0), camera(3.5)])
    memory.write(torch.ones(4, 2, 12, 16), cameras, torch.full((2, 12, 16), 2.0), stamps=[30, 35])


CHANGES: dict[str, tuple[Action, Callable[[], LatentSpatialMemory]]] = {
    "first": (write(1.0, fill=True), lambda: written()),
    "two frames": (write_two, lambda: written(1.0)),
    "from closer": (write(1.0, z=1.2), lambda: written(1.0, 1.5)),
    "without depth": (write(2.0, holes=True), lambda: written(1.0)),
    "full history": (write(9.0), lambda: written(1.0, 2.0, 3.0, 4.0)),
    "budget": (write(9.0), lambda: written(1.0, 2.0, max_bytes=30_000)),
    "carve": (lambda m: m.carve(torch.full((12, 16), 9.0), camera(1.0), (12, 16)), lambda: written(1.0, 2.0)),
}


def contents(memory: LatentSpatialMemory) -> dict[str, Any]:
    """Everything that later calls depend on."""
    tensors = {name: tensor.clone() for name, tensor in memory._tensors().items()}
    return {
        **tensors,
        "any": (memory._layers.superseded.any, memory._layers.filled.any),
        "frames": len(memory.history.version.names),
    }


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    def equal(x: Any, y: Any) -> bool:
        return torch.equal(x, y) if isinstance(x, Tensor) else x == y

    return a.keys() == b.keys() and all(equal(value, b[name]) for name, value in a.items())


class Change:
    """A change, the state before it and after it, and both after another write."""

    def __init__(self, name: str) -> None:
        self.action, self.make = CHANGES[name]
        memories = [self.make(), self.make()]
        self.action(memories[1])
        self.results = [contents(memory) for memory in memories]
        self.later = []
        for memory in memories:
            write(5.0, fill=True)(memory)
            self.later.append(contents(memory))
        assert not same(*self.results)

    def check(self, memory: LatentSpatialMemory, allowed: tuple[int, ...]) -> None:
        """Check that a memory is in one of the allowed states, 0 old or 1 new, and goes on as that one does."""
        got = contents(memory)
        which = [n for n in allowed if same(got, self.results[n])]
        assert which
        write(5.0, fill=True)(memory)
        assert same(contents(memory), self.later[which[0]])


def interrupt(name: str, stride: int) -> None:
    """Interrupt a change at every ``stride``-th of its steps; with 1, once at every place of the code."""
    change = Change(name)
    first = change.make()
    for at in places(lambda: change.action(first)) if stride == 1 else steps(stride):
        memory = change.make()
        if not Interrupt(at).run(lambda memory=memory: change.action(memory)):
            break
        change.check(memory, (0, 1))


def fail(name: str, stride: int) -> None:
    change = Change(name)
    for at in steps(stride):
        memory = change.make()
        if not Failure(at).run(lambda memory=memory: change.action(memory)):
            break
        change.check(memory, (0,))


# A few of the steps and operators; test_an_interrupt_or_failure_at_any_place takes all of them.
@pytest.mark.parametrize("name", CHANGES)
def test_an_interrupt_leaves_the_old_memory_or_the_new_one(name: str) -> None:
    interrupt(name, 211)


@pytest.mark.parametrize("name", CHANGES)
def test_a_failing_operator_leaves_the_old_memory(name: str) -> None:
    fail(name, 41)


@pytest.mark.long
@pytest.mark.parametrize("name", CHANGES)
def test_an_interrupt_or_failure_at_any_place(name: str) -> None:
    interrupt(name, 1)
    fail(name, 1)


def test_a_write_on_another_grid_leaves_the_memory() -> None:
    memory = written(1.0)
    before = contents(memory)
    with pytest.raises(ValueError, match="latents: expected a grid of"):
        memory.write(torch.ones(4, 1, 6, 8), camera(1.0), torch.full((1, 12, 16), 9.0))
    assert same(contents(memory), before)


def test_a_frame_that_fails_takes_the_ones_before_it_along() -> None:
    memory = written(1.0)
    before, real, calls = contents(memory), memory.history.add, []

    def add(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise torch.OutOfMemoryError
        real(*args)

    memory.history.add = add  # type: ignore[method-assign]
    with pytest.raises(torch.OutOfMemoryError):
        write_two(memory)
    assert same(contents(memory), before)


def test_threads_lose_no_frame_and_read_one_version() -> None:
    memory, errors = written(max_frames=100), []

    def run(first: int) -> None:
        try:
            for k in range(6):
                write(30.0 * first + 3 * k)(memory)
                view = memory.read(camera(30.0 * first + 3 * k))
                assert bool(view.mask.all())
                assert set(view.stamp.unique().tolist()) <= set(memory.history.stamps.tolist())
                memory.retrieve(camera(1.0))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(memory.history) == 18
    assert len(memory._tensors()["coarse"]) == len(memory) == 18 * 12 * 16


def torch_load(memory: Any) -> Any:
    file = io.BytesIO()
    torch.save(memory, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.copy, copy.deepcopy, torch_load])
def test_a_copy_of_a_memory_goes_on_by_itself(copied: Callable[[Any], Any]) -> None:
    memory = written(1.0, 2.0, codec="dct-16", extent_scale=0.7)
    before = contents(memory)
    other = copied(memory)
    assert other.codec == "dct-16"
    assert other.cache.extent_scale == 0.7
    write(3.0)(other)
    assert same(contents(memory), before)
    write(3.0)(memory)
    assert same(contents(memory), contents(other))
    history = copied(memory.history)
    assert isinstance(history, History)
    assert torch.equal(history.latents, memory.history.latents)
    assert history.lock is not memory.history.lock


def test_a_pickle_has_no_spare_capacity() -> None:
    memory = written(1.0)
    kept = sum(tensor.nbytes for tensor in memory._tensors().values())
    assert len(pickle.dumps(memory)) < kept + 6000
    assert len(pickle.dumps(written().history)) < 3000
