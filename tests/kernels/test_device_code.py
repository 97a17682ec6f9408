# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the CUDA sources were compiled to, as far as that shows without a GPU: read out of the built module."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import emulated
import pytest
import torch
from torch.utils import cpp_extension

import mirage_kernels as mk
from mirage_kernels import _native_module

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[1] / "csrc"
ARCHES = ("80", "90", "100", "120")  # those of setup.py; an older nvcc builds the first ones
EACH_ARCH = [arch if arch == "90" else pytest.param(arch, marks=pytest.mark.long) for arch in ARCHES]
# Bytes of a kernel's stack. For sm_120 ptxas spills a few registers rather than exceed 40, with which an SM runs all of
# its 1,536 threads; nowhere else is any spilled.
STACK = {"120": 16}

WIDE_LOAD, WIDE_STORE = r"LDG\.E\S*\.(128|256)", r"STG\.E\S*\.(128|256)"
# What the machine code of a kernel must have: every instantiation, on every architecture.
NEEDED = {
    r"overlap_mark_visible_kernelILb0": [r"VOTE", r"LDS\.128", r"STG\.E\.64", r"REDUX"],
    r"overlap_mark_visible_kernelILb1": [r"LDS\.128", r"REDG?\.E\.OR\.64"],
    r"overlap_count_kernel": [WIDE_LOAD, r"LDS\.128", r"POPC", r"REDG?\.E\.ADD\.64"],
    r"project_points_kernel": [r"STG\.E\.64"],
    r"quantize_rows_kernel": [r"REDUX"],
    r"unproject_lift_kernel": [WIDE_LOAD, WIDE_STORE, r"REDUX"],
    r"unproject_backward_features_kernel": [WIDE_LOAD, WIDE_STORE],
    # the z-buffer: look first, past the first-level cache, and an atomic that returns nothing
    r"splat_rasterize_kernelI": [r"LDG\.E\.64\.STRONG\.GPU", r"REDG?\.E\.MIN\.64"],
    r"splat_rasterize_layer_kernelI": [r"LDG\.E\.64\.STRONG\.GPU", r"REDG?\.E\.MIN\.64"],
    r"splat_list_leaves_kernel": [r"VOTE", r"ATOMG\.E\.ADD"],
    r"splat_resolve_kernelI": [WIDE_LOAD, WIDE_STORE],
    r"splat_transpose_kernelI": [WIDE_LOAD, WIDE_STORE],
    r"voxel_cache_copy_kernelI5uint4": [WIDE_LOAD, WIDE_STORE],
    r"voxel_cache_sum_kernelINS_8BFloat16ELi8": [WIDE_LOAD, WIDE_STORE],
    r"voxel_cache_quantize_kernel": [r"REDUX"],
    r"voxel_cache_decode_kernel": [WIDE_LOAD, WIDE_STORE],
    r"voxel_cache_write_kernel": [r"ATOMG\.E\.MIN\S*", r"REDG?\.E\.MIN\.S32", r"REDG?\.E\.MAX\.S32", r"REDUX"],
    r"voxel_cache_index_kernel": [r"ATOMG\.E\.MIN\S*", r"REDG?\.E\.MIN\.S32", r"REDG?\.E\.MAX\.S32", r"REDUX"],
    r"voxel_cache_carve_kernel": [r"VOTE", r"LDS\.128"],
}
# What it must not have.
FLOAT64 = r"\bD(ADD|MUL|FMA|SETP)\b"
FORBIDDEN = {
    # frusta are prepared once
    r"overlap_mark_visible_kernel": [FLOAT64],
    r"splat_list_leaves_kernel": [FLOAT64],
    r"voxel_cache_carve_kernel": [FLOAT64],
    r"splat_rasterize_kernelI": [r"CAS", r"ATOMG", r"ATOMS", FLOAT64],
    r"splat_rasterize_layer_kernelI": [r"CAS", r"ATOMG", r"ATOMS", FLOAT64],
    r"splat_composite_sum_features_kernelI": [r"ATOM", r"RED\b|REDG"],  # sums in order
    r"splat_enter_depths_kernel": [r"CAS", r"ATOMG", r"ATOMS", FLOAT64],
    r"splat_sum_taps_kernel": [r"ATOM", r"RED\b|REDG"],
    r"splat_bilinear_blend_kernelI": [r"ATOM", r"RED\b|REDG"],
    r"splat_sum_features_kernelI": [r"ATOM", r"RED\b|REDG"],
    r"splat_bilinear_backward_features_kernelI": [r"ATOM", r"RED\b|REDG"],
    r"splat_bilinear_backward_xyz_kernelI": [r"ATOM", r"RED\b|REDG"],
    r"voxel_cache_sum_kernelI": [r"ATOM", r"RED\b|REDG"],
    r"voxel_cache_write_kernel": [r"CAS", r"ATOM\.E"],  # a table of 32-bit slots; an address that is known to be global
    r"voxel_cache_index_kernel": [r"CAS", r"ATOM\.E"],
}


def test_every_header_serves_as_device_code(tmp_path: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None or not CSRC.is_dir():
        pytest.skip("needs nvcc and the sources")
    command = [nvcc, "-std=c++20", "-fmad=false", "-Werror=all-warnings", "-arch=sm_80", "-cubin", f"-I{CSRC}"]
    subprocess.run([*command, str(HERE / "device_code.cu"), "-o", str(tmp_path / "device_code.cubin")], check=True)


def test_the_stream_is_found_in_the_library_that_torch_keeps_to_itself(tmp_path: Path) -> None:
    """A torch with CUDA loads libtorch_cuda.so where other libraries' symbols are not looked up."""
    nvcc = shutil.which("nvcc")
    if nvcc is None or not CSRC.is_dir() or torch.version.cuda is not None:
        pytest.skip("needs nvcc, the sources, and a torch without CUDA")
    stand_in, probe = tmp_path / "libtorch_cuda.so", tmp_path / "probe.so"
    (tmp_path / "stand_in.c").write_text(
        "int aoti_torch_get_current_cuda_stream(int device, void** stream) {\n"
        "  *stream = (void*)(long)(1000 + device);\n  return 0;\n}\n"
    )
    shared = ["-shared", "-Xcompiler=-fPIC", "-Xlinker", f"-soname={stand_in.name}"]
    subprocess.run([nvcc, *shared, str(tmp_path / "stand_in.c"), "-o", str(stand_in)], check=True)
    torch_flags = [f"-isystem={path}" for path in cpp_extension.include_paths()]
    torch_flags += [f"-L{path}" for path in cpp_extension.library_paths()]
    torch_flags += ["-ltorch_cpu", "-DUSE_CUDA", "-DTORCH_TARGET_VERSION=0x020a000000000000"]
    source = str(emulated.HEADER.parent / "stream_probe.cu")
    options = ["-std=c++20", "-arch=sm_80", "-shared", "-Xcompiler=-fPIC", f"-I{CSRC}"]
    subprocess.run([nvcc, *options, *torch_flags, source, "-o", str(probe)], check=True)
    code = """
import ctypes, sys, torch
*others, probe = [ctypes.CDLL(path, mode=ctypes.RTLD_LOCAL) for path in sys.argv[1:]]
print(probe.current_stream())
"""
    for libraries, expected in (([probe], -1), ([stand_in, probe], 1003)):
        command = [sys.executable, "-c", code, *map(str, libraries)]
        assert int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) == expected


@pytest.fixture(scope="module")
def module() -> ModuleType:
    """The native module, built with CUDA."""
    if not mk.build_info().get("cuda_arches"):
        pytest.skip("built without CUDA")
    return sys.modules[f"mirage_kernels.{_native_module.NAME}"]


class Code:
    """The module's device code, by the tools of CUDA."""

    def __init__(self, module: ModuleType) -> None:
        self._path = str(module.__file__)
        found = shutil.which("cuobjdump")
        if found is None:  # Triton carries it
            triton = pytest.importorskip("triton")
            found = str(Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump")
        self._tool = found
        self._instructions: dict[str, dict[str, str]] = {}

    def needs(self, arch: str) -> None:
        info = mk.build_info()
        if arch not in info["cuda_arches"]:
            pytest.skip(f"built by an nvcc that does not know sm_{arch}: {info['nvcc']}")

    def dump(self, *options: str) -> str:
        command = [self._tool, *options, self._path]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def resources(self, arch: str) -> list[tuple[str, dict[str, int]]]:
        """Every kernel, with its registers and bytes of memory."""
        self.needs(arch)
        found = re.findall(r"Function (\S+):\s+(REG.*)", self.dump("--dump-resource-usage", "-arch", f"sm_{arch}"))
        return [(name, {k: int(v) for k, v in re.findall(r"(\w+):(\d+)", line)}) for name, line in found]

    def instructions(self, arch: str) -> dict[str, str]:
        """The instructions of every kernel, without their operands."""
        self.needs(arch)
        if arch not in self._instructions:
            _, *functions = re.split(r"Function : ", self.dump("-sass", "-arch", f"sm_{arch}"))
            mnemonic = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?\w+\s+)?([A-Z][\w.]*)", re.MULTILINE)
            self._instructions[arch] = {text.split()[0]: " ".join(mnemonic.findall(text)) for text in functions}
        return self._instructions[arch]


@pytest.fixture(scope="module")
def code(module: ModuleType) -> Code:
    return Code(module)


def test_the_module_has_code_for_every_architecture(code: Code) -> None:
    built = mk.build_info()["cuda_arches"]
    assert built == [arch for arch in ARCHES if arch in built]
    listed = code.dump("--list-elf")
    for arch in built:
        assert f".sm_{arch}.cubin" in listed, f"sm_{arch}"
    beyond = set(re.findall(r"\.target sm_(\d+)", code.dump("-ptx")))
    assert beyond == {built[-1], *({"100"} & set(built))}, "for architectures to come, and for 11.0"


@pytest.mark.parametrize("arch", EACH_ARCH)
def test_no_kernel_spills(code: Code, arch: str) -> None:
    resources = code.resources(arch)
    assert len(resources) >= len(NEEDED)
    for name, use in resources:
        if not name.startswith("_ZN3cub"):  # not ours: a sort that spills eight bytes
            assert use["STACK"] <= STACK.get(arch, 0), f"{name}: {use}"
            assert use["LOCAL"] == 0, f"{name}: {use}"
            assert use["STACK"] == 0 or use["REG"] == 40, f"{name}: {use}"


@pytest.mark.parametrize("arch", EACH_ARCH)
def test_kernels_use_the_instructions_they_were_written_for(code: Code, arch: str) -> None:
    kernels = code.instructions(arch)
    for wanted, patterns in NEEDED.items():
        found = {name: text for name, text in kernels.items() if wanted in name}
        assert found, wanted
        for name, text in found.items():
            missing = [pattern for pattern in patterns if not re.search(pattern, text)]
            assert not missing, f"{name}: no {missing}"
    for unwanted, patterns in FORBIDDEN.items():
        found = {name: text for name, text in kernels.items() if unwanted in name}
        assert found, unwanted
        for name, text in found.items():
            assert not re.findall("|".join(patterns), text), name
    for name, text in kernels.items():
        if not name.startswith("_ZN3cub") and arch not in STACK:
            assert not re.search(r"\b(LDL|STL)\b", text), f"{name}: local memory"
        assert "ATOMS.CAS" not in text, f"{name}: an atomic on shared memory that is a loop"


@pytest.mark.parametrize("arch", EACH_ARCH)
@pytest.mark.parametrize(
    ("kernel", "copies"),
    # of sixteen bytes a thread: cameras and frusta of 64 views, cameras alone, both of 32 views
    [
        (r"splat_rasterize_kernelI\S*Lb0E", 8),
        (r"splat_rasterize_kernelI\S*Lb1E", 2),
        ("splat_list_leaves_kernel", 8),
        ("overlap_mark_visible_kernel", 8),
        ("voxel_cache_carve_kernel", 3),
    ],
)
def test_a_block_loads_its_views_in_one_round_trip(code: Code, kernel: str, copies: int, arch: str) -> None:
    found = [text for name, text in code.instructions(arch).items() if re.search(kernel, name)]
    assert found
    for text in found:
        under_way = re.split(r"\bDEPBAR", text, maxsplit=1)[0]  # before the first wait
        assert under_way.count("LDGSTS.E.BYPASS.128") == copies
        if "Lb0E" in kernel or kernel == "overlap_mark_visible_kernel":
            assert re.search(r"LDG\.E\S*CONSTANT", under_way), "the block's first points"


def test_arithmetic_rounds_once(code: Code) -> None:
    """In PTX, where an exact division is one instruction, nothing is fused and nothing approximate."""
    ptx = code.dump("-ptx")
    assert re.search(r"\b(div|rcp)\.rn\.f32\b", ptx)
    assert not re.findall(r"\b(?:fma\.\S+|mad\.\S*f\d+|(?:div|rcp|sqrt)\.(?:full|approx)\S*|\S+\.ftz\.\S+)", ptx)


@pytest.mark.usefixtures("module")
def test_the_module_registers_every_kernel_that_the_tests_run_on_a_cpu(cuda_code: emulated.Emulated | None) -> None:
    if cuda_code is None:
        pytest.skip("needs GCC and the sources")
    registered = torch._C._dispatch_get_registrations_for_dispatch_key("CUDA")
    assert cuda_code.operations() == {n.split("::")[1] for n in registered if n.startswith("mirage_kernels::")}
    unproject = {"unproject", "unproject_backward_depth", "unproject_backward_features"}
    cache = {f"voxel_cache_{name}" for name in ("insert", "commit", "index", "carve", "decode")}
    splat = {"splat", "splat.inference", "splat_plain", "splat_backward_features", "splat_backward_xyz"}
    bilinear = {"splat_bilinear", "splat_bilinear_backward_features", "splat_bilinear_backward_xyz"}
    layers = {"splat_layers", "splat_layers_backward_xyz"}
    composite = {"composite", "composite_backward_features", "composite_backward_weights"}
    others = {"associate", "visible", "overlap", "project", "quantize", "splat_sum", "splat_frontmost"}
    others |= {"splat_surface", "splat_offsets", "splat_blend"}
    assert cuda_code.operations() >= others | unproject | splat | bilinear | layers | composite | cache
