# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the front ends of the compilers over the sources, against the headers of a torch that is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CSRC = ROOT / "csrc"
# `make env` and `make test-long` put the headers there.
FETCHED = Path(sys.prefix, "torch-headers")
DEFINES = ["-DPy_LIMITED_API=0x030a0000", "-DTORCH_TARGET_VERSION=0x020a000000000000"]


def versions(installed: str = "wheel") -> list[str]:
    """The torches that are supported by the wheel, or by a build of the sources beside them, the oldest first."""
    lines = Path(ROOT, ".ci", "torches.txt").read_text().splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    return [torch for torch, _, how in words if how == installed]


def includes(version: str) -> list[str]:
    """The include options for one torch. In the environment that the Makefile makes, its headers must be there."""
    headers = FETCHED / version / "torch" / "include"
    if not headers.is_dir():
        missing = f"the headers of torch {version} are not in {FETCHED}; make env and make test-long fetch them"
        assert not Path(sys.prefix, ".ready").exists(), missing
        pytest.skip(missing)
    folders = [headers, headers / "torch" / "csrc" / "api" / "include", Path(sysconfig.get_path("include"))]
    own = [CSRC] if version in versions() else [CSRC / "classic", CSRC]
    return [*(f"-I{folder}" for folder in own), *(option for folder in folders for option in ("-isystem", str(folder)))]


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def check_cpp(source: Path, version: str, scratch: Path) -> None:
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        pytest.skip("needs a C++ compiler")
    (scratch / "build_info.h").write_text('#define MIRAGE_MODULE _C\n#define MIRAGE_BUILD_INFO "{}"\n')
    run([compiler, "-fsyntax-only", "-std=c++20", *DEFINES, *includes(version), f"-I{scratch}", str(source)])


def check_cuda(source: Path, version: str, scratch: Path) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("needs nvcc")
    options = ["-cuda", "-std=c++20", "-arch=sm_90", "-DUSE_CUDA", *DEFINES, *includes(version)]
    run([nvcc, *options, str(source), "-o", str(scratch / "front_end.ii")])
