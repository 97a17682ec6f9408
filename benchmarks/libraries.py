# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Optional libraries to compare with.

``make bench-libraries`` installs them in the folder ``libraries`` of the environment. They are on the path only after
one of these functions was called (Open3D brings a pytest plugin that fails without more packages). ``python -m
benchmarks.libraries`` prints which ones are installed.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType


def find() -> None:
    """Append the folder to the path; packages of the environment itself come first."""
    folder = str(Path(sys.prefix, "libraries"))
    if folder not in sys.path:
        sys.path.append(folder)


@cache  # an import that failed half way must not be tried again
def load(name: str) -> ModuleType | str:
    """Import a library; the reason as text where that fails."""
    find()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    # OSError: a missing system library; RuntimeError: a build for another torch
    except (ImportError, OSError, RuntimeError) as error:
        return f"{name} cannot be imported ({error}): see make bench-libraries"


def open3d() -> ModuleType | str:
    """Open3D, or the reason why it cannot be imported."""
    return load("open3d")


def torch_scatter() -> ModuleType | str:
    """torch-scatter, or the reason why it cannot be imported."""
    return load("torch_scatter")


if __name__ == "__main__":
    for library in (open3d(), torch_scatter()):
        print(library if isinstance(library, str) else f"{library.__name__} {library.__version__}")
