# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Calls from several threads at once return what one call alone returns. `make sanitize` looks for data races."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from every_backend import READY, splat_gradients
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import VoxelCache, overlap, splat, testing, unproject, visible

VIEWS = testing.random_cameras(torch.Generator().manual_seed(0), 3, (12, 20))


def filled(**options: Any) -> VoxelCache:
    cache = VoxelCache(0.1, 5, **options)
    g = torch.Generator().manual_seed(0)
    cache.insert(testing.random_points(g, "room", 20_000), torch.rand(20_000, 5, generator=g))
    return cache


def calls() -> dict[str, Callable[[], Any]]:
    """Calls on inputs that all threads share, large enough for several threads each."""
    cloud = testing.splat_case(0, n=20_000, extent="each", valid=True)
    maps = testing.unproject_case(0, size=(120, 200), grid=(12, 20))
    seen = testing.visible_case(0, n=20_000, num_groups=300)
    sets = visible(seen.xyz, seen.cameras)
    shared = [filled(), filled(storage="int8"), filled(fusion="mean")]
    small = testing.splat_case(0, n=2000)
    return {
        "splat": lambda: cloud.run(splat),
        "bilinear": lambda: cloud._replace(extent=None).run(splat, mode="bilinear"),
        "gradients": lambda: splat_gradients(small, 0) + splat_gradients(small, 0, mode="bilinear"),
        "unproject": lambda: maps.run(unproject),
        "visible": lambda: [seen.run(visible), overlap(sets, sets)],
        "insert": lambda: filled().state_dict().values(),
        "read": lambda: [part for cache in shared for part in cache.splat(VIEWS)],
        "carve": lambda: [cache.clone().carve(torch.full((3, 12, 20), 1.5), VIEWS) for cache in shared],
    }


def bits(result: Any) -> Iterator[Tensor]:
    """The tensors of a result, in which any NaN is the same."""
    for part in result:
        yield part.nan_to_num(7.0) if part.is_floating_point() else part


@pytest.mark.parametrize("backend", READY)
def test_calls_from_several_threads(backend: Any) -> None:
    torch.set_num_threads(2)
    errors: list[BaseException] = []

    def run(first: int) -> None:
        try:
            torch.set_num_threads(2)  # torch counts a thread's own
            with mk.use_backend(backend):
                for name in [*names[first:], *names[:first]]:
                    for got, expected in zip(bits(functions[name]()), results[name], strict=True):
                        assert torch.equal(got, expected), name
        except BaseException as error:
            errors.append(error)

    with mk.use_backend(backend):
        functions = calls()
        names = list(functions)
        results = {name: list(bits(function())) for name, function in functions.items()}
        threads = [threading.Thread(target=run, args=(2 * n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        if backend == "cpp":
            try:
                for name in 3 * mk.instruction_sets():
                    mk.use_instruction_set(name)  # meanwhile
                    run(1)
            finally:
                mk.use_instruction_set(mk.instruction_sets()[-1])
        for thread in threads:
            thread.join()
    assert not errors, errors[0]
