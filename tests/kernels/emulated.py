# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The CUDA code on a CPU: every .cu file compiled as C++, with the threads of a block as fibers.

The kernels are the ones a GPU runs; the order of blocks and threads is shuffled, and shared memory and fresh tensors
hold rubbish, so that what needs a barrier or a cleared workspace shows. The operations lie in a library of their own,
``mirage_kernels_emulated``, with the schemas, fakes and gradients of the others.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from stand_ins import define_operations, stand_in
from torch.utils import cpp_extension

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CSRC = ROOT / "csrc"
HEADER = HERE / "emulation" / "cuda_emulation.h"  # stands in for the language, as nvcc has it without an include
REPLACEMENTS = HERE / "emulation" / "include"  # headers that take the place of csrc's and CUDA's own
NAMESPACE = "mirage_kernels_emulated"
FLAGS = [
    "-std=c++20",
    "-O1",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-U_FORTIFY_SOURCE",  # which takes a jump between fibers for a mistake
    "-Wall",
    "-Werror",
    "-Wno-unknown-pragmas",
    "-Wno-attributes",
]


def compiler() -> str | None:
    """GCC, whose sections and jumps the fibers rely on."""
    return next(filter(None, map(shutil.which, [os.environ.get("CXX", "g++"), "g++"])), None)


@contextlib.contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Tests run in several processes; one builds, the others wait for it."""
    with open(cache / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build(cache: Path, sources: list[Path], flags: list[str], libraries: list[str]) -> Path:
    """A shared library of sources as emulated CUDA, built once per state of the sources."""
    gxx = compiler()
    assert gxx is not None
    headers = [path for folder in (CSRC, HEADER.parent) for path in sorted(folder.glob("**/*.*h"))]
    parts = [*sources, *headers]
    text = b"".join(path.read_bytes() for path in parts) + repr((FLAGS, flags, libraries, torch.__version__)).encode()
    output = cache / f"{hashlib.sha256(text).hexdigest()[:16]}.so"
    if output.exists():
        return output
    command = [gxx, *FLAGS, "-include", str(HEADER), f"-I{REPLACEMENTS}", f"-I{CSRC}", *flags]
    objects = [output.with_suffix(f".{os.getpid()}.{source.stem}.o") for source in sources]
    runs = [
        subprocess.Popen([*command, "-x", "c++", "-c", str(source), "-o", str(target)])
        for source, target in zip(sources, objects, strict=True)
    ]
    failed = [source.name for source, run in zip(sources, runs, strict=True) if run.wait() != 0]
    assert not failed, f"did not compile as emulated CUDA: {failed}"
    partial = output.with_suffix(f".{os.getpid()}")
    subprocess.run([gxx, "-shared", *map(str, objects), *libraries, "-o", str(partial)], check=True)
    for target in objects:
        target.unlink()
    partial.rename(output)
    return output


class Operations(NamedTuple):
    """What was asked of the device. A sort of CUB's is several launches on a GPU."""

    launches: int
    fills: int
    sorts: int
    waits: int
    blocks: int = 0  # of all launches


class _Operations(ctypes.Structure):  # as in fibers.h
    _fields_ = [(name, ctypes.c_int64) for name in Operations._fields]


class Emulated:
    """The emulated library, built and loaded."""

    def __init__(self, cache: Path) -> None:
        includes = [f"-isystem{path}" for path in cpp_extension.include_paths()]
        sources = [*sorted(CSRC.glob("**/*.cu")), HEADER.parent / "operations.cpp"]
        libraries = [*(f"-L{path}" for path in cpp_extension.library_paths()), "-ltorch_cpu"]
        with alone(cache):
            built = build(cache, sources, [*includes, "-DTORCH_TARGET_VERSION=0x020a000000000000"], libraries)
        self._library = define_operations(NAMESPACE)
        torch.ops.load_library(str(built))
        self._tell = ctypes.CDLL(str(built)).emulated_operations
        self._tell.restype = ctypes.POINTER(_Operations)

    def operations(self) -> set[str]:
        """Those that have a kernel, overloads as name.overload."""
        names = torch._C._dispatch_get_registrations_for_dispatch_key("CPU")
        return {name.split("::")[1] for name in names if name.startswith(f"{NAMESPACE}::")}

    def count(self, function: Callable[[], Any]) -> Operations:
        """What a function asks of the device."""
        told = self._tell().contents
        before = [getattr(told, name) for name in Operations._fields]
        with self.use():
            function()
        return Operations(*(getattr(told, name) - old for name, old in zip(Operations._fields, before, strict=True)))

    @contextlib.contextmanager
    def use(self) -> Iterator[None]:
        """Every operation on a CPU runs the CUDA code."""
        deterministic = torch.are_deterministic_algorithms_enabled()
        with stand_in(NAMESPACE):
            torch.use_deterministic_algorithms(True)  # new tensors are filled, with NaN or the largest number
            try:
                yield
            finally:
                torch.use_deterministic_algorithms(deterministic)
