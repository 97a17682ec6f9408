# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The native kernels built with a sanitizer, and the environment of a Python that loads them."""

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
LIBRARIES = {"address": ("libasan.so", "libubsan.so"), "thread": ("libtsan.so",)}
# Python and torch keep memory until the end, which is no leak of ours. What is too large is an exception, as it is
# without a sanitizer.
ASAN = "detect_leaks=0:halt_on_error=1:allocator_may_return_null=1:max_allocation_size_mb=512:hard_rss_limit_mb=6000"
# Only the kernels are compiled with ThreadSanitizer: what others do is seen where they call the system, and not blamed.
TSAN = "halt_on_error=1:exitcode=66:ignore_noninstrumented_modules=1:history_size=4"


class Build:
    """A build with one sanitizer, in build/sanitize/<name>."""

    def __init__(self, name: str) -> None:
        self.name, self.folder = name, ROOT / "build" / "sanitize" / name
        self.cxx = shlex.split(os.environ.get("CXX", "g++"))
        self.openmp, self.failing = self.folder / "libopenmp_threads.so", self.folder / "libfailing.so"

    def make(self) -> None:
        """Copy the sources and build them."""
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
            flags = ["-shared", "-fPIC", "-O1", "-g", "-pthread", "-fsanitize=thread"]
            subprocess.run(["gcc", *flags, str(HERE / "openmp_threads.c"), "-o", str(self.openmp)], check=True)
        source = HERE / "failing_allocations.cpp"
        flags = ["-std=c++20", "-shared", "-fPIC", "-O1", "-g"]
        subprocess.run([*self.cxx, *flags, str(source), "-o", str(self.failing)], check=True)

    def environment(self, report: Path, *, shim: bool) -> dict[str, str]:
        """Variables of a Python that loads the sanitized module: the sanitizer has to be loaded before everything.

        Args:
            report: the name of the files of reports, without the number of the process.
            shim: whether allocations can fail. They then go through failing_allocations.cpp, because operator new of
                AddressSanitizer ends the process where it should throw.
        """
        order = int(not shim)  # the shim takes the place of some of the allocation functions
        libraries = [self._library(name) for name in (*LIBRARIES[self.name], "libstdc++.so")]
        if shim:
            libraries.insert(0, str(self.failing))
        if self.name == "thread":
            libraries.append(str(self.openmp))
        return {
            "LD_PRELOAD": " ".join(libraries),
            "ASAN_OPTIONS": f"{ASAN}:log_path={report}:verify_asan_link_order={order}:alloc_dealloc_mismatch={order}",
            "UBSAN_OPTIONS": f"print_stacktrace=1:halt_on_error=1:log_path={report}",
            "TSAN_OPTIONS": f"{TSAN}:log_path={report}:suppressions={HERE / 'suppressions.txt'}",
            "PYTHONMALLOC": "malloc",
            "PYTHONPATH": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "MIRAGE_TEST_EMULATION": "0",
        }

    def _library(self, name: str) -> str:
        found = subprocess.run([*self.cxx, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        return found.stdout.strip()
