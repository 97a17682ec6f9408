# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the GPUs that torch sees can run the backends ``cuda`` and ``triton``.

To be asked only where there is a GPU: it initialises CUDA. Where several are visible, one that cannot run a backend
keeps it from all, because a table names one backend for a type of device.
"""

from __future__ import annotations

import torch

# Triton promises 8.0 (its README); that its compiler takes our kernels for 7.5 too, tests/kernels/test_triton.py shows.
TRITON_CAPABILITY = (7, 5)

Capability = tuple[int, int]


def _parse(arch: str) -> Capability:
    """ "90" or "100a" to (9, 0) or (10, 0)."""
    digits = int(arch.rstrip("af"))
    return digits // 10, digits % 10


def runs_on(arches: list[str], capability: Capability) -> bool:
    """Whether a binary for these architectures runs on a GPU of this compute capability.

    Machine code runs on its own major version from its minor version on. PTX, which is that of the newest and of 10.0
    (setup.py), is compiled for anything newer.
    """
    built = sorted(map(_parse, arches))
    ptx = [arch for arch in built if arch in (built[-1], (10, 0))]
    return capability >= ptx[0] or any(capability[0] == arch[0] and capability >= arch for arch in built)


def _name(capability: Capability) -> str:
    return f"{capability[0]}.{capability[1]}"


def _first_unfit(fits: list[bool]) -> str:
    i = fits.index(False)
    capability = torch.cuda.get_device_capability(i)
    return f"cuda:{i} ({torch.cuda.get_device_name(i)}) has compute capability {_name(capability)}"


def _capabilities() -> list[Capability]:
    return [torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())]


def why_not_cuda(arches: list[str], problem: str | None) -> str | None:
    """The reason why CUDA kernels built for these architectures cannot run here.

    Args:
        arches: as in ``build_info()["cuda_arches"]``.
        problem: what the kernels' CUDA runtime says of the driver, None where it is content.
    """
    if problem is not None:
        return f"{problem}; update the driver, or reinstall mirage_kernels with an nvcc that the driver supports"
    fits = [runs_on(arches, capability) for capability in _capabilities()]
    if all(fits):
        return None
    built = ", ".join(_name(arch) for arch in sorted(map(_parse, arches)))
    return f"{_first_unfit(fits)}, the CUDA kernels were built for {built} and newer; hide it with CUDA_VISIBLE_DEVICES"


def why_not_triton() -> str | None:
    """The reason why Triton's kernels cannot run here; None for AMD's GPUs, whose versions say something else."""
    if torch.version.hip is not None:
        return None
    fits = [capability >= TRITON_CAPABILITY for capability in _capabilities()]
    if all(fits):
        return None
    return f"{_first_unfit(fits)}, Triton needs {_name(TRITON_CAPABILITY)}; hide it with CUDA_VISIBLE_DEVICES"
