# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The version of the package, and the releases of torch that it serves. The build runs this file without torch."""

__version__ = "0.2.0"

OLDEST_TORCH = (2, 4)
STABLE_TORCH = (2, 10)  # from here on, one native module on the stable ABI serves every torch


def torch_release(version: str) -> tuple[int, int]:
    """Return (major, minor) of a version such as ``"2.6.0+cu124"`` or ``"2.11.0a0+git12"``."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def native_module(torch: tuple[int, int]) -> str:
    """Return the name of the native module in this package that serves a release (major, minor) of torch."""
    return "_C" if torch >= STABLE_TORCH else f"_C_torch{torch[0]}_{torch[1]}"
