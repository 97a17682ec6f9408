# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import emulated
import numpy as np
import pytest
import torch
from every_backend import EveryBackend
from stand_ins import ThroughDevice

import mirage_kernels as mk
from mirage_kernels import _library
from mirage_kernels.backend import INTERPRETED, devices
from mirage_kernels.version import torch_release

# What torch 2.4 and 2.5 say of their own calls, in unpickling a tensor and in checkpoints.
OWN_WARNINGS = ("You are using `torch.load` with `weights_only=False`", "`torch.cpu.amp.autocast")

HERE = Path(__file__).resolve().parent
CSRC = HERE.parents[1] / "csrc"


def pytest_configure(config: pytest.Config) -> None:
    if torch_release(torch.__version__) < (2, 6):
        for message in OWN_WARNINGS:
            config.addinivalue_line("filterwarnings", f"ignore:{message}:FutureWarning")
    if INTERPRETED:
        from interpreter import prepare_the_language_once_per_launch

        prepare_the_language_once_per_launch()


@pytest.fixture
def native() -> None:
    """Skip where there are no native kernels to compare."""
    reason = mk.backends()["cpp"]
    if reason is not None:
        pytest.skip(f"backend cpp: {reason}")


@pytest.fixture(params=[_library.NATIVE, _library.REFERENCE])
def namespace(request: pytest.FixtureRequest) -> str:
    """The library of operations."""
    if request.param == _library.NATIVE and mk.backends()["cpp"] is not None:
        pytest.skip(f"backend cpp: {mk.backends()['cpp']}")
    return str(request.param)


@pytest.fixture(params=[name for name in mk.backends() if "cpu" in devices(name)])
def backend(request: pytest.FixtureRequest) -> str:
    """The name of each available backend of the CPU."""
    reason = mk.backends()[request.param]
    if reason is not None:
        pytest.skip(f"backend {request.param}: {reason}")
    return str(request.param)


@pytest.fixture(scope="session")
def cuda_code(pytestconfig: pytest.Config) -> emulated.Emulated | None:
    """The CUDA code on a CPU; None where it cannot be built, or MIRAGE_TEST_EMULATION=0 disables it."""
    if emulated.compiler() is None or not CSRC.is_dir() or os.environ.get("MIRAGE_TEST_EMULATION") == "0":
        return None
    assert pytestconfig.cache is not None
    return emulated.Emulated(pytestconfig.cache.mkdir("emulated"))


@pytest.fixture(scope="session")
def gpu_backends() -> list[ThroughDevice]:
    """The backends of the GPU, if there is one."""
    if not torch.cuda.is_available():
        return []
    names = [name for name, reason in mk.backends().items() if reason is None and "cuda" in devices(name)]
    return [ThroughDevice(name, "cuda") for name in names if name != "reference"]


@pytest.fixture(scope="session", autouse=True)
def numpy_overflows_like_a_gpu() -> Iterator[None]:
    """Disable NumPy's warnings: Triton's interpreter computes with NumPy, and a GPU does not warn."""
    with np.errstate(all="ignore"):
        yield


@pytest.fixture
def every_backend(cuda_code: emulated.Emulated | None, gpu_backends: list[ThroughDevice]) -> EveryBackend:
    """Run a function on every backend: the native kernels with every instruction set on 1 and 2 threads, the CUDA code
    on a CPU, Triton's interpreter if TRITON_INTERPRET is set, and every backend of a GPU if there is one. Yields the
    name of the backend and the result."""

    def run(function: Callable[[], Any]) -> Iterator[tuple[str, Any]]:
        sets = mk.instruction_sets()
        try:
            with mk.use_backend("cpp"):
                for name in sets:
                    mk.use_instruction_set(name)
                    for threads in (1, 2):
                        torch.set_num_threads(threads)
                        yield f"{name} on {threads} threads", function()
        finally:
            mk.use_instruction_set(sets[-1])
        if cuda_code is not None:
            with cuda_code.use():
                emulated_result = function()
            yield "CUDA on a CPU", emulated_result
        if INTERPRETED:
            with mk.use_backend("triton"):
                interpreted_result = function()
            yield "triton in its interpreter", interpreted_result
        for gpu in gpu_backends:
            with gpu.use():
                result = function()
            yield f"{gpu.name} on a GPU", result

    return run


def _compile(library: Path, compiler: str, source: Path, pybind11: str) -> None:
    """Compile the test module."""
    include = [f"-I{path}" for path in (CSRC, pybind11, sysconfig.get_path("include"))]
    flags = ["-std=c++20", "-O1", "-ffp-contract=off", "-fvisibility=hidden", "-fPIC", "-shared"]
    if os.uname().sysname == "Darwin":
        flags += ["-undefined", "dynamic_lookup"]
    partial = library.with_suffix(f".{os.getpid()}")
    subprocess.run([compiler, *flags, *include, str(source), "-o", str(partial)], check=True)
    partial.rename(library)


@pytest.fixture(scope="session")
def c(pytestconfig: pytest.Config) -> ModuleType:
    """The compiled test module; it is compiled once per state of the sources."""
    pybind11 = pytest.importorskip("pybind11")
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if not compiler or not CSRC.is_dir():
        pytest.skip("needs a C++ compiler and the sources")
    sources = [HERE / "common_module.cpp", *sorted(CSRC.glob("**/*.h"))]
    state = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    cache = pytestconfig.cache
    assert cache is not None
    library = cache.mkdir("common_module") / f"{state}{sysconfig.get_config_var('EXT_SUFFIX')}"
    with emulated.alone(library.parent):
        if not library.exists():
            _compile(library, compiler, sources[0], pybind11.get_include())
    spec = importlib.util.spec_from_file_location("common_module", library)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
