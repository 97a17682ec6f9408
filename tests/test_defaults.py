# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Nothing depends on torch's default dtype or default device: every new tensor names both."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from under_other_defaults import results

from mirage_kernels.testing import same_bits

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*ROOT.glob("mirage_kernels/**/*.py"), *ROOT.glob("mirage/**/*.py")])

# What makes a tensor in torch's namespace.
FACTORIES = {
    *("tensor", "as_tensor", "asarray", "scalar_tensor", "empty", "zeros", "ones", "full", "eye", "arange", "linspace"),
    *("logspace", "range", "rand", "randn", "randint", "randperm", "empty_strided", "normal", "tril_indices"),
    *("triu_indices", "hann_window", "hamming_window", "blackman_window", "bartlett_window", "kaiser_window"),
    *("Generator", "FloatTensor", "DoubleTensor", "Tensor"),
}
# What a factory has to name, if not both. Those that convert keep the dtype of what they are given.
NAMED = {"Generator": {"device"}, "as_tensor": {"device"}, "asarray": {"device"}}


def factories(source: str) -> list[tuple[int, str, set[str]]]:
    """Find the calls of factories: line, name, and which of dtype and device are missing."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        name, owner = node.func.attr, node.func.value
        if not (isinstance(owner, ast.Name) and owner.id == "torch" and name in FACTORIES):
            continue
        keywords = {keyword.arg for keyword in node.keywords}
        if None not in keywords:  # **options names what it holds
            missing = NAMED.get(name, {"dtype", "device"}) - keywords
            if name == "Generator" and node.args:
                missing = set()
            if missing:
                found.append((node.lineno, name, missing))
    return found


def test_the_search_finds_what_is_missing() -> None:
    source = "torch.zeros(3)\ntorch.eye(3, dtype=d)\ntorch.full((), 1, dtype=d, device=e)\ntorch.Generator()\nx.ones(3)"
    found = [(1, "zeros", {"dtype", "device"}), (2, "eye", {"device"}), (4, "Generator", {"device"})]
    assert factories(source) == found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_new_tensors_name_dtype_and_device(path: Path) -> None:
    assert factories(path.read_text()) == []


def test_results_do_not_depend_on_the_defaults(tmp_path: Path) -> None:
    """The program sets them before its first import, so this covers importing as well."""
    program = Path(__file__).with_name("under_other_defaults.py")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path / "found.pt")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found, expected = torch.load(tmp_path / "found.pt"), results()
    assert list(found) == list(expected)
    wrong = [n for n, x in found.items() if x.dtype != expected[n].dtype or not same_bits(x, expected[n])]
    assert wrong == []
