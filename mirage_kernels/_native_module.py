# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The native module: which file serves this torch, and why there is none.

A module on the stable ABI serves torch 2.10 and every later release. One that was built beside an older torch serves
that release only; loading it into another would crash, so each has a name of its own (:mod:`mirage_kernels.version`).
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

import torch

from .version import STABLE_TORCH, native_module, torch_release

NAME = native_module(torch_release(torch.__version__))
PACKAGE = Path(__file__).resolve().parent


def load() -> tuple[ModuleType | None, str]:
    """Import the native module, which registers its kernels.

    Warns if there is a module that cannot be used: a user who installed native kernels should know that the slow
    backend runs. There is no warning if none was built, or if ``MIRAGE_KERNELS_BACKEND`` selects a backend.

    Returns:
        The module and "", or None and the reason.
    """
    try:
        return importlib.import_module(f"mirage_kernels.{NAME}"), ""
    except ModuleNotFoundError:
        others = built_for(PACKAGE)
        if not others:
            return None, why_missing(PACKAGE)
        reason = f"built for {' and '.join(others)}, this is {torch.__version__.partition('+')[0]}; {_REBUILD}"
    except ImportError as error:
        reason = f"the native kernels could not be loaded: {error}"
    if not os.environ.get("MIRAGE_KERNELS_BACKEND"):
        message = (
            f"mirage_kernels: the native kernels are not used, and the backends that are left are slower: {reason}"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return None, reason


_REBUILD = "beside this torch, reinstall mirage_kernels from its sources with pip install --no-cache-dir ."


def built_for(package: Path) -> list[str]:
    """Return the torches that the native modules in a package serve, other than this one."""
    files = [path.name for path in package.glob("_C*") if path.name.endswith(tuple(EXTENSION_SUFFIXES))]
    releases = [name.split(".")[0].removeprefix("_C") for name in sorted(files) if name.split(".")[0] != NAME]
    stable = "{}.{} or newer".format(*STABLE_TORCH)
    return [f"torch {name.removeprefix('_torch').replace('_', '.') or stable}" for name in releases]


def why_missing(package: Path) -> str:
    """Return why this package has no native module, and what to do.

    Args:
        package: the folder of this package.
    """
    root = package.parent
    if not (root / "setup.py").is_file():
        return (
            "mirage_kernels was installed without its native kernels; with a C++ compiler at hand, and without "
            "MIRAGE_CPP=0, reinstall it from its sources with pip install --no-cache-dir ."
        )
    imported = f"you are importing the source tree in {root}, which has no built kernels"
    for entry in map(Path, sys.path):
        if (entry / package.name / "backend.py").is_file() and not (entry / package.name).samefile(package):
            return f"{imported} and hides the installed package in {entry}; leave this folder, or pip install -e ."
    return f"{imported}; build them with pip install -e . in that folder"
