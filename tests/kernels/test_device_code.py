# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[1] / "csrc"


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100"])
def test_shared_headers_compile_for_the_device(tmp_path: Path, arch: str) -> None:
    nvcc = shutil.which("nvcc")
    if nvcc is None or not CSRC.is_dir():
        pytest.skip("needs nvcc and the sources")
    command = [nvcc, "-std=c++20", "-fmad=false", "-Werror=all-warnings", f"-arch={arch}", "-cubin", f"-I{CSRC}"]
    subprocess.run([*command, str(HERE / "device_code.cu"), "-o", str(tmp_path / "device_code.cubin")], check=True)
