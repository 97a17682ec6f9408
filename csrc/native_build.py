# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The build of the native module: finds compilers and compiles. setup.py imports this file."""

import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from string import Template
from typing import NamedTuple

from native_torch import ROOT, VERSIONS, Torch

CSRC = Path("csrc")
PYTHON_TARGET = "0x030a0000"  # 3.10: the binary is abi3
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
# Without them, a compiler for AVX-512 moves words of bits to mask registers and back for an "and not".
BIT_INSTRUCTIONS = ["-mbmi", "-mbmi2"]
X86_ISAS = {
    "baseline": [],
    "avx2": ["-mavx2", *BIT_INSTRUCTIONS],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512", *BIT_INSTRUCTIONS],
}
SANITIZERS = {
    "address": ["-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"],
    "thread": ["-fsanitize=thread"],
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


def sanitizer() -> list[str]:
    """The flags of the sanitizer that MIRAGE_SANITIZE names, for the compiler and the linker."""
    name = os.environ.get("MIRAGE_SANITIZE", "")
    if name and name not in SANITIZERS:
        sys.exit(f"MIRAGE_SANITIZE: expected {' or '.join(SANITIZERS)}, got {name!r}")
    return [*SANITIZERS[name], "-O1", "-g", "-fno-omit-frame-pointer"] if name else []


def max_jobs() -> int | None:
    value = os.environ.get("MAX_JOBS", "")
    if value and not re.fullmatch(r"[1-9]\d*", value):
        sys.exit(f"MAX_JOBS: expected a number of files of at least 1, got {value!r}")
    return int(value) if value else None


def find_tool(switch_name: str, what: str, candidates: list[str]) -> str | None:
    wanted = switch(switch_name)
    found = None if wanted is False else next(filter(None, map(shutil.which, candidates)), None)
    if wanted and found is None:
        sys.exit(f"{switch_name}=1, but no {what} was found (looked for {', '.join(candidates)})")
    return found


def find_nvcc() -> str | None:
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    named = [str(Path(home, "bin", "nvcc")) for home in homes if home]
    return find_tool("MIRAGE_CUDA", "nvcc", [*named, "nvcc", "/usr/local/cuda/bin/nvcc"])


def find_cxx() -> str | None:
    """The command of the compiler, quoted for a shell; None where there is none, or none is wanted."""
    named = os.environ.get("CXX", "").strip()
    if not named:
        found = find_tool("MIRAGE_CPP", "C++ compiler", ["c++", "g++", "clang++"])
        return shlex.quote(found) if found else None
    if switch("MIRAGE_CPP") is False:
        return None
    try:
        words = [named] if shutil.which(named) else shlex.split(named)  # a path may hold spaces
    except ValueError as error:
        sys.exit(f"CXX: expected the command of a C++ compiler, got {named!r} ({error})")
    if shutil.which(words[0]) is None:
        sys.exit(
            f"CXX: expected the command of a C++ compiler, got {named!r}, but {words[0]!r} is not found; name another, "
            "unset CXX, or install without native kernels: MIRAGE_CPP=0"
        )
    return shlex.join(words)


def check_cxx(cxx: str) -> None:
    """Stop with one line where the compiler cannot compile C++20 with Python's headers."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "try.cpp")
        source.write_text(
            "#include <Python.h>\n#include <bit>\n#include <concepts>\nstatic_assert(std::bit_ceil(3u) == 4);\n"
        )
        command = [*shlex.split(cxx), "-std=c++20", "-fsyntax-only", f"-I{sysconfig.get_path('include')}", str(source)]
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        lines = [line.strip() for line in (tried.stderr + tried.stdout).splitlines() if line.strip()]
        reason = next((line for line in lines if "error" in line.lower()), lines[0] if lines else "it fails")
        sys.exit(
            f"CXX: expected a compiler of C++20, with Python's headers (Debian, Ubuntu: python3-dev), got {cxx}: "
            f"{reason}; name another in CXX, or install without native kernels: MIRAGE_CPP=0"
        )


def find_arches(nvcc: str) -> list[str]:
    """The architectures to build for: those of TORCH_CUDA_ARCH_LIST, else those of CUDA_ARCHES that this nvcc knows."""
    listed = subprocess.run([nvcc, "--list-gpu-arch"], capture_output=True, text=True, check=False).stdout.split()
    asked = os.environ.get("TORCH_CUDA_ARCH_LIST", "")
    if asked.strip():
        return asked_arches(asked, nvcc, listed)
    known = [arch for arch in CUDA_ARCHES if f"compute_{arch}" in listed]
    if not known:
        sys.exit(
            f"nvcc: expected one that knows compute_{' or compute_'.join(CUDA_ARCHES)}, got {nvcc}, which knows "
            f"{', '.join(listed) or 'no --list-gpu-arch'}; install CUDA 12 or newer, or leave CUDA out: MIRAGE_CUDA=0"
        )
    return known


def asked_arches(asked: str, nvcc: str, listed: list[str]) -> list[str]:
    """The architectures of a TORCH_CUDA_ARCH_LIST. Those below 8.0 are left out, as the kernels do not support them."""
    words = [word for word in re.split(r"[;,\s]+", asked) if word]
    matches = {word: re.fullmatch(r"(\d+)\.(\d)[af]?(\+PTX)?", word) for word in words}
    wrong = [word for word, match in matches.items() if match is None]
    if wrong:
        sys.exit(f"TORCH_CUDA_ARCH_LIST: expected capabilities such as '8.0;9.0', got {wrong[0]!r}")
    arches = sorted({int(match[1] + match[2]) for match in matches.values() if match})
    usable = [str(arch) for arch in arches if arch >= int(CUDA_ARCHES[0])]
    unknown = [arch for arch in usable if f"compute_{arch}" not in listed]
    if unknown:
        sys.exit(f"TORCH_CUDA_ARCH_LIST: expected GPUs that {nvcc} knows ({', '.join(listed)}), got {asked!r}")
    if not usable:
        sys.exit(f"TORCH_CUDA_ARCH_LIST: expected a capability of 8.0 or newer, got {asked!r}")
    return usable


def gencode_flags(arches: list[str]) -> list[str]:
    """Machine code for every architecture, and PTX for GPUs of other capabilities.

    PTX of the newest serves what comes after it. That of compute_100 is kept beside compute_120's for capability 11.0,
    which runs neither sm_100's nor sm_120's code.
    """
    ptx = [arch for arch in arches if arch in ("100", arches[-1])]
    targets = [(arch, f"sm_{arch}") for arch in arches] + [(arch, f"compute_{arch}") for arch in ptx]
    return [f"-gencode=arch=compute_{arch},code={code}" for arch, code in targets]


def tool_version(tool: str) -> str:
    command = [*shlex.split(tool), "--version"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return next((line for line in lines if "release" in line), lines[0])  # nvcc's is not the first line


class Edge(NamedTuple):
    """One step of the build: a rule that makes a file of others."""

    target: str
    rule: str
    sources: list[str]
    flags: list[str]


class NativeBuild:
    """The build of one binary: which file is compiled how. Paths are relative to the folder of the build."""

    def __init__(self, build_dir: Path, cxx: str, nvcc: str | None, torch: Torch) -> None:
        self.cxx, self.nvcc, self.torch = cxx, nvcc, torch
        self.build_dir = build_dir
        self.isas = X86_ISAS if platform.machine() in ("x86_64", "AMD64") else {"baseline": []}
        self.cuda_sources = sorted(CSRC.glob("**/*.cu")) if nvcc else []
        self.cuda_arches = find_arches(nvcc) if nvcc and self.cuda_sources else []
        self.edges: list[Edge] = []

    def info(self) -> dict[str, object]:
        return {
            "version": VERSIONS["__version__"],
            "cxx": tool_version(self.cxx),
            "nvcc": tool_version(shlex.quote(self.nvcc)) if self.nvcc and self.cuda_sources else None,
            "torch": self.torch.version,
            "python": platform.python_version(),
            "instruction_sets": list(self.isas),
            "cuda_arches": self.cuda_arches,
        }

    def rules(self) -> dict[str, str]:
        """Commands, in which ninja, or string.Template, sets $in, $out and $flags."""
        folders = [CSRC] if self.torch.is_stable else [CSRC / "classic", CSRC]  # headers of the first replace others
        include = " ".join(f"-I{shlex.quote(os.path.relpath(ROOT / folder, self.build_dir))}" for folder in folders)
        include += " -I."
        werror, nvcc_werror = ("-Werror", "-Werror=all-warnings") if switch("MIRAGE_WERROR") else ("", "")
        sanitized = " ".join(sanitizer())
        shared = f"{self.cxx} -shared {sanitized or '-s'} -Wl,--no-as-needed $in -Wl,--as-needed -o $out"
        if sys.platform == "darwin":
            shared = f"{self.cxx} -bundle -undefined dynamic_lookup $in -o $out"
        nvcc = shlex.quote(self.nvcc) if self.nvcc else "nvcc"
        if self.cuda_sources:  # nvcc knows where its runtime lies, and links it statically
            # It passes its inputs before all options for the linker, so the libraries to keep are among those.
            kept = ",".join(["--no-as-needed", *(edge.target for edge in self.stubs()), "--as-needed"])
            shared = f"{nvcc} -shared $in -Xlinker -s,{kept} -o $out"
        depend = "$flags -MMD -MF $out.d -c $in -o $out"
        return {
            "cxx": f"{self.cxx} {' '.join(CXX_FLAGS)} {sanitized} {werror} {include} {depend}",
            "nvcc": f"{nvcc} {' '.join(NVCC_FLAGS)} {nvcc_werror} {include} {depend}",
            "stub": f"{self.cxx} -shared -nostdlib $flags $in -o $out",
            "link": shared,
        }

    def stubs(self) -> list[Edge]:
        """Empty libraries with the names of torch's, for the linker: torch itself need not be installed."""
        if sys.platform == "darwin":
            return []
        names = ("libtorch_cpu.so", "libc10.so")
        return [Edge(f"stubs/{name}", "stub", ["stub.cpp"], [f"-Wl,-soname,{name}"]) for name in names]

    def compile_edges(self) -> list[Edge]:
        torch = self.torch.flags()
        python = [f"-isystem {shlex.quote(sysconfig.get_path('include'))}", f"-DPy_LIMITED_API={PYTHON_TARGET}"]
        # at::parallel_for is compiled into the binary, with the OpenMP library that torch has loaded. Clang's OpenMP
        # needs another library than GCC's: its builds run on one thread.
        if not self.torch.is_stable and "clang" not in tool_version(self.cxx):
            python.append("-fopenmp")
        edges = []

        def add(rule: str, source: Path, flags: list[str], suffix: str) -> None:
            path = os.path.relpath(ROOT / source, self.build_dir)
            edges.append(Edge(f"{source.with_suffix('')}{suffix}.o", rule, [path], flags))

        for source in sorted(CSRC.glob("**/*.cpp")):
            if source.stem.endswith("_isa"):  # plain loops, once per instruction set
                for isa, flags in self.isas.items():
                    add("cxx", source, [f"-DMIRAGE_ISA={isa}", *flags], f".{isa}")
            else:
                add("cxx", source, python + torch, "")
        for source in self.cuda_sources:
            add("nvcc", source, torch + gencode_flags(self.cuda_arches), ".cuda")
        return edges

    def write(self, output: Path) -> None:
        """Write the files of the build, among them build.ninja."""
        parts = [*self.compile_edges(), *self.stubs()]
        link = Edge(os.path.relpath(output, self.build_dir), "link", [edge.target for edge in parts], [])
        self.edges = [*parts, link]
        lines = ["ninja_required_version = 1.5"]
        for name, command in self.rules().items():
            lines += [f"rule {name}", f"  command = {command}", "  description = $out"]
            lines += ["  depfile = $out.d", "  deps = gcc"] if name in ("cxx", "nvcc") else []
        for edge in self.edges:
            lines.append(f"build {ninja_path(edge.target)}: {edge.rule} {' '.join(map(ninja_path, edge.sources))}")
            lines.append(f"  flags = {' '.join(edge.flags).replace('$', '$$')}")
        lines += [f"default {ninja_path(link.target)}", ""]
        self.build_dir.mkdir(parents=True, exist_ok=True)
        write_if_changed(self.build_dir / "build.ninja", "\n".join(lines))
        write_if_changed(self.build_dir / "stub.cpp", "")
        info = json.dumps(json.dumps(self.info()))
        header = f"#pragma once\n#define MIRAGE_MODULE {self.torch.module}\n#define MIRAGE_BUILD_INFO {info}\n"
        write_if_changed(self.build_dir / "build_info.h", header)

    def command(self, edge: Edge) -> str:
        paths = {"in": shlex.join(edge.sources), "out": shlex.quote(edge.target), "flags": " ".join(edge.flags)}
        return Template(self.rules()[edge.rule].replace("$out.d", "${out}.d")).substitute(paths)

    def run(self) -> bool:
        """Compile and link; what failed is on standard error."""
        ninja, jobs = find_ninja(), max_jobs()
        if ninja:
            command = [ninja, "-C", str(self.build_dir), *(["-j", str(jobs)] if jobs else [])]
            return subprocess.run(command, check=False).returncode == 0
        print("ninja was not found, so every file is compiled again", file=sys.stderr)
        for edge in self.edges:
            (self.build_dir / edge.target).parent.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
            compiled = all(pool.map(self.run_edge, self.edges[:-1]))
        return compiled and self.run_edge(self.edges[-1])

    def run_edge(self, edge: Edge) -> bool:
        return subprocess.run(self.command(edge), shell=True, cwd=self.build_dir, check=False).returncode == 0


def ninja_path(path: str) -> str:
    return re.sub(r"([$ :])", r"$\1", path)


def find_ninja() -> str | None:
    """The program ninja: on PATH, or that of the package, whose scripts may not be on PATH."""
    found = shutil.which("ninja")
    if found is None and importlib.util.find_spec("ninja") is not None:
        import ninja

        found = shutil.which("ninja", path=ninja.BIN_DIR)
    return found


def write_if_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
