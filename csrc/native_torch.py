# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The torch that the native module is compiled against: where it lies, and what the compiler is told of it."""

import importlib.util
import os
import re
import runpy
import shlex
import site
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = runpy.run_path(str(ROOT / "mirage_kernels" / "version.py"))
OLDEST_TORCH: tuple[int, int] = VERSIONS["OLDEST_TORCH"]
STABLE_TORCH: tuple[int, int] = VERSIONS["STABLE_TORCH"]
TORCH_TARGET = "0x020a000000000000"  # STABLE_TORCH


class Torch(NamedTuple):
    """A torch to compile against: its folder ``include`` is all that the build needs."""

    version: str
    include: Path

    @classmethod
    def read(cls, folder: Path) -> "Torch | None":
        """The torch of a folder, None where there are no headers."""
        include = folder / "include"
        for place in ("headeronly", "csrc/api/include/torch"):  # from 2.9 on, and before
            header = include / "torch" / place / "version.h"
            numbers = re.findall(r"#define TORCH_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", read_text(header))
            if len(numbers) == 3:
                return cls(".".join(numbers), include)
        return None

    @property
    def release(self) -> tuple[int, int]:
        return VERSIONS["torch_release"](self.version)

    @property
    def is_supported(self) -> bool:
        return self.release >= OLDEST_TORCH

    @property
    def is_stable(self) -> bool:
        """Whether the binary is built on the stable ABI, and so serves every later torch too."""
        return self.release >= STABLE_TORCH

    @property
    def module(self) -> str:
        """The name of the native module that is built against this torch."""
        return VERSIONS["native_module"](self.release)

    def flags(self) -> list[str]:
        """What the compiler is told of this torch: of its stable ABI, or of its C++ API and how it was built itself."""
        folders = [self.include, self.include / "torch" / "csrc" / "api" / "include"]
        found = [f"-isystem {shlex.quote(str(folder))}" for folder in folders]
        if self.is_stable:
            return [*found, f"-DTORCH_TARGET_VERSION={TORCH_TARGET}"]
        return [*found, f"-D_GLIBCXX_USE_CXX11_ABI={int(self.has_new_strings())}"]

    def has_new_strings(self) -> bool:
        """Whether std::string in torch's C++ API is that of libstdc++'s new ABI: PyPI's torch has the old one up to
        2.6. Without torch's libraries, the answer is what PyPI has."""
        library = self.include.parent / "lib" / "libc10.so"
        if not library.is_file():
            return self.release >= (2, 7)
        return b"torchCheckFailEPKcS2_jRKSs" not in library.read_bytes()


def torch_folders() -> list[Path]:
    """Where a torch may lie. pip hides the environment's packages from an isolated build, but not where they are."""
    spec = importlib.util.find_spec("torch")
    visible = [Path(spec.origin).parent] if spec and spec.origin else []
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    sites = [sysconfig.get_path(name) for name in ("purelib", "platlib")]
    sites += [*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("purelib", vars=base)]
    return [*visible, *(Path(folder, "torch") for folder in dict.fromkeys(sites))]


def find_torch() -> Torch | None:
    """The torch to compile against, None where none that is new enough is installed: the first that Python would find,
    as the package will run beside it."""
    named = os.environ.get("MIRAGE_TORCH")
    if named:
        torch = Torch.read(Path(named).resolve())
        if torch is None or not torch.is_supported:
            got = f"the headers of torch {torch.version}" if torch else "none there"
            sys.exit(f"MIRAGE_TORCH: expected a folder with the headers of torch 2.4 or newer, got {named!r} ({got})")
        return torch
    found = filter(None, map(Torch.read, torch_folders()))
    return next((torch for torch in found if torch.is_supported), None)


def read_text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
