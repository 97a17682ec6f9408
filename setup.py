# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Builds the native module of mirage_kernels, one abi3 binary (csrc/native_build.py, csrc/native_torch.py).

The build needs the headers of torch, and nothing else of it. It uses those of the installed torch, also in an isolated
build. If no torch is installed, torch is a requirement of the build. Beside torch 2.10 or newer the module is
mirage_kernels._C, on LibTorch's stable ABI, which runs on every later torch; beside an older torch it is
mirage_kernels._C_torch<major>_<minor>, which runs on that release.

Environment:
  CXX                   the C++ compiler, with options if need be (default: c++, g++ or clang++, the first found)
  MIRAGE_CPP            0: do not build it; 1: fail without a compiler (default: build it where one is found)
  MIRAGE_CUDA           0: leave the CUDA sources out; 1: fail without nvcc (default: build them where nvcc is found)
  MIRAGE_KERNELS_ONLY   1: mirage_kernels alone, without the package mirage, its command and its extras
  MIRAGE_TORCH          a folder torch, of which include is used (default: the torch that is installed)
  MIRAGE_WERROR         1: warnings are errors, of nvcc too
  MIRAGE_SANITIZE       address or thread: with AddressSanitizer and UndefinedBehaviorSanitizer, or with ThreadSanitizer
  MAX_JOBS              how many files are compiled at a time
  TORCH_CUDA_ARCH_LIST  the GPUs to build for, such as 8.0;9.0 (default: those of CUDA_ARCHES that nvcc knows)
"""

import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any

import setuptools
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "csrc"))  # pip does not add the folder of setup.py

import native_build as native  # noqa: E402
from native_torch import STABLE_TORCH, VERSIONS, find_torch  # noqa: E402

OLDEST_SETUPTOOLS = (64, 0)  # those before it do not read all of pyproject.toml, and some silently nothing
SETUPTOOLS_WITH_WHEEL = (70, 1)  # the first to build wheels by itself


def check_setuptools(commands: list[str]) -> None:
    """Stop with one line where this setuptools would build something else, or fail with an unclear error."""
    release = tuple(map(int, setuptools.__version__.split(".")[:2]))
    if release < OLDEST_SETUPTOOLS:
        sys.exit(
            f"setuptools: expected 64 or newer, got {setuptools.__version__}; pip install --upgrade setuptools wheel"
        )
    needs_wheel = {"bdist_wheel", "dist_info", "editable_wheel"} & set(commands)
    if needs_wheel and release < SETUPTOOLS_WITH_WHEEL and importlib.util.find_spec("wheel") is None:
        sys.exit(
            f"wheel: setuptools {setuptools.__version__} needs this package, which is missing; pip install wheel, or "
            "leave --no-build-isolation out"
        )


def license_field() -> dict[str, str]:
    """The licence as this setuptools accepts it: an SPDX expression from 77 on."""
    return {"license_expression" if int(setuptools.__version__.split(".")[0]) >= 77 else "license": "Apache-2.0"}


def repository() -> str:
    """The address of the sources, from pyproject.toml."""
    found = re.search(r'^Source = "(https://\S+?)/?"$', Path(ROOT, "pyproject.toml").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def readme() -> str:
    """README.md with absolute links, for pages that show it beside no other file of the repository."""
    base = repository()
    pages, files = (f"{base}/{kind}/v{VERSIONS['__version__']}/" for kind in ("blob", "raw"))

    def absolute(match: re.Match[str]) -> str:
        image, text, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        return f"{image}[{text}]({files if image else pages}{target})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", absolute, Path(ROOT, "README.md").read_text(encoding="utf-8"))


class BuildExtension(build_ext):
    def build_extension(self, ext: Extension) -> None:
        cxx, torch = native.find_cxx(), find_torch()
        assert cxx is not None  # else there would be no extension
        if torch is None:
            sys.exit("torch: expected 2.4 or newer, got none; pip install torch, or leave --no-build-isolation out")
        native.check_cxx(cxx)
        output = Path(self.get_ext_fullpath(ext.name)).resolve()
        output.parent.mkdir(parents=True, exist_ok=True)
        if not self.inplace:  # a wheel takes all that is in this folder: nothing of a build beside another torch
            for other in output.parent.glob("_C*"):
                other.unlink()
        # not setuptools' own folder, which an editable install throws away: the next build then starts from nothing
        folder = ROOT / "build" / ("native" if torch.is_stable else f"native{torch.module}")
        build = native.NativeBuild(folder, cxx, native.find_nvcc(), torch)
        build.write(output)
        if not build.run():
            sys.exit(
                "mirage-kernels: a source file could not be compiled, see the messages above; "
                "MIRAGE_CUDA=0 leaves the CUDA kernels out, MIRAGE_CPP=0 all native kernels"
            )


class KernelsOnly(setuptools.Distribution):
    """What pyproject.toml describes, without the package mirage and what needs it.

    The name stays, so that pip replaces one by the other: distributions of two names would write the same files, and
    the first to be uninstalled would take them from the other. A local version tells the two apart.
    """

    EXTRAS = ("triton",)

    def parse_config_files(self, *args: Any, **kwargs: Any) -> None:
        super().parse_config_files(*args, **kwargs)
        self.metadata.version = f"{VERSIONS['__version__']}+kernels"
        self.packages = [name for name in self.packages or () if name.partition(".")[0] == "mirage_kernels"]
        self.entry_points = {}
        kept = {name: needs for name, needs in self.extras_require.items() if name.partition(":")[0] in self.EXTRAS}
        self.extras_require = self.metadata.extras_require = kept
        self.metadata.provides_extras = type(self.metadata.provides_extras)(dict.fromkeys(self.EXTRAS))


def main() -> None:
    os.chdir(ROOT)
    check_setuptools(sys.argv[1:])
    fields = {**license_field(), "long_description": readme(), "long_description_content_type": "text/markdown"}
    options = {"bdist_wheel": {"py_limited_api": "cp310"}}
    if native.switch("MIRAGE_KERNELS_ONLY"):
        fields["distclass"] = KernelsOnly
        options["build"] = {"build_base": "build/kernels_only"}  # a wheel takes all that is in the folder of the build
    cxx, torch = native.find_cxx(), find_torch()
    if cxx is None:
        print("mirage-kernels: no C++ compiler; installing without native kernels (backend 'reference' only)",
              file=sys.stderr)  # fmt: skip
        setup(**fields, options={key: options[key] for key in options if key != "bdist_wheel"})
        return
    module = torch.module if torch else "_C"
    setup(
        **fields,
        # An isolated build gets these, on top of pyproject.toml's.
        setup_requires=[] if torch else [f"torch>={'.'.join(map(str, STABLE_TORCH))}"],
        ext_modules=[Extension(f"mirage_kernels.{module}", sources=[], py_limited_api=True)],
        cmdclass={"build_ext": BuildExtension},
        options=options,
    )


if __name__ == "__main__":  # so it is under pip too; the tests import this file
    main()
