# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import mirage_kernels as mk


@pytest.fixture
def native() -> None:
    """Skip where there are no native kernels to compare."""
    reason = mk.backends()["cpp"]
    if reason is not None:
        pytest.skip(f"backend cpp: {reason}")


@pytest.fixture
def every_way() -> Callable[[Callable[[], Any]], Iterator[tuple[str, Any]]]:
    """Runs a function with the native kernels in every instruction set, on 1 and on 2 threads."""

    def run(function: Callable[[], Any]) -> Iterator[tuple[str, Any]]:
        sets = mk.instruction_sets()
        try:
            with mk.use_backend("cpp"):
                for name in sets:
                    mk.use_instruction_set(name)
                    for threads in (1, 2):
                        torch.set_num_threads(threads)
                        yield f"{name} on {threads} threads", function()
        finally:
            mk.use_instruction_set(sets[-1])

    return run
