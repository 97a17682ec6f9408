# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Libraries to compare with, which nothing else here needs.

``make bench-libraries`` puts them into the folder ``libraries`` of the environment, where they can break nothing: they
are looked for only when one of these functions is called (Open3D brings a pytest plugin that fails without more
packages). ``python -m benchmarks.libraries`` tells which ones are there.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType


def find() -> None:
    """Make what lies in the folder importable; what the environment itself has goes first."""
    folder = str(Path(sys.prefix, "libraries"))
    if folder not in sys.path:
        sys.path.append(folder)


@cache  # a library that broke off in the middle of its import must not be tried again
def load(name: str) -> ModuleType | str:
    """A library, or why it is not there."""
    find()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs
            return importlib.import_module(name)
    # besides what Python raises, a system library that is missing and a build for another torch
    except (ImportError, OSError, RuntimeError) as error:
        return f"{name} cannot be imported ({error}): see make bench-libraries"


def open3d() -> ModuleType | str:
    """Open3D, or why it is not there."""
    return load("open3d")


def torch_scatter() -> ModuleType | str:
    """torch-scatter, or why it is not there."""
    return load("torch_scatter")


if __name__ == "__main__":
    for library in (open3d(), torch_scatter()):
        print(library if isinstance(library, str) else f"{library.__name__} {library.__version__}")
