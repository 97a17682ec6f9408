# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The sources compile against the oldest supported torch and the newest, whatever torch is installed.

The binary is built for torch 2.10, but the headers of a newer torch also declare what 2.10 has not. Beside an older
torch the sources are compiled against its C++ API instead.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from front_ends import CSRC, check_cpp, check_cuda, versions

OLDEST, NEWEST = versions()[0], versions()[-1]
OLDER = versions("sources")[0]
CPP = [path for path in sorted(CSRC.glob("**/*.cpp")) if not path.stem.endswith("_isa")]  # _isa: without torch
CUDA = sorted(CSRC.glob("**/*.cu"))


def name(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("source", CPP, ids=name)
def test_cpp_compiles_with_the_oldest_torch(source: Path, tmp_path: Path) -> None:
    check_cpp(source, OLDEST, tmp_path)


def test_cpp_compiles_with_the_api_of_older_torches(tmp_path: Path) -> None:
    """One file that uses all of it: csrc/classic/torch/api.h is all that differs."""
    check_cpp(CSRC / "splat" / "splat_bilinear_cpu.cpp", OLDER, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("source", CPP, ids=name)
def test_every_file_compiles_with_the_api_of_older_torches(source: Path, tmp_path: Path) -> None:
    check_cpp(source, OLDER, tmp_path)


def test_what_cuda_asks_of_torch_is_in_the_oldest_torch(tmp_path: Path) -> None:
    """Every header between the .cu files and torch, in one file: it takes as long as one of them."""
    headers = [path.relative_to(CSRC) for path in sorted(CSRC.glob("torch/*.h"))]
    source = tmp_path / "headers.cu"
    source.write_text("".join(f'#include "{header}"\n' for header in headers))
    check_cuda(source, OLDEST, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("source", CPP, ids=name)
def test_cpp_compiles_with_the_newest_torch(source: Path, tmp_path: Path) -> None:
    check_cpp(source, NEWEST, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("version", [OLDER, OLDEST, NEWEST])
@pytest.mark.parametrize("source", CUDA, ids=name)
def test_cuda_compiles(source: Path, version: str, tmp_path: Path) -> None:
    check_cuda(source, version, tmp_path)
