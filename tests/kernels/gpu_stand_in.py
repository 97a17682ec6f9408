# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a GPU, as a pytest plugin (``-p gpu_stand_in``): tensors whose device is cuda:0, with values on the
CPU.

Tests for a GPU then run on machines without one, which finds errors in the tests themselves. The stand-in raises where
a GPU does (operands on two devices) and records where the host would wait for the device: copies between devices, reads
of a scalar, results whose size depends on values. The backend ``cuda`` runs the C++ kernels;
``triton`` runs its own Python code on such tensors and its kernels in the interpreter. A captured graph is a list of
operations to run again.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.utils import cpp_extension
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from mirage_kernels import _gpu as gpu_support
from mirage_kernels import _library, backend

HERE = Path(__file__).resolve().parent
GPU = torch.device("cuda", 0)
CPU = torch.device("cpu")

aten = torch.ops.aten
_SIZED_BY_VALUES = (aten.nonzero, aten.masked_select, aten._unique2, aten.unique_dim, aten.bincount)
_READS = (aten._local_scalar_dense, aten.equal, *_SIZED_BY_VALUES)
_INDEXED = (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_)
_COPIES = (aten.copy_, aten._to_copy)
# Native operations that wait for the device once, and which of their results lies on the host.
_COUNTS_ON_HOST = {"voxel_cache_insert": 1}


class GpuTensor(torch.Tensor):
    """A tensor on cuda:0 whose values are those of ``host``."""

    host: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, host: Tensor) -> GpuTensor:
        layout = {"strides": host.stride(), "storage_offset": host.storage_offset()}
        return torch.Tensor._make_wrapper_subclass(cls, host.shape, **layout, dtype=host.dtype, device=GPU)

    def __init__(self, host: Tensor) -> None:
        self.host = host

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} met a tensor of the stand-in outside of it")


def _to_host(value: Any) -> Any:
    if isinstance(value, GpuTensor):
        return value.host
    return CPU if isinstance(value, torch.device) else value


class Gpu(TorchDispatchMode):
    """Runs every operation on the CPU. Operations with a tensor on cuda:0, or that create one, return tensors there."""

    def __init__(self) -> None:
        super().__init__()
        self.sync_debug_mode = "default"
        self.recorded: list[Callable[[], None]] | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        here = any(isinstance(leaf, GpuTensor) for leaf in leaves)
        asked = kwargs.get("device")
        there = here if asked is None else asked.type == "cuda"
        if not here and not there:
            return func(*args, **kwargs)
        if _on_two_devices(func, leaves):
            raise RuntimeError(f"{func}: expected all tensors to be on the same device")
        if _waits(func, args, here, there):
            self._wait(str(func))
        result = self._run(func, args, kwargs, there)
        if self.recorded is not None:
            self._record(func, args, kwargs, there, result)
        return result

    def _run(self, func: Any, args: Any, kwargs: Any, there: bool) -> Any:
        if func.namespace == _library.TRITON:
            name = func._schema.name.split("::")[1]
            with self:
                return _triton_function(name)(*args, **kwargs)
        result = func(*tree_map(_to_host, args), **tree_map(_to_host, kwargs))
        alias = func._schema.returns[0].alias_info if func._schema.returns else None
        if alias is not None and alias.is_write:
            return args[0]
        on_host = _COUNTS_ON_HOST.get(func._schema.name.split("::")[1])
        if isinstance(result, (tuple, list)):
            return type(result)(x if i == on_host or not there else _to_gpu(x) for i, x in enumerate(result))
        return _to_gpu(result) if there else result

    def _wait(self, what: str) -> None:
        if self.sync_debug_mode == "error" or self.recorded is not None:
            raise RuntimeError(f"called a synchronizing CUDA operation: {what}")
        if self.sync_debug_mode == "warn":
            warnings.warn(f"called a synchronizing CUDA operation: {what}", stacklevel=2)

    def set_sync_debug_mode(self, mode: str) -> None:
        self.sync_debug_mode = mode
        warnings.warn(
            "Synchronization debug mode is a prototype feature and does not yet detect all synchronizing operations",
            stacklevel=2,
        )

    def _record(self, func: Any, args: Any, kwargs: Any, there: bool, result: Any) -> None:
        """Record a call, so that replaying it writes into the tensors that it has created now."""
        assert self.recorded is not None
        alias = func._schema.returns[0].alias_info if func._schema.returns else None
        made = [] if alias is not None else [x for x in tree_leaves(result) if isinstance(x, GpuTensor)]

        def again() -> None:
            new = [x for x in tree_leaves(self._run(func, args, kwargs, there)) if isinstance(x, GpuTensor)]
            for old, now in zip(made, new, strict=bool(made)):
                old.host.copy_(now.host)

        self.recorded.append(again)


def _to_gpu(value: Any) -> Any:
    return GpuTensor(value) if isinstance(value, Tensor) else value


def _on_two_devices(func: Any, leaves: list[Any]) -> bool:
    """Return whether the operands are on both devices; scalars on the CPU are allowed."""
    if func.overloadpacket in (*_COPIES, *_INDEXED):
        return False
    kinds = {isinstance(leaf, GpuTensor) for leaf in leaves if isinstance(leaf, Tensor) and leaf.dim() > 0}
    return len(kinds) == 2


def _waits(func: Any, args: Any, here: bool, there: bool) -> bool:
    packet = func.overloadpacket
    if packet is aten.copy_:
        return isinstance(args[0], GpuTensor) != isinstance(args[1], GpuTensor)
    if packet in _INDEXED:
        places = [place for place in args[1] if place is not None]
        return any(not isinstance(place, GpuTensor) or place.dtype == torch.bool for place in places)
    native = func.namespace == _library.NATIVE and func._schema.name.split("::")[1] in _COUNTS_ON_HOST
    return native or packet in _READS or (packet is aten._to_copy and here != there)


def _triton_function(name: str) -> Callable[..., Any]:
    for path in sorted(Path(_library.__file__).parent.glob("ops/*/*_triton.py")):
        module = importlib.import_module(f"mirage_kernels.ops.{path.parent.name}.{path.stem}")
        if hasattr(module, name):
            return getattr(module, name)
    raise AssertionError(f"no Triton module has {name}")


def _launch(
    launch: Callable[..., None], kernel: Any, grid: tuple[int, ...], device: torch.device, *args: Any, **options: Any
) -> None:
    assert device == GPU
    with _disable_current_modes():
        launch(kernel, grid, CPU, *map(_to_host, args), **options)


class _Stream:
    """A stream on which all work is done immediately."""

    def wait_stream(self, other: _Stream) -> None:
        pass

    def synchronize(self) -> None:
        pass


class _Graph:
    def __init__(self) -> None:
        self.operations: list[Callable[[], None]] = []

    def replay(self) -> None:
        for run in self.operations:
            run()


@contextlib.contextmanager
def _capture(gpu: Gpu, graph: _Graph) -> Iterator[None]:
    gpu.recorded = graph.operations
    try:
        yield
    finally:
        gpu.recorded = None


def _load_device_guard() -> None:
    """Register a device guard for cuda:0: torch without CUDA has none, and that of torch with CUDA needs a driver."""
    compiler = shutil.which("g++") or shutil.which("c++")
    assert compiler is not None
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder, "device_guard.so")
        includes = [f"-isystem{path}" for path in cpp_extension.include_paths()]
        libraries = [*(f"-L{path}" for path in cpp_extension.library_paths()), "-lc10"]
        source = str(HERE / "gpu_stand_in.cpp")
        flags = ["-std=c++20", "-shared", "-fPIC", f"-D_GLIBCXX_USE_CXX11_ABI={torch._C._GLIBCXX_USE_CXX11_ABI:d}"]
        subprocess.run([compiler, *flags, *includes, source, *libraries, "-o", str(built)], check=True)
        ctypes.CDLL(str(built))


def _cuda_functions(gpu: Gpu) -> dict[str, Any]:
    """Return replacements of the functions of torch.cuda that the tests and the package call."""
    stream = _Stream()
    return {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_capability": lambda *_: (9, 0),
        "get_device_name": lambda *_: "stand-in",
        "mem_get_info": lambda *_: (1 << 40, 1 << 40),
        "synchronize": lambda *_: None,
        "set_sync_debug_mode": gpu.set_sync_debug_mode,
        "Stream": _Stream,
        "current_stream": lambda *_: stream,
        "stream": lambda _: contextlib.nullcontext(),
        "CUDAGraph": _Graph,
        "graph": lambda graph: _capture(gpu, graph),
    }


@contextlib.contextmanager
def stand_in_for_a_gpu() -> Iterator[Gpu]:
    """Simulate a GPU until the end of the block."""
    _load_device_guard()
    gpu = Gpu()
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.multiple(torch.cuda, **_cuda_functions(gpu)))
        missing = {name: why for name, why in backend._missing.items() if name != "cuda"}
        stack.enter_context(mock.patch.object(gpu_support, "cuda_unavailable_reason", return_value=None))
        if not backend.INTERPRETED:
            missing["triton"] = "the stand-in runs no compiled kernels"
        stack.enter_context(mock.patch.object(backend, "_missing", missing))
        if backend.INTERPRETED:
            from mirage_kernels import _triton_common

            stack.enter_context(mock.patch.object(_triton_common, "launch", partial(_launch, _triton_common.launch)))
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device="cuda") copies where a mode can see it
        stack.callback(torch._C._set_only_lift_cpu_tensors, False)
        backend.use_backend(None)
        stack.enter_context(gpu)
        yield gpu


# Small enough for the CPU, and for Triton's interpreter. Tests name their sizes so.
SIZES = {"POINTS": 120, "VIEWS": 2, "GRID": (6, 9), "BUSY": 16, "PAST_2_TO_31": 1500}


def pytest_configure(config: pytest.Config) -> None:
    stack = contextlib.ExitStack()
    stack.enter_context(stand_in_for_a_gpu())
    config.add_cleanup(stack.close)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for module in {item.getparent(pytest.Module).obj for item in items}:  # type: ignore[union-attr]
        for name in SIZES.keys() & vars(module).keys():
            setattr(module, name, SIZES[name])
