# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Builds mirage_kernels._C, one abi3 binary on LibTorch's stable ABI, with ninja.

Environment:
  CXX            the C++ compiler (default: c++, g++ or clang++, the first found)
  MIRAGE_CPP     0: do not build it; 1: fail where it cannot be built (default: build it where a compiler is found)
  MIRAGE_CUDA    0: leave the CUDA sources out; 1: fail without nvcc (default: build them where nvcc is found)
  MIRAGE_WERROR  1: warnings are errors, of nvcc too
  MAX_JOBS       how many files are compiled at a time
"""

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import setuptools
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
CSRC = Path("csrc")
TORCH_TARGET = "0x020a000000000000"  # 2.10: the binary runs on this release of torch and every later one
PYTHON_TARGET = "0x030a0000"  # 3.10, likewise
OLDEST_SETUPTOOLS = (64, 0)  # those before it do not read all of pyproject.toml, and some silently nothing
SETUPTOOLS_WITH_WHEEL = (70, 1)  # the first to build wheels by itself
CUDA_ARCHES = ("80", "90", "100", "120")  # machine code for GPUs of capability 8.x, 9.x, 10.x and 12.x

# -ffp-contract=off: arithmetic that decides something rounds once per operation on every machine.
CXX_FLAGS = [
    "-std=c++20",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wall",
    "-Wextra",
    "-Wno-unknown-pragmas",
    "-Wno-attributes",
]
X86_ISAS = {
    "baseline": [],
    "avx2": ["-mavx2"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"],
}
NVCC_FLAGS = [
    "-std=c++20",
    "-O3",
    "-fmad=false",
    "-DUSE_CUDA",
    "-Xcompiler=-fPIC,-fvisibility=hidden",
]


def switch(name: str) -> bool | None:
    """The value of an on/off environment variable, None where it is unset."""
    value = os.environ.get(name, "")
    if value not in ("", "0", "1"):
        sys.exit(f"{name}: expected 0 or 1, got {value!r}")
    return None if value == "" else value == "1"


def check_setuptools(commands: list[str]) -> None:
    """Stop with one line where this setuptools would build something else, or fail with an unclear error."""
    release = tuple(map(int, setuptools.__version__.split(".")[:2]))
    if release < OLDEST_SETUPTOOLS:
        sys.exit(
            f"setuptools: expected 64 or newer, got {setuptools.__version__}; pip install --upgrade setuptools wheel"
        )
    needs_wheel = {"bdist_wheel", "dist_info", "editable_wheel"} & set(commands)
    if needs_wheel and release < SETUPTOOLS_WITH_WHEEL and importlib.util.find_spec("wheel") is None:
        sys.exit(f"wheel: setuptools {setuptools.__version__} needs this package, which is missing; pip install wheel")


def license_field() -> dict[str, str]:
    """The licence as this setuptools accepts it: an SPDX expression from 77 on."""
    return {"license_expression" if int(setuptools.__version__.split(".")[0]) >= 77 else "license": "Apache-2.0"}


def find_tool(switch_name: str, what: str, candidates: list[str]) -> str | None:
    wanted = switch(switch_name)
    found = None if wanted is False else next(filter(None, map(shutil.which, candidates)), None)
    if wanted and found is None:
        sys.exit(f"{switch_name}=1, but no {what} was found (looked for {', '.join(candidates)})")
    return found


def find_nvcc() -> str | None:
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    return find_tool("MIRAGE_CUDA", "nvcc", ["nvcc", *(str(Path(home, "bin", "nvcc")) for home in homes if home)])


def find_cxx() -> str | None:
    named = os.environ.get("CXX")
    return find_tool("MIRAGE_CPP", "C++ compiler", [named] if named else ["c++", "g++", "clang++"])


def find_arches(nvcc: str) -> list[str]:
    """The architectures to build for: those of CUDA_ARCHES that this nvcc knows."""
    listed = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=False).stdout.split()
    known = [arch for arch in CUDA_ARCHES if f"compute_{arch}" in listed]
    if not known:
        sys.exit(
            f"nvcc: expected one that knows compute_{' or compute_'.join(CUDA_ARCHES)}, got {nvcc}, which knows "
            f"{', '.join(listed) or 'no --list-gpu-arch'}; install CUDA 12 or newer, or leave CUDA out: MIRAGE_CUDA=0"
        )
    return known


def gencode_flags(arches: list[str]) -> list[str]:
    """Machine code for every architecture, and PTX for GPUs of other capabilities.

    PTX of the newest serves what comes after it. That of compute_100 is kept beside compute_120's for capability 11.0,
    which runs neither sm_100's nor sm_120's code.
    """
    ptx = [arch for arch in arches if arch in ("100", arches[-1])]
    targets = [(arch, f"sm_{arch}") for arch in arches] + [(arch, f"compute_{arch}") for arch in ptx]
    return [f"-gencode=arch=compute_{arch},code={code}" for arch, code in targets]


def tool_version(tool: str) -> str:
    lines = subprocess.run([tool, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()
    return next((line for line in lines if "release" in line), lines[0])  # nvcc's is not the first line


def project_version() -> str:
    lines = Path(ROOT, "mirage_kernels", "version.py").read_text().splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("__version__"))


class NinjaFile:
    """The build of one binary: which file is compiled how."""

    def __init__(self, build_dir: Path, cxx: str, nvcc: str | None) -> None:
        import torch  # the build needs torch's headers, and nothing of it at import time
        from torch.utils import cpp_extension

        self.cxx, self.nvcc, self.torch = cxx, nvcc, torch
        self.build_dir = build_dir
        self.isas = X86_ISAS if platform.machine() in ("x86_64", "AMD64") else {"baseline": []}
        self.torch_includes = [f"-isystem {path}" for path in cpp_extension.include_paths()]
        self.torch_libraries = cpp_extension.library_paths()
        self.cuda_sources = sorted(CSRC.glob("**/*.cu")) if nvcc else []
        self.cuda_arches = find_arches(nvcc) if nvcc and self.cuda_sources else []
        self.edges: list[str] = []
        self.objects: list[str] = []

    def info(self) -> dict[str, object]:
        return {
            "version": project_version(),
            "cxx": tool_version(self.cxx),
            "nvcc": tool_version(self.nvcc) if self.nvcc and self.cuda_sources else None,
            "torch": self.torch.__version__,
            "python": platform.python_version(),
            "instruction_sets": list(self.isas),
            "cuda_arches": self.cuda_arches,
        }

    def compile(self, rule: str, source: Path, flags: list[str], suffix: str = "") -> None:
        target = f"{source.with_suffix('')}{suffix}.o"
        self.edges += [f"build {target}: {rule} {ROOT / source}", f"  flags = {' '.join(flags)}"]
        self.objects.append(target)

    def write(self, output: Path) -> None:
        import sysconfig

        python = [f"-isystem {sysconfig.get_path('include')}", f"-DPy_LIMITED_API={PYTHON_TARGET}"]
        torch = [*self.torch_includes, f"-DTORCH_TARGET_VERSION={TORCH_TARGET}"]
        for source in sorted(CSRC.glob("**/*.cpp")):
            if source.stem.endswith("_isa"):  # plain loops, once per instruction set
                for isa, flags in self.isas.items():
                    self.compile("cxx", source, [f"-DMIRAGE_ISA={isa}", *flags], f".{isa}")
            else:
                self.compile("cxx", source, python + torch)
        for source in self.cuda_sources:
            self.compile("nvcc", source, torch + gencode_flags(self.cuda_arches), ".cuda")

        include = f"-I{ROOT / CSRC} -I{self.build_dir}"
        werror, nvcc_werror = ("-Werror", "-Werror=all-warnings") if switch("MIRAGE_WERROR") else ("", "")
        shared = (
            "$cxx -bundle -undefined dynamic_lookup" if sys.platform == "darwin" else "$cxx -shared -Wl,--as-needed -s"
        )
        if self.cuda_sources:  # nvcc knows where its runtime lies, and links it statically
            shared = "$nvcc -shared -Xlinker --as-needed,-s"
        libraries = " ".join(f"-L{path}" for path in self.torch_libraries) + " -ltorch_cpu -ltorch -lc10"
        lines = [
            "ninja_required_version = 1.5",
            f"cxx = {self.cxx}",
            f"nvcc = {self.nvcc or 'nvcc'}",
            "rule cxx",
            f"  command = $cxx {' '.join(CXX_FLAGS)} {werror} {include} $flags -MMD -MF $out.d -c $in -o $out",
            "  depfile = $out.d",
            "  deps = gcc",
            "  description = compiling $out",
            "rule nvcc",
            f"  command = $nvcc {' '.join(NVCC_FLAGS)} {nvcc_werror} {include} $flags -MMD -MF $out.d -c $in -o $out",
            "  depfile = $out.d",
            "  deps = gcc",
            "  description = compiling $out",
            "rule link",
            f"  command = {shared} $in {libraries} -o $out",
            "  description = linking $out",
            *self.edges,
            f"build {output}: link {' '.join(self.objects)}",
            f"default {output}",
            "",
        ]
        self.build_dir.mkdir(parents=True, exist_ok=True)
        write_if_changed(self.build_dir / "build.ninja", "\n".join(lines))
        info = json.dumps(json.dumps(self.info()))
        write_if_changed(self.build_dir / "build_info.h", f"#pragma once\n#define MIRAGE_BUILD_INFO {info}\n")


def write_if_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


class NinjaBuild(build_ext):
    def build_extension(self, ext: Extension) -> None:
        cxx = find_cxx()
        assert cxx is not None  # else there would be no extension
        output = Path(self.get_ext_fullpath(ext.name)).resolve()
        output.parent.mkdir(parents=True, exist_ok=True)
        # not setuptools' own folder, which an editable install throws away: the next build then starts from nothing
        build_dir = ROOT / "build" / "native"
        NinjaFile(build_dir, cxx, find_nvcc()).write(output)
        jobs = os.environ.get("MAX_JOBS")
        command = [shutil.which("ninja") or "ninja", "-C", str(build_dir), *(["-j", jobs] if jobs else [])]
        subprocess.run(command, check=True)


def main() -> None:
    os.chdir(ROOT)
    check_setuptools(sys.argv[1:])
    cxx = find_cxx()
    if cxx is None:
        print("mirage-kernels: no C++ compiler; installing without native kernels (backend 'reference' only)",
              file=sys.stderr)  # fmt: skip
        setup(**license_field())
        return
    setup(
        **license_field(),
        ext_modules=[Extension("mirage_kernels._C", sources=[], py_limited_api=True)],
        cmdclass={"build_ext": NinjaBuild},
        options={"bdist_wheel": {"py_limited_api": "cp310"}},
    )


if __name__ == "__main__":  # so it is under pip too; the tests import this file
    main()
