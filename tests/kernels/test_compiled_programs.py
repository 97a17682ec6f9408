# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Programs that Inductor compiles with a C++ compiler: with floats that change, and ahead of time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mirage_kernels import VoxelCache, splat, testing
from mirage_kernels.testing import assert_same, splat_case

CAMERAS = testing.random_cameras(torch.Generator().manual_seed(0), 2, (6, 9))
pytestmark = [
    pytest.mark.long,
    pytest.mark.usefixtures("native"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning", "ignore:VecISA:UserWarning"),  # torch's own
]


def test_a_float_that_changes() -> None:
    torch.compiler.reset()
    case = splat_case(1)

    def draw(xyz: Tensor, features: Tensor, scale: float) -> Any:
        return splat(xyz * scale, features, CAMERAS, extent=0.05 * scale)

    compiled = torch.compile(draw, fullgraph=True)
    for scale in (1.0, 1.5, 2.0, 3.0, 1.2):
        assert_same(compiled(case.xyz, case.features, scale), draw(case.xyz, case.features, scale))


class Program(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        case = splat_case(1)
        self.name, self.cache = name, VoxelCache(0.05, 3)
        self.cache.insert(case.xyz, case.features)

    def forward(self, xyz: Tensor, features: Tensor) -> tuple[Tensor, ...]:
        if self.name == "cache":
            return tuple(self.cache.splat(CAMERAS, valid=features[: len(self.cache), 0] > 0))
        all_options: dict[str, dict[str, Any]] = {
            "nearest": {},
            "extent": {"extent": 0.2},
            "extents": {"extent": features[:, 0]},
            "radius": {"radius": 1.5},
            "radii": {"radius": 4 * features[:, 0]},
            "bilinear": {"mode": "bilinear"},
        }
        return tuple(splat(xyz, features, CAMERAS, **all_options[self.name]))


LOAD = """
import sys, torch, mirage_kernels
program = torch._inductor.aoti_load_package(sys.argv[1])
torch.save(program(*torch.load(sys.argv[2])), sys.argv[3])
"""


@pytest.mark.parametrize("name", ["nearest", "extent", "extents", "radius", "radii", "bilinear", "cache"])
def test_a_program_compiled_ahead_of_time(name: str, tmp_path: Path) -> None:
    case, program = splat_case(1), Program(name)
    inputs = (case.xyz, case.features)
    paths = [str(tmp_path / file) for file in ("program.pt2", "inputs.pt", "outputs.pt")]
    with torch.no_grad():
        exported = torch.export.export(program, inputs)
        torch._inductor.aoti_compile_and_package(exported, package_path=paths[0])
        expected = program(*inputs)
    torch.save(inputs, paths[1])
    subprocess.run([sys.executable, "-c", LOAD, *paths], check=True)
    for result, value in zip(torch.load(paths[2]), expected, strict=True):
        assert testing.same_bits(result, value)
