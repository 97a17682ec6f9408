# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import os
import site
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import mirage_kernels as mk
from mirage_kernels import _native_module, backend, self_test, testing


def test_backends_lists_all_backends() -> None:
    assert list(mk.backends()) == ["cuda", "triton", "cpp", "reference"]
    assert mk.backends()["reference"] is None


@pytest.mark.usefixtures("native")
def test_the_fastest_backend_is_the_default() -> None:
    assert mk.current_backend() == "cpp"
    assert mk.build_info()["instruction_sets"][: len(mk.instruction_sets())] == mk.instruction_sets()
    assert mk.build_info()["version"] == mk.__version__


def test_use_backend_as_context_manager_and_as_function() -> None:
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


def test_selected_backend_never_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backend._missing, "cpp", "no compiler found")
    with pytest.raises(RuntimeError, match=r"'cpp' is not available \(.*; cpp: no compiler found; reference: ready\)"):
        mk.use_backend("cpp")


def test_the_default_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default for GPUs does not depend on whether this machine has one."""
    monkeypatch.setattr(backend, "_missing", {})
    mk.use_backend(None)
    assert [mk.current_backend(device) for device in ("cuda", "cpu", "meta")] == ["cuda", "cpp", "reference"]
    monkeypatch.setattr(backend, "_missing", {"cuda": "no CUDA kernels", "cpp": "no compiler"})
    mk.use_backend(None)
    assert [mk.current_backend(device) for device in ("cuda", "cpu", "meta")] == ["triton", "reference", "reference"]
    monkeypatch.undo()
    mk.use_backend(None)


def test_reasons_name_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available() or backend.INTERPRETED:
        pytest.skip("there is a GPU, or an interpreter for it")
    monkeypatch.setattr(backend, "_missing", {})
    assert "this torch is built for CPUs only" in str(mk.backends()["triton"]) or torch.version.cuda
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    assert "torch finds no GPU; check its driver" in str(mk.backends()["cuda"])
    with pytest.raises(RuntimeError, match=r"'triton' is not available \(cuda: torch finds no GPU.*; cpp: ready"):
        mk.use_backend("triton")
    monkeypatch.setattr(torch.version, "hip", "6.4")
    backend._find_gpu_backends()
    assert "use the triton backend" in str(mk.backends()["cuda"])


class Gpus:
    """Simulated GPUs by compute capability, and the architectures the package was built for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.capabilities: list[tuple[int, int]] = []
        self.arches, self.problem = ["80", "90", "100"], None
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(self.capabilities))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda i: self.capabilities[i])
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"GPU {i}")
        monkeypatch.setattr(backend, "build_info", lambda: {"cuda_arches": self.arches})
        monkeypatch.setattr(backend, "_native", types.SimpleNamespace(cuda_problem=lambda: self.problem))
        monkeypatch.setattr(backend, "INTERPRETED", False)
        self._patch = monkeypatch

    def chosen(self, *capabilities: tuple[int, int]) -> str:
        """Return the default backend after torch has initialized CUDA with these GPUs."""
        self.capabilities = list(capabilities)
        self._patch.setattr(backend, "_missing", {})
        backend._remove_unsupported()
        return mk.current_backend("cuda")


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpus]:
    yield Gpus(monkeypatch)
    monkeypatch.undo()
    mk.use_backend(None)


def test_default_depends_on_compute_capability(gpus: Gpus) -> None:
    """A T4 (7.5) runs no code for 8.0. Machine code runs within its major version, PTX on all later versions."""
    expected = {(7, 0): "reference", (7, 5): "triton", (8, 0): "cuda", (8, 9): "cuda", (9, 0): "cuda", (12, 0): "cuda"}
    assert {capability: gpus.chosen(capability) for capability in expected} == expected
    assert mk.current_backend("cpu") in ("cpp", "reference")
    gpus.arches = ["86", "90"]
    expected = {(8, 0): "triton", (8, 9): "cuda", (10, 0): "cuda", (9, 0): "cuda"}
    assert {capability: gpus.chosen(capability) for capability in expected} == expected
    gpus.arches = ["80", "90", "100", "120"]
    expected = {(10, 3): "cuda", (11, 0): "cuda", (12, 1): "cuda", (13, 0): "cuda"}
    assert {capability: gpus.chosen(capability) for capability in expected} == expected, "PTX of 10.0 serves 11.0"
    gpus.arches = ["90", "100a"]
    assert gpus.chosen((8, 9)) == "triton"
    assert gpus.chosen((9, 0), (9, 0)) == "cuda"
    assert gpus.chosen((9, 0), (7, 5)) == "triton", "one table serves all GPUs"


def test_reason_names_an_unsupported_gpu(gpus: Gpus) -> None:
    assert gpus.chosen((9, 0), (7, 0)) == "reference"
    assert mk.backends()["cuda"] == (
        "cuda:1 (GPU 1) has compute capability 7.0, the CUDA kernels were built for 8.0, 9.0, 10.0 and newer; hide it "
        "with CUDA_VISIBLE_DEVICES"
    )
    assert "cuda:1 (GPU 1) has compute capability 7.0, Triton needs 7.5" in str(mk.backends()["triton"])
    with pytest.raises(RuntimeError, match=r"'cuda' is not available \(cuda: cuda:1 .* compute capability 7\.0"):
        mk.use_backend("cuda")


def test_reason_names_an_unsupported_driver(gpus: Gpus) -> None:
    gpus.problem = (
        "CUDA driver version is insufficient for CUDA runtime version (driver: CUDA 12.4, kernels: CUDA 13.0)"
    )
    assert gpus.chosen((9, 0)) == "triton"
    assert mk.backends()["cuda"] == (
        f"{gpus.problem}; update the driver, or reinstall mirage_kernels with an nvcc that the driver supports"
    )
    assert mk.backends()["triton"] is None


@pytest.mark.usefixtures("native")
def test_native_module_reports_cuda_errors() -> None:
    problem = backend._native.cuda_problem()  # type: ignore[union-attr]
    if torch.cuda.is_available() or not mk.build_info()["cuda_arches"]:
        assert problem is None
    else:
        assert "CUDA" in problem


def test_defaults_are_checked_when_torch_initializes_cuda() -> None:
    """The check runs before the first tensor is on a GPU, so compiled functions use the final table; not at import."""
    code = """
import sys, torch
from mirage_kernels import backend
assert not torch.cuda.is_initialized()
backend._missing.pop("cuda", None)
backend._missing.pop("triton", None)
backend.build_info = lambda: {"cuda_arches": ["80", "90"]}
backend._native = type("Native", (), {"cuda_problem": staticmethod(lambda: None)})
backend._fill_table()
before = backend.current_backend("cuda")
torch._C._cuda_init, torch._C._cuda_getDeviceCount, torch.cuda._cudart = lambda: None, lambda: 1, 1
torch.cuda.device_count, torch.cuda.get_device_capability = lambda: 1, lambda i=0: (7, 5)
torch.cuda.get_device_name = lambda i=0: "Tesla T4"
torch.cuda._queued_calls[:] = [call for call in torch.cuda._queued_calls if call[0].__module__.startswith("mirage")]
torch.cuda.init()
print(before, backend.current_backend("cuda"))
"""
    result = run_python(code, TRITON_INTERPRET="0")
    assert result.stdout.split() == ["cuda", "triton"], result.stderr


@pytest.mark.usefixtures("native")
def test_a_backend_on_the_wrong_device() -> None:
    with mk.use_backend("cpp"):
        message = "backend: 'cpp' was selected and runs on cpu, not on meta"
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


def test_environment_variable_selects_a_backend() -> None:
    code = "import mirage_kernels as mk; print(mk.current_backend())"
    assert run_python(code, MIRAGE_KERNELS_BACKEND="reference").stdout.strip() == "reference"
    assert (
        "backend: expected 'cuda', 'triton', 'cpp' or 'reference', got 'fast'"
        in run_python(code, MIRAGE_KERNELS_BACKEND="fast").stderr
    )


def test_import_without_native_kernels() -> None:
    code = """
import sys
sys.modules["mirage_kernels.NAME"] = None  # as where it was not built
import torch, mirage_kernels as mk
from mirage_kernels import testing
print(mk.current_backend(), mk.backends()["cpp"], mk.instruction_sets(), mk.build_info())
print(testing.splat_case(0).run(mk.splat).mask.any().item())
"""
    result = run_python(code.replace("NAME", _native_module.NAME), PYTHONWARNINGS="ignore::RuntimeWarning")
    # tests/kernels/test_installation.py holds the reasons for a source tree and for an installed package
    reasons = (
        "reference mirage_kernels was installed without its native",
        "reference you are importing the source tree",
        "reference built for torch ",  # where modules for other torches lie in the tree
    )
    assert result.stdout.startswith(reasons), result.stderr
    assert result.stdout.endswith("[] {}\nTrue\n")


@pytest.mark.parametrize("as_script", [True, False])
def test_subprocesses_import_the_package_without_installation(as_script: bool, tmp_path: Path) -> None:
    """Without ``site`` Python reads no .pth files, so an editable install is not found."""
    code = "import mirage_kernels as mk; print(mk.current_backend())"
    script = tmp_path / "program.py"
    script.write_text(code)
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), *site.getsitepackages()])
    program = [str(script)] if as_script else ["-c", code]
    result = subprocess.run(
        [sys.executable, "-S", *program],
        env=os.environ | {"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip() == mk.current_backend(), result.stderr


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


NANS = torch.tensor([0x7FC00000, -0x400000, 0x7F800001], dtype=torch.int32).view(torch.float32)


def test_same_sums_ignores_the_bits_of_nan() -> None:
    for other in NANS:
        assert testing.same_sums(NANS, other.expand(3))
    a = torch.tensor([0.0, 1.0, math.nan])
    assert not testing.same_sums(a, torch.tensor([-0.0, 1.0, math.nan]))
    assert not testing.same_sums(a, torch.tensor([0.0, math.nan, math.nan]))
    assert not testing.same_sums(a, a.double())
    assert testing.same_sums(a.long(), a.long())


@pytest.mark.usefixtures("native")
def test_self_test_ignores_the_bits_of_nan_in_sums_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def nan(_: str) -> torch.Tensor:
        return NANS[:1] if mk.current_backend() == "cpp" else NANS[1:2]

    operations = {"sum": lambda device: iter([self_test.Sum(nan(device))]), "copy": lambda device: iter([nan(device)])}
    monkeypatch.setattr(self_test, "OPERATIONS", operations)
    assert self_test.differs("cpp", "cpu", "sum") is None
    assert self_test.differs("cpp", "cpu", "copy") == "results [0] of 1 differ"
