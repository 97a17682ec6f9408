# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Which implementation runs, and why the others do not.

By default the fastest backend that is there for a tensor's device is used: on a GPU ``cuda``, ``triton`` or
``reference``, on a CPU ``cpp`` or ``reference``. A backend asked for by name, with :func:`use_backend` or
``MIRAGE_KERNELS_BACKEND``, never falls back. The choice is a plain module-level table, which ``torch.compile`` can read
and guard on. Importing this package looks for no GPU: what the GPUs here cannot run leaves the table when torch first
uses one, so before the first tensor is on it.

Results are the same on every backend, their cost is not: ``triton`` and ``reference`` do not look at the boxes of a
:class:`~mirage_kernels.VoxelCache`, so their culled read looks at every row, where ``cuda`` and ``cpp`` read the rows
that can be seen.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from types import ModuleType, TracebackType
from typing import Any

import torch
from torch import Tensor

from . import check, gpu
from .library import NATIVE, REFERENCE, TRITON, overload

BACKENDS = ("cuda", "triton", "cpp", "reference")  # by preference
# Triton's own switch: its kernels then run in Python, on the CPU.
INTERPRETED = os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on", "y")

_LIBRARY = {"cuda": NATIVE, "triton": TRITON, "cpp": NATIVE, "reference": REFERENCE}
# reference: any. (torch calls an AMD GPU "cuda" too.)
_DEVICES = {"cuda": ("cuda",), "triton": ("cuda", "cpu") if INTERPRETED else ("cuda",), "cpp": ("cpu",)}
_DEFAULTS = {"cuda": ("cuda", "triton", "reference"), "cpu": ("cpp", "reference")}

_native: ModuleType | None = None
_missing: dict[str, str] = {}  # backend -> why it is not there, as far as that is known without looking for a GPU
_asked: str | None = None
_table: dict[str, str] = {}  # device type -> backend; a device that is not listed uses _elsewhere
_elsewhere: str | None = "reference"


def _load_native() -> None:
    """Import the compiled module, which registers its kernels; remember why where that fails."""
    global _native
    try:
        _native = importlib.import_module("mirage_kernels._C")
    except ModuleNotFoundError:
        _missing["cpp"] = _missing["cuda"] = (
            "mirage_kernels was installed without its native kernels; with a C++ compiler at hand, reinstall it with "
            "pip install --no-build-isolation"
        )
    except ImportError as error:
        _missing["cpp"] = _missing["cuda"] = f"the native kernels could not be loaded: {error}"


def _find_gpu_backends() -> None:
    """Remember what no GPU could mend."""
    if torch.version.hip is not None:
        _missing.setdefault("cuda", f"this torch is for AMD GPUs ({torch.__version__}); the triton backend serves them")
    if not build_info().get("cuda_arches"):
        _missing.setdefault(
            "cuda",
            "mirage_kernels was built without CUDA kernels; with nvcc on PATH or in CUDA_HOME, reinstall it with "
            "pip install --no-build-isolation",
        )
    if importlib.util.find_spec("triton") is None:
        _missing["triton"] = "triton is not installed; pip install triton (Linux)"


def _why_not(name: str) -> str | None:
    """Looks for a GPU where that matters, which the import of this package does not."""
    if name in _missing or name in ("cpp", "reference") or (name == "triton" and INTERPRETED):
        return _missing.get(name)
    if torch.cuda.is_available():
        return _why_not_on_gpu(name)
    if torch.version.cuda is None and torch.version.hip is None:
        return f"this torch is built for CPUs only ({torch.__version__}); install one that is built for the GPU"
    return "torch finds no GPU; look at its driver (nvidia-smi) and at CUDA_VISIBLE_DEVICES"


def _why_not_on_gpu(name: str) -> str | None:
    """What keeps the GPUs here from running a backend that is otherwise there."""
    if name == "triton":
        return gpu.why_not_triton()
    assert _native is not None
    return gpu.why_not_cuda(build_info().get("cuda_arches", []), _native.cuda_problem())


def _settle_gpu() -> None:
    """Give up what the GPUs here cannot run, by default; called by torch when it first uses one."""
    for name in ("cuda", "triton"):
        if name not in _missing and not (name == "triton" and INTERPRETED):
            reason = _why_not_on_gpu(name)
            if reason is not None:
                _missing[name] = reason
    _fill_table()


def backends() -> dict[str, str | None]:
    """Every backend, fastest first, with None where it is ready or the reason why it is not."""
    return {name: _why_not(name) for name in BACKENDS}


def devices(name: str) -> tuple[str, ...]:
    """The types of devices that this backend runs on, as far as any is there."""
    if name == "reference":
        return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    return _DEVICES[name]


def build_info() -> dict[str, Any]:
    """What the native module was built with and for; empty where there is none."""
    return json.loads(_native.build_info) if _native else {}


def _fill_table() -> None:
    global _elsewhere
    _table.clear()
    if _asked:
        _table.update(dict.fromkeys(_DEVICES.get(_asked, ()), _asked))
    else:
        for device, names in _DEFAULTS.items():
            _table[device] = next(name for name in names if name not in _missing)
    _elsewhere = "reference" if _asked in (None, "reference") else None


class use_backend:  # noqa: N801 (a function that is also a context manager)
    """Use one backend for every operation, from now on or for the length of a ``with`` block.

    Args:
        name: one of :data:`BACKENDS`, or None to choose by device again.

    Raises:
        ValueError: there is no backend of this name.
        RuntimeError: it is not there; the message says why, for each backend.
    """

    def __init__(self, name: str | None) -> None:
        global _asked
        if name is not None:
            check.choice("backend", name, BACKENDS)
            if _why_not(name) is not None:
                reasons = "; ".join(f"{other}: {why or 'ready'}" for other, why in backends().items())
                raise RuntimeError(f"backend: {name!r} is not available ({reasons})")
        self._before, _asked = _asked, name
        _fill_table()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _asked
        _asked = self._before
        _fill_table()


def current_backend(device: str = "cpu") -> str:
    """The backend that operations on this type of device use."""
    name = _table.get(device, _elsewhere)
    if name is None:
        raise RuntimeError(_wrong_device(device))
    return name


def operation(name: str, like: Tensor, kind: str = "default") -> torch._ops.OpOverload:
    """The implementation of an operation for tensors on the device of ``like``; ``kind`` is the overload's name."""
    device = "cpu" if like.is_cpu else like.device.type  # the name of the type alone takes five times as long
    backend = _table.get(device, _elsewhere)
    if backend is None:
        raise RuntimeError(_wrong_device(device))
    return overload(_LIBRARY[backend], name, kind)


def host_operation(name: str) -> torch._ops.OpOverload:
    """The implementation of an operation that runs on the CPU whatever device the work is on."""
    return overload(REFERENCE if "cpp" in _missing or _asked == "reference" else NATIVE, name)


def _wrong_device(device: str) -> str:
    return f"backend: {_asked!r} was asked for and runs on {check.one_of(list(_DEVICES[str(_asked)]))}, not on {device}"


def instruction_sets() -> list[str]:
    """The CPU instruction sets that the ``cpp`` backend can use on this machine, narrowest first."""
    return list(_native.supported_isas()) if _native else []


def use_instruction_set(name: str) -> None:
    """Use this CPU instruction set from now on (default: the widest). Results do not depend on it."""
    check.choice("instruction set", name, tuple(instruction_sets()))
    assert _native is not None
    _native.set_isa(name)


_load_native()
_find_gpu_backends()
_fill_table()
torch.cuda._lazy_call(_settle_gpu)  # type: ignore[no-untyped-call]
if os.environ.get("MIRAGE_KERNELS_BACKEND"):
    try:
        use_backend(os.environ["MIRAGE_KERNELS_BACKEND"])
    except (ValueError, RuntimeError) as error:
        raise type(error)(f"MIRAGE_KERNELS_BACKEND: {error}") from None
