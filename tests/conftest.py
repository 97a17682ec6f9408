# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib.util
import os
import resource
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("mirage", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("mirage")


def find_torchvision() -> None:
    """Make torchvision importable, be it built for another torch.

    The torchvision of PyPI is built for CUDA. Beside a CPU-only torch its binary does not load, and then its import
    fails, because it describes operators of that binary. What the processors of transformers use of it, resizing and
    normalising, is Python on torch's own operators; so the operators are declared here, without any implementation: a
    call to one is an error. `make env` puts that torchvision where only the tests find it, and it has to be
    found before anything imports transformers.
    """
    sys.path.append(str(Path(sys.prefix, "tests")))
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    try:
        torch.ops.load_library(Path(spec.origin).with_name("_C.so"))
    except OSError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


find_torchvision()


def let_programs_find_the_packages() -> None:
    """Programs that tests start import the packages that the tests import, also where nothing is installed: a script is
    started with its own folder on the path, not with the checkout's."""
    package = importlib.util.find_spec("mirage_kernels")
    assert package is not None
    assert package.origin is not None
    root = str(Path(package.origin).resolve().parents[1])
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))


let_programs_find_the_packages()


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Whatever a test does to the number of threads ends with it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def file_limit() -> Callable[[int], AbstractContextManager[None]]:
    """A context in which no file can be longer than some bytes: writing fails as on a full disk."""

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # Python ignores the signal
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real recordings. Without MIRAGE_DATA such tests are skipped; with it, a missing folder is a
    failure."""
    root = os.environ.get("MIRAGE_DATA")
    if not root:
        pytest.skip("MIRAGE_DATA is not set: it names the folder of real recordings")
    return Path(root)


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Record a line that is printed at the end: what a test has counted."""
    return lambda line: record_property("figures", line)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    lines = [value for report in reports for name, value in report.user_properties if name == "figures"]
    if lines:
        terminalreporter.section("figures")
        for line in sorted(lines):
            terminalreporter.write_line(line)
