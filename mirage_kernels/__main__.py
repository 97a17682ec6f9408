# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m mirage_kernels``: what this machine has, why not the rest, and whether it computes what it should."""

from __future__ import annotations

import importlib.metadata
import platform
import sys

import torch

from . import self_test
from .backend import BACKENDS, INTERPRETED, backends, build_info, current_backend, devices, instruction_sets
from .version import __version__


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def describe() -> None:
    print(f"mirage_kernels {__version__}, torch {torch.__version__}, triton {_version('triton')}", end=", ")
    print(f"Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print("built:", ", ".join(f"{name} {value}" for name, value in build_info().items() if value) or "nothing")
    print(f"cpu: {torch.get_num_threads()} threads, instruction sets {', '.join(instruction_sets()) or 'unknown'}")
    for i in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(i)
        print(f"cuda:{i}: {card.name}, {card.total_memory >> 20} MiB, compute capability {card.major}.{card.minor}")
    kinds = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    chosen = {current_backend(kind): kind for kind in kinds}
    for name, reason in backends().items():
        where = f", used on {chosen[name]}" if name in chosen else ""
        how = " (interpreted: TRITON_INTERPRET is set)" if name == "triton" and INTERPRETED else ""
        print(f"backend {name}: {reason or 'ready' + where + how}")


def check() -> bool:
    """Run the self-test and print what came of it."""
    ready = [name for name, reason in backends().items() if reason is None]
    sound = True
    for name in (name for name in BACKENDS if name in ready):
        for device in devices(name):
            if (name, device) == ("reference", "cpu") or (device == "cuda" and not torch.cuda.is_available()):
                continue
            for operation in self_test.OPERATIONS:
                wrong = self_test.differs(name, device, operation)
                print(f"self-test {name} on {device}, {operation}: {wrong or 'ok'}")
                sound = sound and wrong is None
    print("self-test:", "every backend that is ready equals the reference" if sound else "something DIFFERS")
    return sound


if __name__ == "__main__":
    describe()
    sys.exit(0 if check() else 1)
