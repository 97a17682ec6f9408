# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m mirage_kernels``: print versions, build and backends, then run the self-test of every backend."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

import torch

from . import self_test
from ._modes import BACKENDS
from .backend import INTERPRETED, backends, build_info, current_backend, devices, instruction_sets
from .version import __version__


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _print_machine() -> None:
    """Print versions, build, processors, and each backend with the reason if it is not available."""
    print(f"mirage_kernels {__version__}, torch {torch.__version__}, triton {_version('triton')}", end=", ")
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print("built:", ", ".join(f"{name} {value}" for name, value in build_info().items() if value) or "nothing")
    print(f"cpu: {torch.get_num_threads()} threads, instruction sets {', '.join(instruction_sets()) or 'unknown'}")
    for i in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(i)
        print(f"cuda:{i}: {gpu.name}, {gpu.total_memory >> 20} MiB, compute capability {gpu.major}.{gpu.minor}")
    device_types = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    default_on = {current_backend(device): device for device in device_types}
    for name, reason in backends().items():
        used = f", used on {default_on[name]}" if name in default_on else ""
        interpreted = " (interpreted: TRITON_INTERPRET is set)" if name == "triton" and INTERPRETED else ""
        print(f"backend {name}: {reason or 'ready' + used + interpreted}")


def _run_self_test() -> bool:
    """Run the self-test of every available backend, print the results, and return whether all passed."""
    ready = [name for name, reason in backends().items() if reason is None]
    passed, tested = True, False
    for name in (name for name in BACKENDS if name in ready):
        for device in devices(name):
            if (name, device) == ("reference", "cpu") or (device == "cuda" and not torch.cuda.is_available()):
                continue
            for operation in self_test.OPERATIONS:
                difference = self_test.differs(name, device, operation)
                print(f"self-test {name} on {device}, {operation}: {difference or 'ok'}")
                passed, tested = passed and difference is None, True
    summary = "every available backend equals the reference" if tested else "nothing to test, the reference is alone"
    print("self-test:", summary if passed else "FAILED, a backend differs")
    return passed


if __name__ == "__main__":
    _print_machine()
    sys.exit(0 if _run_self_test() else 1)
