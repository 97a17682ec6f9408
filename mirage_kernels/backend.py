# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Selection of the implementation that runs, and the reason why each other one is not available.

By default the fastest available backend for a tensor's device runs: ``cuda``, ``triton`` or ``reference`` on a GPU,
``cpp`` or ``reference`` on a CPU. A backend that was selected by name, with :func:`use_backend` or with the environment
variable ``MIRAGE_KERNELS_BACKEND``, never falls back to another one. The selection is a plain module-level table, which
``torch.compile`` can read and guard on. Importing this package does not initialize CUDA: backends that the GPUs of this
machine cannot run are removed from the table when torch first initializes CUDA, before the first tensor is on a GPU.

Results are the same bits on every backend; their cost differs. ``triton`` and ``reference`` do not use the bounding
boxes of a :class:`~mirage_kernels.VoxelCache`: they read every row, where ``cuda`` and ``cpp`` skip rows that no camera
can see.
"""

from __future__ import annotations

import importlib.util
import json
import os
from types import ModuleType, TracebackType
from typing import Any

import torch
from torch import Tensor

from . import _gpu, _native_module, check
from ._library import NATIVE, REFERENCE, TRITON, overload
from ._modes import BACKENDS, BackendName

# Triton's own switch: its kernels are then interpreted in Python, on the CPU.
INTERPRETED = os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on", "y")

_LIBRARY = {"cuda": NATIVE, "triton": TRITON, "cpp": NATIVE, "reference": REFERENCE}
# reference runs on any device. torch calls an AMD GPU "cuda" too.
_DEVICES = {"cuda": ("cuda",), "triton": ("cuda", "cpu") if INTERPRETED else ("cuda",), "cpp": ("cpu",)}
_DEFAULTS = {"cuda": ("cuda", "triton", "reference"), "cpu": ("cpp", "reference")}

_native: ModuleType | None = None
# Backend -> reason why it is not available, as far as that can be told without initializing CUDA.
_missing: dict[str, str] = {}
_requested: BackendName | None = None
_table: dict[str, str] = {}  # device type -> backend; other device types use _other_devices
_other_devices: str | None = "reference"


def _load_native() -> None:
    """Import the compiled module, which registers its kernels, or record why that failed."""
    global _native
    _native, reason = _native_module.load()
    if _native is None:
        _missing["cpp"] = _missing["cuda"] = reason


def _find_gpu_backends() -> None:
    """Record why a GPU backend is not available, where that does not depend on the GPU."""
    if torch.version.hip is not None:
        _missing.setdefault("cuda", f"this torch is built for AMD GPUs ({torch.__version__}); use the triton backend")
    if not build_info().get("cuda_arches"):
        _missing.setdefault(
            "cuda",
            "mirage_kernels was built without CUDA kernels; with nvcc on PATH or in CUDA_HOME, and without "
            "MIRAGE_CUDA=0, reinstall it from its sources with pip install --no-cache-dir .",
        )
    if importlib.util.find_spec("triton") is None:
        _missing["triton"] = "triton is not installed; pip install triton (Linux)"
    elif reason := _gpu.triton_too_old():
        _missing["triton"] = reason


def _unavailable_reason(name: str) -> str | None:
    """Return why a backend is not available, None if it is. Initializes CUDA if the answer depends on the GPU."""
    if name in _missing or name in ("cpp", "reference") or (name == "triton" and INTERPRETED):
        return _missing.get(name)
    if torch.cuda.is_available():
        return _unavailable_reason_on_gpu(name)
    if torch.version.cuda is None and torch.version.hip is None:
        return f"this torch is built for CPUs only ({torch.__version__}); install one that is built for GPUs"
    return "torch finds no GPU; check its driver (nvidia-smi) and CUDA_VISIBLE_DEVICES"


def _unavailable_reason_on_gpu(name: str) -> str | None:
    """Return why the GPUs of this machine cannot run an installed backend, None if they can."""
    if name == "triton":
        return _gpu.triton_unavailable_reason()
    assert _native is not None
    return _gpu.cuda_unavailable_reason(build_info().get("cuda_arches", []), _native.cuda_problem())


def _remove_unsupported() -> None:
    """Remove backends that the GPUs cannot run from the defaults. torch calls this when it initializes CUDA."""
    for name in ("cuda", "triton"):
        if name not in _missing and not (name == "triton" and INTERPRETED):
            reason = _unavailable_reason_on_gpu(name)
            if reason is not None:
                _missing[name] = reason
    _fill_table()


def backends() -> dict[str, str | None]:
    """List the backends, fastest first. Initializes CUDA.

    Returns:
        The name of each backend and None if it is available on this machine, else the reason why it is not.

    Example:
        >>> import mirage_kernels as mk
        >>> list(mk.backends())
        ['cuda', 'triton', 'cpp', 'reference']
        >>> mk.backends()["reference"] is None
        True
    """
    return {name: _unavailable_reason(name) for name in BACKENDS}


def devices(name: str) -> tuple[str, ...]:
    """List the types of devices that a backend runs on.

    Args:
        name: one of :data:`BACKENDS`.

    Returns:
        ``"cpu"``, ``"cuda"`` or both. For ``"reference"``, ``"cuda"`` is listed only if this machine has a GPU.
    """
    if name == "reference":
        return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    return _DEVICES[name]


def build_info() -> dict[str, Any]:
    """Describe the build of the native module: version, compiler, instruction sets, CUDA architectures.

    Returns:
        A dictionary; empty if there is no native module.
    """
    return json.loads(_native.build_info) if _native else {}


def _fill_table() -> None:
    global _other_devices
    _table.clear()
    if _requested:
        _table.update(dict.fromkeys(_DEVICES.get(_requested, ()), _requested))
    else:
        for device, names in _DEFAULTS.items():
            _table[device] = next(name for name in names if name not in _missing)
    _other_devices = "reference" if _requested in (None, "reference") else None


class use_backend:  # noqa: N801 (a function that is also a context manager)
    """Run every operation on one backend, until the next call or, as a context manager, until the end of the block.

    Args:
        name: ``"cuda"``, ``"triton"``, ``"cpp"``, ``"reference"``, or None to select by device again.

    Raises:
        ValueError: there is no backend of this name.
        RuntimeError: the backend is not available; the message gives the reason for each backend.

    Example:
        >>> import mirage_kernels as mk
        >>> with mk.use_backend("reference"):
        ...     mk.current_backend()
        'reference'
    """

    def __init__(self, name: BackendName | None) -> None:
        global _requested
        if name is not None:
            check.choice("backend", name, BACKENDS)
            if _unavailable_reason(name) is not None:
                reasons = "; ".join(f"{other}: {reason or 'ready'}" for other, reason in backends().items())
                raise RuntimeError(f"backend: {name!r} is not available ({reasons})")
        self._previous, _requested = _requested, name
        _fill_table()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _requested
        _requested = self._previous
        _fill_table()


def current_backend(device: str = "cpu") -> str:
    """Return the name of the backend that operations on a type of device use.

    Args:
        device: ``"cpu"``, ``"cuda"`` or another type of device of torch, with or without an index.

    Raises:
        TypeError, ValueError: torch has no such type of device.
        RuntimeError: the backend selected by :func:`use_backend` does not run on this type of device.
    """
    kind = check.device_type("device", device).type
    name = _table.get(kind, _other_devices)
    if name is None:
        raise RuntimeError(_wrong_device(kind))
    return name


def operation(name: str, like: Tensor, kind: str = "default") -> torch._ops.OpOverload:
    """Return the implementation of an operation for the device of ``like``.

    Only the typed functions of ``ops/<op>/<op>_operators.py`` call this, and the fast path of ``splat``.

    Args:
        name: the operation.
        like: a tensor on the device.
        kind: name of the overload.

    Raises:
        RuntimeError: the backend selected by :func:`use_backend` does not run on this device.
    """
    device = "cpu" if like.is_cpu else like.device.type  # like.device.type takes five times as long as is_cpu
    backend = _table.get(device, _other_devices)
    if backend is None:
        raise RuntimeError(_wrong_device(device))
    return overload(_LIBRARY[backend], name, kind)


def is_native(like: Tensor) -> bool:
    """Return whether operations on the device of ``like`` run as native kernels."""
    return _table.get("cpu" if like.is_cpu else like.device.type) in ("cpp", "cuda")


def host_operation(name: str) -> torch._ops.OpOverload:
    """Return the implementation of an operation that always runs on the CPU."""
    return overload(REFERENCE if "cpp" in _missing or _requested == "reference" else NATIVE, name)


def _wrong_device(device: str) -> str:
    supported = check.one_of(list(_DEVICES[str(_requested)]))
    return f"backend: {_requested!r} was selected and runs on {supported}, not on {device}"


def instruction_sets() -> list[str]:
    """List the CPU instruction sets that the ``cpp`` backend can use on this machine, narrowest first.

    Returns:
        Their names; empty if there is no native module.
    """
    return list(_native.supported_isas()) if _native else []


def use_instruction_set(name: str) -> None:
    """Set the CPU instruction set of the ``cpp`` backend. Results do not depend on it.

    Args:
        name: one of :func:`instruction_sets`. The default is the last of them, the widest.

    Raises:
        ValueError: this machine does not support it.
    """
    check.choice("instruction set", name, tuple(instruction_sets()))
    assert _native is not None
    _native.set_isa(name)


_load_native()
_find_gpu_backends()
_fill_table()
torch.cuda._lazy_call(_remove_unsupported)  # type: ignore[no-untyped-call]
if os.environ.get("MIRAGE_KERNELS_BACKEND"):
    try:
        use_backend(check.choice("backend", os.environ["MIRAGE_KERNELS_BACKEND"], BACKENDS))
    except (ValueError, RuntimeError) as error:
        raise type(error)(f"MIRAGE_KERNELS_BACKEND: {error}") from None
