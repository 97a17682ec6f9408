# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

import mirage_kernels as mk
from mirage_kernels import backend, testing


def test_every_backend_is_listed_with_its_reason() -> None:
    assert list(mk.backends()) == ["cuda", "triton", "cpp", "reference"]
    assert mk.backends()["reference"] is None


@pytest.mark.usefixtures("native")
def test_the_fastest_backend_is_the_default() -> None:
    assert mk.current_backend() == "cpp"
    assert mk.build_info()["instruction_sets"][: len(mk.instruction_sets())] == mk.instruction_sets()
    assert mk.build_info()["version"] == mk.__version__


def test_use_backend_as_a_block_and_as_a_call() -> None:
    default = mk.current_backend()
    with mk.use_backend("reference"):
        assert mk.current_backend() == "reference"
        assert mk.current_backend("cuda") == "reference"
    assert mk.current_backend() == default
    mk.use_backend("reference")
    assert mk.current_backend() == "reference"
    mk.use_backend(None)
    assert mk.current_backend() == default


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="backend: expected 'cuda', 'triton', 'cpp' or 'reference', got 'fast'"):
        mk.use_backend("fast")
    with pytest.raises(ValueError, match="instruction set: expected"):
        mk.use_instruction_set("sse9")


def test_a_backend_asked_for_by_name_never_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backend._missing, "cpp", "no compiler was there")
    with pytest.raises(
        RuntimeError, match=r"'cpp' is not available \(.*; cpp: no compiler was there; reference: ready\)"
    ):
        mk.use_backend("cpp")


def test_the_default_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is listed for GPUs needs none to be there: a tensor on one is proof enough."""
    monkeypatch.setattr(backend, "_missing", {})
    mk.use_backend(None)
    assert [mk.current_backend(device) for device in ("cuda", "cpu", "meta")] == ["cuda", "cpp", "reference"]
    monkeypatch.setattr(backend, "_missing", {"cuda": "no CUDA kernels", "cpp": "no compiler"})
    mk.use_backend(None)
    assert [mk.current_backend(device) for device in ("cuda", "cpu", "meta")] == ["triton", "reference", "reference"]
    monkeypatch.undo()
    mk.use_backend(None)


def test_the_reasons_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available() or backend.INTERPRETED:
        pytest.skip("there is a GPU, or an interpreter for it")
    monkeypatch.setattr(backend, "_missing", {})
    assert "this torch is built for CPUs only" in str(mk.backends()["triton"]) or torch.version.cuda
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert "torch finds no GPU; look at its driver" in str(mk.backends()["cuda"])
    with pytest.raises(RuntimeError, match=r"'triton' is not available \(cuda: torch finds no GPU.*; cpp: ready"):
        mk.use_backend("triton")
    monkeypatch.setattr(torch.version, "hip", "6.4")
    backend._find_gpu_backends()
    assert "the triton backend serves them" in str(mk.backends()["cuda"])


@pytest.mark.usefixtures("native")
def test_a_backend_on_the_wrong_device() -> None:
    with mk.use_backend("cpp"):
        message = "backend: 'cpp' was asked for and runs on cpu, not on meta"
        with pytest.raises(RuntimeError, match=message):
            mk.current_backend("meta")
        with pytest.raises(RuntimeError, match=message):
            mk.splat(
                torch.zeros(1, 3, device="meta"),
                torch.zeros(1, 3, device="meta"),
                testing.plain_cameras(1, (2, 2)).to("meta"),
            )


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=False
    )


def test_the_environment_chooses_a_backend() -> None:
    code = "import mirage_kernels as mk; print(mk.current_backend())"
    assert run_python(code, MIRAGE_KERNELS_BACKEND="reference").stdout.strip() == "reference"
    assert (
        "backend: expected 'cuda', 'triton', 'cpp' or 'reference', got 'fast'"
        in run_python(code, MIRAGE_KERNELS_BACKEND="fast").stderr
    )


def test_without_native_kernels_the_package_imports_and_says_so() -> None:
    code = """
import sys
sys.modules["mirage_kernels._C"] = None  # as where it was not built
import torch, mirage_kernels as mk
from mirage_kernels import testing
print(mk.current_backend(), mk.backends()["cpp"], mk.instruction_sets(), mk.build_info())
print(testing.splat_case(0).run(mk.splat).mask.any().item())
"""
    result = run_python(code)
    assert result.stdout.startswith("reference mirage_kernels was installed without its native kernels"), result.stderr
    assert result.stdout.endswith("[] {}\nTrue\n")


def test_importing_does_not_import_triton() -> None:
    code = "import sys, mirage_kernels as mk; mk.backends(); print('triton' in sys.modules)"
    assert run_python(code).stdout.strip() == "False"


def test_importing_needs_only_torch_and_safetensors() -> None:
    code = """
import sys
for name in ("numpy", "PIL", "triton", "diffusers", "scipy"):
    sys.modules.setdefault(name, None)
import mirage_kernels
"""
    result = run_python(code)
    assert result.returncode == 0, result.stderr
