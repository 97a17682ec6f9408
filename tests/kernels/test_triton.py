# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton without a GPU: the kernels in Triton's interpreter, and what they compile to."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from triton_kernels import KERNELS, TYPES, Kernel

from mirage_kernels._gpu import TRITON_CAPABILITY, triton_too_old
from mirage_kernels.backend import INTERPRETED

HERE = Path(__file__).resolve().parent
TABLES = ("triton_table.py", "triton_splat_table.py")

triton = pytest.importorskip("triton")
if reason := triton_too_old():
    pytest.skip(reason, allow_module_level=True)
if INTERPRETED:
    pytest.skip("kernels that are interpreted cannot be compiled", allow_module_level=True)

# Each of these is one instruction, not a loop around compare-and-swap. Positive floats are ordered as signed integers,
# negative ones in reverse as unsigned integers.
NATIVE_ATOMICS = {
    "cache_encode": ("add.u64",),
    "cache_segment": ("min.s64",),
    "cache_write": ("min.s32", "max.u32", "max.s32", "min.u32"),
    "cache_enter": ("min.u32",),
}

# Bytes of stack: the ptxas of Triton 3.8 spills up to four registers here rather than use more of them (96 at 90; 136
# to 168 at 75). That of Triton 3.6 spills them in one kernel only.
LAYERS_OF_DISCS = {("rasterize_layer_of_discs", 80): 16, ("rasterize_layer_of_discs", 90): 8}
SPILLED = LAYERS_OF_DISCS | {
    ("rasterize_discs", 90): 8,
    ("lift_median", 75): 8,
    ("lift_median_of_large_cells", 75): 8,
    ("backward_median", 75): 16,
}
RELEASE = tuple(map(int, triton.__version__.split(".")[:2]))
if RELEASE < (3, 8):
    SPILLED = dict(LAYERS_OF_DISCS)
if RELEASE < (3, 6):
    SPILLED |= {("backward_median", 75): 8, ("backward_median", 90): 8, ("rasterize_layer_of_own_discs", 90): 16}


class Compiled(NamedTuple):
    ptx: str
    resources: dict[str, int]  # registers, bytes of stack and of local memory


def compiled(kernel: Kernel, capability: int, folder: Path) -> Compiled:
    """Compile a kernel as ``_triton_common.launch`` does, for a GPU that this machine need not have."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from mirage_kernels._triton_common import OPTIONS

    path = f"mirage_kernels.ops.{kernel.folder or kernel.operation}.{kernel.operation}_triton"
    module = __import__(path, fromlist=[kernel.name])
    function = getattr(module, kernel.name)
    names = function.arg_names
    types = {name: kernel.types.get(name) or TYPES.get(name, "*fp32") for name in names}
    types |= dict.fromkeys(kernel.constants, "constexpr")
    aligned = [i for i, name in enumerate(names) if types[name][0] == "*" or name in kernel.aligned]
    source = ASTSource(function, types, kernel.constants, {(i,): [["tt.divisibility", 16]] for i in aligned})
    target, options = GPUTarget("cuda", capability, 32), {"num_warps": kernel.warps, **OPTIONS}
    code = triton.compile(source, target=target, options=options).asm
    (folder / "kernel.cubin").write_bytes(code["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    command = [str(tool), "--dump-resource-usage", str(folder / "kernel.cubin")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Compiled(code["ptx"], {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", text)})


@pytest.mark.parametrize("capability", [10 * major + minor for major, minor in (TRITON_CAPABILITY, (8, 0), (9, 0))])
@pytest.mark.parametrize("name", KERNELS)
def test_compiled_kernels(name: str, capability: int, tmp_path: Path) -> None:
    ptx, resources = compiled(KERNELS[name], capability, tmp_path)
    assert resources["STACK"] <= SPILLED.get((name, capability), 0), "registers are spilled"
    assert resources["LOCAL"] == 0, "registers are spilled"
    if RELEASE < (3, 6):  # its divisions make denormal quotients 0 (docs/start.md)
        ptx = ptx.replace("div.rn.ftz.f32", "div.rn.f32")
    # One rounding per operation, denormals kept.
    for wrong in (r"\bfma\.", r"\bmad\.\S*f(32|64)", r"div\.(full|approx)", r"\brcp\.", r"\.ftz"):
        assert not re.search(wrong, ptx), wrong
    if name.startswith(
        (
            "lift",
            "backward_median",
            "backward_bilinear",
            "visible",
            "project",
            "gather",
            "rasterize",
            "bilinear",
            "frontmost",
        )
    ):
        assert "div.rn.f32" in ptx
    if "rasterize" in name:  # one instruction, not a loop that compares and swaps
        assert re.search(r"atom\.\S*relaxed\S*\.min\.s64", ptx)
        assert "cas" not in ptx
    if name.startswith(("backward_features", "bilinear_blend", "bilinear_backward_features", "bilinear_backward_xyz")):
        assert re.search(r"ld\.global\S*\.v4\.b32", ptx)
    if name.startswith(("features", "resolve")) and name != "features_unaligned":
        assert re.search(r"ld\.global\S*\.v4\.b32", ptx)
        assert re.search(r"st\.global\S*\.v4\.b32", ptx)
    if name.startswith(("cache_copy", "cache_quantize", "cache_sum", "cache_decode")):
        assert re.search(r"ld\.global\S*\.v4\.b32", ptx)
        assert re.search(r"st\.global\S*\.v4\.b32", ptx)
    if name in NATIVE_ATOMICS:
        assert set(re.findall(r"\batom\.\S*", ptx)) == {f"atom.global.gpu.relaxed.{a}" for a in NATIVE_ATOMICS[name]}
    if name == "overlap":
        assert re.search(r"ld\.global\S*\.v2\.b64", ptx)
        assert "popc.b64" in ptx
        assert "div.rn.f64" in ptx
    if name == "visible_groups":
        assert re.search(r"atom\.\S*relaxed\S*\.or\.b32", ptx)


class Nothing:
    """A kernel that does nothing."""

    __name__ = "nothing"

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda *_, **__: None


def many_views(operation: str) -> Any:
    """A call with two million views, whose tensors have no data."""
    xyz, features = torch.empty(900, 3), torch.empty(900, 70, dtype=torch.bfloat16)
    views, h, w = 2_000_000, 6, 9
    cameras = (torch.empty(views, 3, 3), torch.empty(views, 3, 4))
    maps, index = torch.empty(views, 70, h, w), torch.empty(views, h, w, dtype=torch.int64)
    depth, n = torch.empty(views, h, w), len(xyz)
    blend = (*cameras, None, depth, depth, 0.05)
    layers, weights = torch.empty(views, 2, h, w, dtype=torch.int64), torch.empty(views, 2, h, w)
    return {
        "splat": (xyz, features, *cameras, h, w, None, None, 0.0, 0.0, 0.0),
        "splat_clouds": (xyz.view(900, 1, 3)[:800], features[:800, None], *cameras, h, w),
        "splat_bilinear": (xyz, features, *cameras, h, w, None, 0.05),
        "splat_backward_features": (maps, index, n),
        "splat_backward_xyz": (depth, index, cameras[1], n),
        "splat_bilinear_backward_features": (maps, xyz, *blend),
        "splat_bilinear_backward_xyz": (maps, maps, xyz, features, *blend),
        "splat_layers": (xyz, *cameras, h, w, 2, None, None, 0.0, 0.0),
        "splat_layers_backward_xyz": (weights, weights, xyz, *cameras, layers),
        "composite": (features, layers, weights, 0),
        "composite_backward_features": (maps, layers, weights, n, 0),
        "composite_backward_weights": (maps, features, layers, weights, 0),
        "visible": (xyz, *cameras, h, w, None, None, n),
        "project": (xyz, *cameras, h, w),
        "splat_frontmost": (xyz, *cameras, h, w, None, 1e-6, 1e39, 0.0, False),
        "unproject": (depth, maps, cameras[0], torch.empty(views, 4, 4), None, 0, 1, 0.0),
        "voxel_cache_decode": (features, None, None, index, features[:0]),
    }[operation]


@pytest.mark.parametrize(
    ("folder", "module", "operation"),
    [
        ("splat", "splat", "splat"),
        ("splat", "splat_clouds", "splat_clouds"),
        ("splat", "splat_bilinear", "splat_bilinear"),
        ("splat", "splat_backward", "splat_backward_features"),
        ("splat", "splat_backward", "splat_backward_xyz"),
        ("splat", "splat_bilinear_backward", "splat_bilinear_backward_features"),
        ("splat", "splat_bilinear_backward", "splat_bilinear_backward_xyz"),
        ("splat", "splat_layers", "splat_layers"),
        ("splat", "splat_layers", "splat_layers_backward_xyz"),
        ("splat", "splat_composite", "composite"),
        ("splat", "splat_composite", "composite_backward_features"),
        ("splat", "splat_composite", "composite_backward_weights"),
        ("overlap", "overlap", "visible"),
        ("project", "project", "project"),
        ("splat", "splat_frontmost", "splat_frontmost"),
        ("unproject", "unproject", "unproject"),
        ("voxel_cache", "voxel_cache", "voxel_cache_decode"),
    ],
)
def test_any_number_of_views_fits_a_grid(
    folder: str, module: str, operation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mirage_kernels._triton_common import launch

    kernels = importlib.import_module(f"mirage_kernels.ops.{folder}.{module}_triton")
    shared = importlib.import_module("mirage_kernels.ops.splat.splat_triton")
    grids: list[tuple[int, ...]] = []

    def record(_: Any, grid: tuple[int, ...], *args: Any, **options: Any) -> None:
        launch(Nothing(), grid, *args, **options)
        grids.append(grid)

    for launching in {kernels, shared}:
        monkeypatch.setattr(launching, "launch", record, raising=False)
    with torch.device("meta"):
        getattr(kernels, operation)(*many_views(operation))
    assert grids


def test_error_for_a_grid_that_is_too_large() -> None:
    from mirage_kernels._triton_common import launch

    for grid in ((1, 65_536), (2**31,), (1, 1, 65_536)):
        with pytest.raises(ValueError, match=r"nothing: expected a grid of at most \(2147483647,.* got \("):
            launch(Nothing(), grid, torch.device("cpu"))


def run_interpreted(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"TRITON_INTERPRET": "1", "MIRAGE_TEST_EMULATION": "0"} | variables
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)


def check_table(table: str, *options: str, **variables: str) -> None:
    result = run_interpreted(
        "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *options, str(HERE / table), **variables
    )
    assert result.returncode == 0, result.stdout[-4000:]
    assert " passed" in result.stdout
    assert "skipped" not in result.stdout


@pytest.mark.parametrize("table", TABLES)
def test_interpreter_equals_reference(table: str) -> None:
    check_table(table)


@pytest.mark.long
@pytest.mark.parametrize("table", TABLES)
def test_interpreter_equals_reference_in_many_examples(table: str) -> None:
    check_table(table, "-m", "long or not long", MIRAGE_EXAMPLES="60")


@pytest.mark.long
def test_the_self_test_covers_the_interpreter() -> None:
    result = run_interpreted("-m", "mirage_kernels")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "backend triton: ready (interpreted" in result.stdout
    assert "self-test triton on cpu, unproject: ok" in result.stdout
