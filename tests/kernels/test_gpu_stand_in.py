# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Runs ``test_gpu.py`` and ``test_gpu_recordings.py`` without a GPU, on the stand-in, which finds errors in the tests
and in the Python code that launches kernels."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import mirage_kernels as mk
from mirage_kernels import _gpu

HERE = Path(__file__).resolve().parent


@pytest.fixture(autouse=True)
def compiler() -> None:
    if shutil.which("g++") is None and shutil.which("c++") is None:
        pytest.skip("needs a C++ compiler")


def run_on_the_stand_in(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    plugin = ("-m", "pytest", "-q", "-p", "gpu_stand_in", "-p", "no:cacheprovider", "-p", "no:xdist")
    return subprocess.run(
        [sys.executable, *plugin, *arguments],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def assert_passed(run: subprocess.CompletedProcess[str]) -> None:
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert " passed" in run.stdout
    assert "skipped" not in run.stdout


@pytest.mark.usefixtures("native")
def test_gpu_tests_pass_on_the_stand_in() -> None:
    files = [str(HERE / name) for name in ("test_gpu.py", "test_gpu_recordings.py")]
    assert_passed(run_on_the_stand_in(*files, "-k", "not real_recording"))


@pytest.mark.long
def test_triton_launches_never_wait_for_the_device() -> None:
    if "not installed" in str(mk.backends()["triton"]) or _gpu.triton_too_old():
        pytest.skip("needs triton, and no older one than the kernels do")
    chosen = "triton and (wait or once or offsets)"
    assert_passed(run_on_the_stand_in(str(HERE / "test_gpu.py"), "-k", chosen, TRITON_INTERPRET="1"))


WRONG = """
import pytest, torch
from mirage_kernels import splat, use_backend
from mirage_kernels.testing import splat_case, to_device

@pytest.fixture
def case():
    return to_device(splat_case(0), "cuda")

def test_a_backend_of_a_gpu_takes_no_tensors_of_the_cpu(case):
    with use_backend("cuda"), pytest.raises(RuntimeError, match="'cuda' was selected and runs on cuda, not on cpu"):
        to_device(case, "cpu").run(splat)

def test_operands_on_two_devices(case):
    with pytest.raises(RuntimeError, match="same device"):
        case.xyz + torch.ones(len(case.xyz), 3)
    with pytest.raises(ValueError, match="features: expected a tensor on cuda:0 like xyz, got cpu"):
        splat(case.xyz, case.features.cpu(), case.cameras)

@pytest.mark.parametrize("wait", [
    lambda x: x.sum().item(),
    lambda x: x.cpu(),
    lambda x: torch.tensor([1.0], device="cuda"),
    lambda x: x[x > 0],
    lambda x: x.nonzero(),
    lambda x: x.copy_(torch.zeros(x.shape)),
    lambda x: bool((x > 0).all()),
])
def test_waiting_is_detected(case, wait):
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises(RuntimeError, match="called a synchronizing CUDA operation"):
            wait(case.xyz)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    with pytest.raises(RuntimeError, match="called a synchronizing CUDA operation"):
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            wait(case.xyz)
"""


def test_the_stand_in_refuses_what_a_gpu_refuses(tmp_path: Path) -> None:
    (tmp_path / "test_wrong.py").write_text(WRONG)
    assert_passed(run_on_the_stand_in(str(tmp_path / "test_wrong.py"), "-W", "ignore:Synchronization debug mode"))
