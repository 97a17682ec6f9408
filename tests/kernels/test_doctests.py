# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The examples in the docstrings of ``mirage_kernels`` run and print what they show."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re

import pytest

import mirage_kernels

MODULES = [
    module.name
    for module in pkgutil.walk_packages(mirage_kernels.__path__, "mirage_kernels.")
    if not re.search(r"_triton$|_triton_common$|_C(_torch\d+_\d+)?$|__main__$", module.name)
]
# The functions and classes that a user calls first.
ENTRY_POINTS = [
    *("Cameras", "Cameras.flow", "Cameras.look_at", "Cameras.project"),
    *("VoxelCache", "VoxelCache.carve", "VoxelCache.evict", "VoxelCache.save", "VoxelCache.splat_surface"),
    *(
        "associate",
        "backends",
        "blend_cells",
        "cell_offsets",
        "composite",
        "group_voxels",
        "overlap",
        "pool_depth",
        "quantize",
        "save_tensors",
        "splat",
        "unproject",
        "use_backend",
    ),
    "visible",
]


@pytest.mark.parametrize("name", ["mirage_kernels", *MODULES])
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_entry_points_have_an_example(name: str) -> None:
    value: object = mirage_kernels
    for part in name.split("."):
        value = getattr(value, part)
    assert ">>>" in (value.__doc__ or "")


FUNCTIONS = [name for name in mirage_kernels.__all__ if inspect.isfunction(getattr(mirage_kernels, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_document_their_arguments(name: str) -> None:
    function = getattr(mirage_kernels, name)
    documentation, parameters = function.__doc__ or "", inspect.signature(function).parameters
    assert all(f"        {parameter}:" in documentation for parameter in parameters)
    assert not parameters or "Args:" in documentation
    assert not parameters or "Raises:" in documentation
