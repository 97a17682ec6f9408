# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Every allocation that fails is torch.OutOfMemoryError and changes nothing; see failing_allocations.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import emulated
import pytest

HERE = Path(__file__).resolve().parent


@pytest.mark.usefixtures("native")
def test_every_allocation_that_fails_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    compiler = emulated.compiler()
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    library = tmp_path / "libfailing.so"
    source = HERE / "failing_allocations.cpp"
    subprocess.run([compiler, "-std=c++20", "-shared", "-fPIC", "-O1", str(source), "-o", str(library)], check=True)
    command = [sys.executable, str(HERE / "failing_allocations.py")]
    environment = os.environ | {"LD_PRELOAD": str(library)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(run.stdout.split()[0]) > 1000
