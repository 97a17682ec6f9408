# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Why there are no native kernels: the reason fits the installation, and says what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mirage_kernels import _native_module, backend

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


@pytest.mark.skipif(not list(PACKAGE.glob("_C*.so")), reason="there are no native kernels")
def test_native_kernels_that_are_there_can_be_loaded() -> None:
    """Otherwise all their tests would be skipped. The binary names torch's libraries."""
    assert backend.backends()["cpp"] is None
    binary = next(PACKAGE.glob("_C*.so")).read_bytes()
    assert b"\0libtorch_cpu.so\0" in binary
    assert b"\0libc10.so\0" in binary
