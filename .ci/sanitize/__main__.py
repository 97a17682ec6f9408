# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Run the kernels' tests on native code that is built with sanitizers: ``python .ci/sanitize [address] [thread]``.

``address`` is AddressSanitizer with UndefinedBehaviorSanitizer, ``thread`` ThreadSanitizer. Each is built from a copy
of the sources in build/sanitize, together with faults on purpose (planted.cpp), each of which it has to report. The
tests run with few random examples; MIRAGE_EXAMPLES sets another number.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SOURCES = ("csrc", "mirage", "mirage_kernels", "tests", "setup.py", "pyproject.toml", "README.md", "LICENSE")
TESTS = ("splat", "splat_bilinear", "unproject", "overlap", "cameras", "voxel_cache", "voxel_cache_budget",
         "voxel_cache_errors", "voxel_cache_files", "errors", "library", "ordered_sums")  # fmt: skip
EXAMPLES = "20"
RUN_PLANTED = """
import ctypes, sys, torch, mirage_kernels
torch.set_num_threads(2)
name, kind, value = sys.argv[1:]
getattr(ctypes.CDLL(mirage_kernels._C.__file__), name)(getattr(ctypes, kind)(eval(value)))
"""
# What each sanitizer has to say of the faults on purpose.
PLANTED = {
    "address": {
        ("planted_heap_overflow", "c_int", "8"): "heap-buffer-overflow",
        ("planted_signed_overflow", "c_int", "2**31 - 1"): "signed integer overflow",
        ("planted_float_cast", "c_float", "1e20"): "is outside the range of representable values",
    },
    "thread": {("planted_race", "c_int64", "100000"): "data race"},
}
LIBRARIES = {"address": ("libasan.so", "libubsan.so"), "thread": ("libtsan.so",)}


class Sanitized:
    """A build with one sanitizer."""

    def __init__(self, name: str) -> None:
        self.name, self.folder = name, ROOT / "build" / "sanitize" / name
        self.cxx = shlex.split(os.environ.get("CXX", "g++"))

    def build(self) -> None:
        ignored = shutil.ignore_patterns("*.so", "__pycache__")
        for name in SOURCES:
            if (ROOT / name).is_dir():  # with the times of the files, so that ninja knows what has changed
                shutil.copytree(ROOT / name, self.folder / name, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy2(ROOT / name, self.folder / name)
        shutil.copy2(HERE / "planted.cpp", self.folder / "csrc" / "planted.cpp")
        environment = os.environ | {"MIRAGE_SANITIZE": self.name, "MIRAGE_CUDA": "0", "MIRAGE_CPP": "1"}
        command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
        subprocess.run(command, cwd=self.folder, env=environment, check=True)
        if self.name == "thread":
            shim = ["gcc", "-shared", "-fPIC", "-O1", "-g", "-pthread", "-fsanitize=thread"]
            source, target = HERE / "openmp_threads.c", self.folder / "libopenmp_threads.so"
            subprocess.run([*shim, str(source), "-o", str(target)], check=True)

    def environment(self) -> dict[str, str]:
        """Variables of a Python that loads the sanitized module: the sanitizer has to be loaded before everything."""
        libraries = [self._library(name) for name in (*LIBRARIES[self.name], "libstdc++.so")]
        if self.name == "thread":
            libraries.append(str(self.folder / "libopenmp_threads.so"))
        return {
            "LD_PRELOAD": " ".join(libraries),
            # Python and torch keep memory until the end, which is no leak of ours. A failed allocation is an exception.
            "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1:allocator_may_return_null=1:max_allocation_size_mb=3000",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
            "TSAN_OPTIONS": f"halt_on_error=1:exitcode=66:suppressions={HERE / 'suppressions.txt'}",
            "PYTHONMALLOC": "malloc",
            "PYTHONPATH": str(self.folder),
            "MIRAGE_TEST_EMULATION": "0",
            "MIRAGE_EXAMPLES": os.environ.get("MIRAGE_EXAMPLES", EXAMPLES),
        }

    def _library(self, name: str) -> str:
        found = subprocess.run([*self.cxx, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        return found.stdout.strip()

    def run(self, *command: str, output: bool = False) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command],
            cwd=self.folder,
            env=os.environ | self.environment(),
            capture_output=output,
            text=True,
            check=False,
        )

    def finds_planted(self) -> bool:
        """Whether every fault on purpose ends the program with the report that is expected."""
        right = True
        for (fault, kind, value), expected in PLANTED[self.name].items():
            result = self.run("-c", RUN_PLANTED, fault, kind, value, output=True)
            found = result.returncode != 0 and expected in result.stderr
            print(f"sanitize {self.name}: {fault}: {expected if found else 'NOT FOUND'}", flush=True)
            if not found:
                print(result.stderr[-4000:], flush=True)
            right = right and found
        return right

    def test(self) -> bool:
        """Run the tests; a report ends the process, which fails the test that it ran."""
        paths = [f"tests/kernels/test_{name}.py" for name in TESTS]
        options = ["-q", "-p", "no:cacheprovider", "--numprocesses", "auto", "--dist", "worksteal"]
        return self.run("-m", "pytest", *options, *paths).returncode == 0


def main(asked: list[str]) -> None:
    if unknown := set(asked) - set(PLANTED):
        sys.exit(f"expected {' or '.join(PLANTED)}, got {', '.join(sorted(unknown))}")
    states = {}
    for name in asked or PLANTED:
        sanitized = Sanitized(name)
        sanitized.build()
        states[name] = sanitized.finds_planted() and sanitized.test()
    for name, right in states.items():
        print(f"sanitize {name}: {'nothing found' if right else 'FAILED'}")
    sys.exit(not all(states.values()))


if __name__ == "__main__":
    main(sys.argv[1:])
