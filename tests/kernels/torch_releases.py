# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Tests of what older releases of torch do not have."""

from __future__ import annotations

import pytest
import torch

from mirage_kernels.version import torch_release

TORCH = torch_release(torch.__version__)


def since(major: int, minor: int, what: str) -> pytest.MarkDecorator:
    """Skip a test where torch is older than the first release, of .ci/torches.txt, that has what it tests."""
    return pytest.mark.skipif(
        (major, minor) > TORCH, reason=f"torch {major}.{minor} is the first tested one with {what}"
    )


# In older ones, torch.compile leaves the graph to make an object with __new__, and recompiles for each float.
whole_graphs = since(2, 9, "whole graphs of programs that make cameras or export them")
# In older ones, torch.export in strict mode takes no tensor that a program finds in a variable of its module.
exports_of_variables = since(2, 10, "exports of tensors in variables")
