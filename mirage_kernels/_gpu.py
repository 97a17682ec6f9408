# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Checks whether the GPUs that torch finds can run the backends ``cuda`` and ``triton``.

The functions initialize CUDA, so call them only on a machine with a GPU. If one of several visible GPUs cannot run a
backend, the backend is not available at all, because the backend is selected by type of device.
"""

from __future__ import annotations

import importlib.metadata

import torch

# Triton's README states 8.0. tests/kernels/test_triton.py checks that it compiles these kernels for 7.5 too.
TRITON_CAPABILITY = (7, 5)
OLDEST_TRITON = (3, 4)  # of the extra "triton"; that of torch 2.8

Capability = tuple[int, int]


def _parse(arch: str) -> Capability:
    """Convert "90" or "100a" to (9, 0) or (10, 0)."""
    digits = int(arch.rstrip("af"))
    return digits // 10, digits % 10


def runs_on(arches: list[str], capability: Capability) -> bool:
    """Return whether a binary built for ``arches`` runs on a GPU of this compute capability.

    Machine code runs on GPUs of the same major and the same or a later minor version. The binary also holds PTX for the
    newest architecture and for 10.0 (see setup.py), which the driver compiles for any later GPU.
    """
    built = sorted(map(_parse, arches))
    ptx = [arch for arch in built if arch in (built[-1], (10, 0))]
    return capability >= ptx[0] or any(capability[0] == arch[0] and capability >= arch for arch in built)


def _name(capability: Capability) -> str:
    return f"{capability[0]}.{capability[1]}"


def _first_unsupported(supported: list[bool]) -> str:
    i = supported.index(False)
    capability = torch.cuda.get_device_capability(i)
    return f"cuda:{i} ({torch.cuda.get_device_name(i)}) has compute capability {_name(capability)}"


def _capabilities() -> list[Capability]:
    return [torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())]


def cuda_unavailable_reason(arches: list[str], problem: str | None) -> str | None:
    """Return why the GPUs of this machine cannot run the CUDA kernels, None if they can.

    Args:
        arches: the architectures the kernels were built for, ``build_info()["cuda_arches"]``.
        problem: error message of the kernels' CUDA runtime about the driver, None if it reports none.
    """
    if problem is not None:
        return f"{problem}; update the driver, or reinstall mirage_kernels with an nvcc that the driver supports"
    supported = [runs_on(arches, capability) for capability in _capabilities()]
    if all(supported):
        return None
    built = ", ".join(_name(arch) for arch in sorted(map(_parse, arches)))
    reason = f"{_first_unsupported(supported)}, the CUDA kernels were built for {built} and newer"
    return f"{reason}; hide it with CUDA_VISIBLE_DEVICES"


def triton_too_old() -> str | None:
    """Return why the installed Triton cannot compile the kernels, None if it can. Triton is not imported."""
    try:
        version = importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:  # torch for AMD GPUs has it under another name
        return None
    if tuple(map(int, version.split(".")[:2])) >= OLDEST_TRITON:
        return None
    oldest = ".".join(map(str, OLDEST_TRITON))
    return f"the kernels need triton {oldest} or newer, as torch 2.8 and later bring it; this is {version}"


def triton_unavailable_reason() -> str | None:
    """Return why the GPUs of this machine cannot run the Triton kernels, None if they can.

    AMD GPUs are not checked: their version numbers have another meaning.
    """
    if torch.version.hip is not None:
        return None
    supported = [capability >= TRITON_CAPABILITY for capability in _capabilities()]
    if all(supported):
        return None
    reason = f"{_first_unsupported(supported)}, Triton needs {_name(TRITON_CAPABILITY)}"
    return f"{reason}; hide it with CUDA_VISIBLE_DEVICES"
