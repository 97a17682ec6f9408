# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What setup.py makes of the tools that a machine has."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """setup.py as a module."""
    pytest.importorskip("setuptools")
    monkeypatch.chdir(ROOT)
    spec = importlib.util.spec_from_file_location("mirage_setup", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fake_nvcc(folder: Path, arches: str) -> str:
    """An nvcc that only says which architectures it knows; an empty list stands for one that cannot say."""
    path = folder / "nvcc"
    listing = "".join(f"echo compute_{arch}; " for arch in arches.split())
    path.write_text(f"""#!/bin/sh
case $1 in
  --list-gpu-arch) {listing or "exit 1"} ;;
  --version) echo "Cuda compilation tools, release 12.4, V12.4.131" ;;
esac
""")
    path.chmod(0o755)
    return str(path)


def make_build(build: ModuleType, folder: Path, cxx: str, nvcc: str | None = None) -> Any:
    torch = build.find_torch()
    assert torch is not None
    return build.native.NativeBuild(folder, cxx, nvcc, torch)


def cuda_rule(build: ModuleType, folder: Path, nvcc: str) -> tuple[str, str, list[str]]:
    """How ninja is told to compile CUDA: the command, the flags of a file, and the architectures of the build info."""
    native = make_build(build, folder, nvcc, nvcc)  # it says its version as a C++ compiler would
    native.write(folder / "_C.so")
    text = (folder / "build.ninja").read_text()
    command = re.search(r"rule nvcc\n  command = (.*)", text)
    flags = re.search(r"build \S+\.cuda\.o: nvcc .*\n  flags = (.*)", text)
    assert command is not None
    assert flags is not None
    return command[1], flags[1], native.info()["cuda_arches"]


CUDA_11_0 = "35 37 50 52 53 60 61 62 70 72 75 80"
CUDA_12_0 = "50 52 53 60 61 62 70 72 75 80 86 87 89 90"
CUDA_12_8 = "50 52 53 60 61 62 70 72 75 80 86 87 89 90 100 101 120"


@pytest.mark.parametrize(
    ("known", "code", "ptx"),
    [
        (CUDA_11_0, ["80"], ["80"]),
        (CUDA_12_0, ["80", "90"], ["90"]),
        ("75 80 90 100", ["80", "90", "100"], ["100"]),
        (CUDA_12_8, ["80", "90", "100", "120"], ["100", "120"]),
        ("100 110 120 130", ["100", "120"], ["100", "120"]),
    ],
)
def test_cuda_is_built_for_what_nvcc_knows(
    build: ModuleType, tmp_path: Path, known: str, code: list[str], ptx: list[str]
) -> None:
    _, flags, told = cuda_rule(build, tmp_path, fake_nvcc(tmp_path, known))
    assert re.findall(r"arch=compute_(\d+),code=sm_\1\b", flags) == code == told
    assert re.findall(r"arch=compute_(\d+),code=compute_\1\b", flags) == ptx
    assert flags.count("-gencode") == len(code) + len(ptx)


@pytest.mark.parametrize("known", ["", "35 50 70 75"])
def test_an_nvcc_that_knows_no_architecture_ends_the_build_with_one_line(
    build: ModuleType, tmp_path: Path, known: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        make_build(build, tmp_path, "c++", fake_nvcc(tmp_path, known))
    message = str(caught.value.code)
    assert message.startswith("nvcc: expected one that knows compute_80 or compute_90 or ")
    assert ("compute_75" in message) == bool(known)
    assert "MIRAGE_CUDA=0" in message
    assert "\n" not in message


@pytest.mark.parametrize("switch", [None, "0", "1"])
def test_warnings_are_errors_only_where_asked(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: str | None
) -> None:
    monkeypatch.delenv("MIRAGE_WERROR", raising=False)
    if switch:
        monkeypatch.setenv("MIRAGE_WERROR", switch)
    command, flags, _ = cuda_rule(build, tmp_path, fake_nvcc(tmp_path, CUDA_12_8))
    assert ("-Werror" in command + flags) == (switch == "1")
    cxx = re.search(r"rule cxx\n  command = (.*)", (tmp_path / "build.ninja").read_text())
    assert cxx is not None
    assert ("-Werror" in cxx[1]) == (switch == "1")


def test_the_project_builds_itself_with_warnings_as_errors() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for words in ("--no-build-isolation --editable", "pip wheel"):
        (line,) = [line for line in makefile.splitlines() if words in line]
        assert "$(STRICT)" in line
    assert re.search(r"^STRICT := MIRAGE_WERROR=\$\$\{MIRAGE_WERROR:-1\}$", makefile, re.MULTILINE)


@pytest.mark.parametrize(
    ("version", "field"),
    [
        ("64.0.0", "license"),
        ("66.1.1", "license"),
        ("76.1", "license"),
        ("77.0.3", "license_expression"),
        ("84.2.1", "license_expression"),
    ],
)
def test_the_licence_is_told_as_setuptools_accepts_it(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch, version: str, field: str
) -> None:
    monkeypatch.setattr("setuptools.__version__", version)
    build.check_setuptools(["build_ext"])
    assert build.license_field() == {field: "Apache-2.0"}
    project = (ROOT / "pyproject.toml").read_text().split("[project]")[1].split("\n[")[0]
    assert not re.search(r"^license", project, re.MULTILINE), "as a string, setuptools below 77 refuses it"


@pytest.mark.parametrize("version", ["59.6.0", "63.4.3"])
def test_a_setuptools_that_is_too_old_ends_the_build_with_one_line(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr("setuptools.__version__", version)
    with pytest.raises(SystemExit, match=f"^setuptools: expected 64 or newer, got {version}; pip install --upgrade"):
        build.check_setuptools(["build_ext"])
    assert f'"setuptools>={build.OLDEST_SETUPTOOLS[0]}"' in (ROOT / "pyproject.toml").read_text()


def test_the_package_wheel_is_asked_for_where_setuptools_needs_it(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("setuptools.__version__", "70.0.0")
    build.check_setuptools(["build_ext", "--inplace"])
    with pytest.raises(
        SystemExit, match=r"^wheel: setuptools 70\.0\.0 needs .*; pip install wheel, or leave --no-build-isolation out$"
    ):
        build.check_setuptools(["bdist_wheel"])
    monkeypatch.setattr("setuptools.__version__", "70.1.0")
    build.check_setuptools(["bdist_wheel"])


@pytest.mark.long
@pytest.mark.parametrize("version", ["64.0.0", "65.5.0", "66.1.1", "70.0.0", "77.0.3", "newest"])
def test_setuptools_old_and_new_build_a_wheel(tmp_path: Path, version: str) -> None:
    wanted = "setuptools" if version == "newest" else f"setuptools=={version}"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(tmp_path / "tools"), wanted, "wheel"]
    environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    subprocess.run(command, env=environment, check=True)
    project = tmp_path / "project"
    for part in ("mirage", "mirage_kernels"):
        shutil.copytree(ROOT / part, project / part, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for part in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, project)
    (project / "csrc").mkdir()
    for part in ROOT.glob("csrc/*.py"):
        shutil.copy(part, project / "csrc")
    code = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    environment |= {"PYTHONPATH": str(tmp_path / "tools"), "MIRAGE_CPP": "0"}
    subprocess.run([sys.executable, "-c", code], cwd=project, env=environment, check=True)
    (wheel,) = (project / "dist").glob("mirage_kernels-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(re.search(r"dist-info/.*LICENSE$", name) for name in names)
