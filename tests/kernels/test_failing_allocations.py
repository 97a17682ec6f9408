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
SOURCE = HERE.parents[1] / ".ci" / "sanitize" / "failing_allocations.cpp"


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(
    ("names", "at_least"),
    [
        (("unproject nearest", "insert touched", "evict", "cameras"), 50),
        pytest.param((), 4000, marks=pytest.mark.long),
    ],
    ids=["some", "all"],
)
def test_an_allocation_that_fails_is_an_error_and_changes_nothing(
    tmp_path: Path, names: tuple[str, ...], at_least: int
) -> None:
    compiler = emulated.compiler()
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    library = tmp_path / "libfailing.so"
    subprocess.run([compiler, "-std=c++20", "-shared", "-fPIC", "-O1", str(SOURCE), "-o", str(library)], check=True)
    command = [sys.executable, str(HERE / "failing_allocations.py"), *names]
    environment = os.environ | {"LD_PRELOAD": str(library)}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert int(run.stdout.split()[-5]) > at_least, run.stdout
