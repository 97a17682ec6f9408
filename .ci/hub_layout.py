# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Lays a wheel out as a repository of Hugging Face's kernel hub: ``python .ci/hub_layout.py WHEEL FOLDER``.

``kernels.get_local_kernel(FOLDER)`` loads the result, and so does ``kernels.get_kernel`` from a repository that has
these files. There is one variant for torch on a CPU, and one for torch with CUDA if the wheel has CUDA kernels. The
native module is on torch's stable ABI, so that both serve every torch from 2.10 on.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

PACKAGE = "mirage_kernels"
ABI = "torch-stable-abi210"
NATIVE = re.compile(rf"{PACKAGE}/_C\..*\.so")
PLATFORM = re.compile(r"(?:many)?linux_.*?(x86_64|aarch64)\.whl$")
# torch keeps one set of operators in a process, so that an installed package and this one cannot both be imported. The
# package keeps its name, for pickles and for what imports it.
LOADER = '''"""mirage_kernels from the kernel hub; the installed package if that is imported already."""

import importlib
import sys
from pathlib import Path

if "mirage_kernels" not in sys.modules:
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    try:
        importlib.import_module("mirage_kernels")
    finally:
        sys.path.pop(0)
_package = sys.modules["mirage_kernels"]
__all__ = list(_package.__all__)
__version__ = _package.__version__


def __getattr__(name):
    return getattr(_package, name)


def __dir__():
    return dir(_package)
'''


def build_info(native: bytes) -> dict[str, Any]:
    """What csrc/native_build.py notes in the native module."""
    found = re.search(rb'\{"version": [^\0]*\}', native)
    if found is None:
        sys.exit(f"WHEEL: expected a native module with the notes of its build, got none in {PACKAGE}/_C")
    info: dict[str, Any] = json.loads(found[0])
    return info


def backends(info: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The variants' names of their backends, and how metadata.json describes those."""
    found: dict[str, dict[str, Any]] = {"cpu": {"type": "cpu"}}
    if info["cuda_arches"]:
        release = re.search(r"release (\d+)\.(\d+)", info["nvcc"])
        assert release is not None
        arches = [f"{int(arch) // 10}.{int(arch) % 10}" for arch in info["cuda_arches"]]
        found[f"cu{release[1]}{release[2]}"] = {"type": "cuda", "archs": arches}
    return found


def lay_out(wheel: Path, folder: Path) -> list[Path]:
    """Write the variants of a wheel; return their folders."""
    platform = PLATFORM.search(wheel.name)
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith(f"{PACKAGE}/")]
        natives = list(filter(NATIVE.fullmatch, names))
        if platform is None or len(natives) != 1:
            sys.exit(f"WHEEL: expected one for Linux with {PACKAGE}/_C, got {wheel.name}")
        info = build_info(archive.read(natives[0]))
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()[:7]
        variants = []
        for name, backend in backends(info).items():
            variant = folder / "build" / f"{ABI}-{name}-{platform[1]}-linux"
            shutil.rmtree(variant, ignore_errors=True)
            archive.extractall(variant, names)
            (variant / "__init__.py").write_text(LOADER)
            metadata = {
                "name": PACKAGE.replace("_", "-"),
                "id": f"_{PACKAGE}_{backend['type']}_{digest}",
                "version": 0,
                "license": "Apache-2.0",
                "python-depends": [],
                "backend": backend,
            }
            (variant / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n")
            variants.append(variant)
    return variants


if __name__ == "__main__":
    if len(sys.argv) != 3 or not Path(sys.argv[1]).is_file():
        sys.exit("usage: hub_layout.py WHEEL FOLDER")
    print(*lay_out(Path(sys.argv[1]), Path(sys.argv[2])), sep="\n")
