# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The overhead of a call with few points: calls through torch's dispatcher, and arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from test_associate import associate_case
from torch_releases import since

import mirage_kernels as mk
from mirage_kernels import VoxelCache, backend, testing


def calls() -> dict[str, Callable[[], Any]]:
    case = testing.splat_case(0, n=64, channels=48, size=(8, 8), views=1)
    lifted = testing.unproject_case(0, size=(16, 16), grid=(8, 8))
    bits = torch.zeros(1, 4, dtype=torch.int64)
    cache = VoxelCache(0.05, 48)
    cache.insert(case.xyz, case.features)
    view = mk.splat(case.xyz, case.features, case.cameras)
    offsets = mk.cell_offsets(case.xyz, view.index, case.cameras)
    layers, planes = mk.splat(case.xyz, None, case.cameras, k=2), torch.rand(3, 64)
    return {
        "layers": lambda: mk.splat(case.xyz, None, case.cameras, k=2),
        "composite": lambda: mk.composite(case.features, layers, layers.depth),
        "associate": associate_case(0).run,
        "quantize": lambda: mk.quantize(case.features),
        "offsets": lambda: mk.cell_offsets(case.xyz, view.index, case.cameras),
        "blend": lambda: mk.blend_cells(view.features, offsets, view.depth),
        "surface": lambda: cache.splat_surface(case.cameras),
        "frontmost": lambda: mk.frontmost(case.xyz, case.cameras),
        "sum": lambda: mk.splat_sum(planes[:2].T, planes.T, (8, 8)),
        "splat": lambda: mk.splat(case.xyz, case.features, case.cameras),
        "clouds": lambda: mk.splat(case.xyz[None], case.features[None], case.cameras),
        "bilinear": lambda: mk.splat(case.xyz, case.features, case.cameras, mode="bilinear"),
        "insert": lambda: cache.insert(case.xyz, case.features),
        "read": lambda: cache.splat(case.cameras),
        "features": lambda: cache.features(),
        "visible": lambda: mk.visible(case.xyz, case.cameras),
        "overlap": lambda: mk.overlap(bits, bits),
        "project": lambda: case.cameras.project(case.xyz),
        "unproject": lambda: lifted.run(mk.unproject),
    }


@since(2, 5, "acc_events")
@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("name", list(calls()))
def test_native_operations_call_no_torch_operation(name: str) -> None:
    """A call through the dispatcher takes longer than most of the work of a call with few points."""
    call = calls()[name]
    call()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True) as profile:
        call()
    ours = [event for event in profile.events() if event.name.startswith("mirage_kernels::")]
    assert len(ours) == 1
    assert [event.name for event in ours[0].cpu_children] == []


@pytest.mark.usefixtures("native")
def test_splat_uses_the_overload_with_the_fewest_arguments() -> None:
    case = testing.splat_case(0, n=64, channels=48, size=(8, 8), views=1)
    with mock.patch.object(backend, "operation", wraps=backend.operation) as operation:
        mk.splat(case.xyz, case.features, case.cameras)
        mk.splat(case.xyz, case.features, case.cameras, radius=1.5)
        mk.splat(case.xyz.requires_grad_(), case.features, case.cameras)
    asked = [(call.args[0], *call.args[2:]) for call in operation.call_args_list]
    assert asked == [("splat_plain",), ("splat", "inference"), ("splat", "default")]
