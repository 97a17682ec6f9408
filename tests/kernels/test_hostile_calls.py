# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever arguments a native operation gets, the process goes on; see hostile_calls.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


def run_calls(seed: int, calls: int) -> None:
    command = [sys.executable, str(HERE / "hostile_calls.py"), str(seed), str(calls), "512"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.startswith(f"{calls} calls: ")


@pytest.mark.usefixtures("native")
def test_wrong_arguments_are_errors() -> None:
    run_calls(0, 400)


@pytest.mark.long
@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("seed", range(1, 5))
def test_many_wrong_arguments_are_errors(seed: int) -> None:
    run_calls(seed, 10_000)
