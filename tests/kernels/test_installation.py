# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Why there are no native kernels: the reason fits the installation, and says what to do."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from mirage_kernels import _gpu, _native_module, backend
from mirage_kernels.version import native_module, torch_release

PACKAGE = Path(backend.__file__).parent


def package(folder: Path, *, sources: bool = False) -> Path:
    """A package in a folder, with the files of a source tree beside it."""
    made = folder / "mirage_kernels"
    made.mkdir(parents=True)
    (made / "backend.py").touch()
    if sources:
        (folder / "setup.py").touch()
    return made


def test_an_installation_without_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = _native_module.why_missing(package(tmp_path))
    assert reason.startswith("mirage_kernels was installed without its native kernels; with a C++ compiler at hand, ")
    assert reason.endswith("pip install --no-cache-dir .")
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(package(tmp_path / "other", sources=True).parent)])
    assert _native_module.why_missing(tmp_path / "mirage_kernels") == reason


@pytest.mark.parametrize("link", [False, True])
def test_a_source_tree_that_hides_the_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: bool
) -> None:
    tree, installed = package(tmp_path / "my clone", sources=True), package(tmp_path / "site-packages")
    entries = [str(tree.parent), str(tmp_path / "none"), str(installed.parent)]
    if link:  # the same tree by another name is no other package
        (tmp_path / "link").symlink_to(tree.parent)
        entries.insert(0, str(tmp_path / "link"))
    monkeypatch.setattr(sys, "path", entries)
    assert _native_module.why_missing(tree) == (
        f"you are importing the source tree in {tree.parent}, which has no built kernels and hides the installed "
        f"package in {installed.parent}; leave this folder, or pip install -e ."
    )


def test_a_source_tree_that_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = package(tmp_path, sources=True)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    assert _native_module.why_missing(tree) == (
        f"you are importing the source tree in {tmp_path}, which has no built kernels; "
        "build them with pip install -e . in that folder"
    )


@pytest.mark.parametrize(("version", "name"), [
    ("2.4.0", "_C_torch2_4"), ("2.9.1+cu128", "_C_torch2_9"), ("2.10.0", "_C"), ("2.11.0a0+git12", "_C"), ("3.0", "_C"),
])  # fmt: skip
def test_each_older_torch_has_a_module_of_its_own(version: str, name: str) -> None:
    assert native_module(torch_release(version)) == name


@pytest.mark.parametrize(("release", "others", "reason"), [
    ("2.6.0+cu124", ["_C"], "built for torch 2.10 or newer, this is 2.6.0; "),
    ("2.9.1", ["_C_torch2_6"], "built for torch 2.6, this is 2.9.1; "),
    ("2.13.0", ["_C_torch2_4", "_C_torch2_6"], "built for torch 2.4 and torch 2.6, this is 2.13.0; "),
])  # fmt: skip
def test_kernels_that_were_built_beside_another_torch(
    release: str, others: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading them would crash. The reason is in words, and a warning says once that a slower backend runs."""
    monkeypatch.setattr(_native_module, "NAME", native_module(torch_release(release)))
    monkeypatch.setattr(_native_module.torch, "__version__", release)
    monkeypatch.setattr(_native_module, "PACKAGE", package(tmp_path))
    monkeypatch.setitem(sys.modules, f"mirage_kernels.{_native_module.NAME}", None)
    for name in others:
        (tmp_path / "mirage_kernels" / f"{name}{EXTENSION_SUFFIXES[-1]}").touch()
    with pytest.warns(RuntimeWarning, match="the native kernels are not used") as warned:
        module, found = _native_module.load()
    assert module is None
    assert found.startswith(reason)
    assert found.endswith("reinstall mirage_kernels from its sources with pip install --no-cache-dir .")
    assert len(warned) == 1
    assert found in str(warned[0].message)
    monkeypatch.setenv("MIRAGE_KERNELS_BACKEND", "reference")
    assert _native_module.load() == (None, found)  # no warning: pytest would raise it


def test_only_a_failure_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIRAGE_KERNELS_BACKEND", raising=False)
    monkeypatch.setattr(_native_module, "PACKAGE", package(tmp_path))
    monkeypatch.setitem(sys.modules, f"mirage_kernels.{_native_module.NAME}", None)
    assert _native_module.load() == (None, _native_module.why_missing(tmp_path / "mirage_kernels"))

    def fail(_: str) -> None:
        raise ImportError("undefined symbol: x")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.warns(RuntimeWarning, match="could not be loaded: undefined symbol: x"):
        assert _native_module.load() == (None, "the native kernels could not be loaded: undefined symbol: x")


@pytest.mark.parametrize(("version", "is_old"), [("3.0.0", True), ("3.3.1", True), ("3.4.0", False), ("3.10.1", False)])
def test_an_old_triton_is_not_used(version: str, is_old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: version)
    reason = _gpu.triton_too_old()
    assert (reason is not None) == is_old
    assert reason is None or f"this is {version}" in reason


@pytest.mark.skipif(not list(PACKAGE.glob("_C*.so")), reason="there are no native kernels")
def test_native_kernels_that_are_there_can_be_loaded() -> None:
    """Otherwise all their tests would be skipped. The binary names torch's libraries."""
    assert backend.backends()["cpp"] is None
    assert backend._native is not None
    binary = Path(str(backend._native.__file__)).read_bytes()
    assert b"\0libtorch_cpu.so\0" in binary
    assert b"\0libc10.so\0" in binary
