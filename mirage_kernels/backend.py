# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Which implementation runs, and why the others do not.

By default the fastest backend that runs on a tensor's device is used: ``cpp`` on a CPU where it was built, else
``reference``. A backend asked for by name, with :func:`use_backend` or ``MIRAGE_KERNELS_BACKEND``, never falls back.
The choice is a plain module-level table, which ``torch.compile`` can read and guard on.
"""

from __future__ import annotations

import importlib
import json
import os
from types import ModuleType, TracebackType
from typing import Any

import torch

from . import check
from .library import NATIVE, REFERENCE, overload

BACKENDS = ("cpp", "reference")  # by preference
_LIBRARY = {"cpp": NATIVE, "reference": REFERENCE}
_DEVICES = {"cpp": ("cpu",)}  # reference: any

_native: ModuleType | None = None
_missing: dict[str, str] = {}  # backend -> why it is not there
_asked: str | None = None
_table: dict[str, str] = {}  # device type -> library; a device that is not listed uses _elsewhere
_elsewhere: str | None = REFERENCE


def _load_native() -> None:
    """Import the compiled module, which registers its kernels; remember why where that fails."""
    global _native
    try:
        _native = importlib.import_module("mirage_kernels._C")
    except ModuleNotFoundError:
        _missing["cpp"] = (
            "mirage_kernels was installed without its native kernels; with a C++ compiler at hand, reinstall it with "
            "pip install --no-build-isolation"
        )
    except ImportError as error:
        _missing["cpp"] = f"the native kernels could not be loaded: {error}"


def backends() -> dict[str, str | None]:
    """Every backend, fastest first, with None where it is ready or the reason why it is not."""
    return {name: _missing.get(name) for name in BACKENDS}


def build_info() -> dict[str, Any]:
    """What the native module was built with and for; empty where there is none."""
    return json.loads(_native.build_info) if _native else {}


def _fill_table() -> None:
    global _elsewhere
    _table.clear()
    for name in [_asked] if _asked else [name for name in reversed(BACKENDS) if name not in _missing]:
        for device in _DEVICES.get(name, ()):
            _table[device] = _LIBRARY[name]
    _elsewhere = REFERENCE if _asked in (None, "reference") else None


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
            if name in _missing:
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
    library = _table.get(device, _elsewhere)
    if library is None:
        raise RuntimeError(_wrong_device(device))
    return next(name for name in BACKENDS if _LIBRARY[name] == library)


def operation(name: str, device: str, kind: str = "default") -> torch._ops.OpOverload:
    """The implementation of an operation for this type of device; ``kind`` is the overload's name."""
    library = _table.get(device, _elsewhere)
    if library is None:
        raise RuntimeError(_wrong_device(device))
    return overload(library, name, kind)


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
_fill_table()
if os.environ.get("MIRAGE_KERNELS_BACKEND"):
    use_backend(os.environ["MIRAGE_KERNELS_BACKEND"])
