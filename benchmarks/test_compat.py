# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The stand-ins for functions of other world models, beside the methods that they replace in plain PyTorch or NumPy."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from benchmarks import compat_cases, scenes
from benchmarks.timing import Case, time_case

SCENE = scenes.scenes()[-1]


@cache
def pair(name: str) -> compat_cases.Pair:
    return compat_cases.pairs(SCENE)[name]()


@pytest.mark.filterwarnings("ignore:index_reduce:UserWarning")  # of the original's method
@pytest.mark.parametrize("name", compat_cases.pairs(SCENE))
@pytest.mark.parametrize("method", ["ours", "the original's"])
def test_stand_in(benchmark: Any, name: str, method: str) -> None:
    both = pair(name)

    def compare(ours: Any) -> None:
        theirs = both.theirs(*both.prepare()[1])
        share = both.compare(ours, theirs)
        assert share <= both.limit, f"{share:.2%} of the values differ from those of the original's method"

    if method == "ours":
        case = Case(name, SCENE, both.size, both.ours, compare, lambda: both.prepare()[0])
        time_case(benchmark, case, "cpp")
    else:
        case = Case(name, SCENE, both.size, both.theirs, lambda _: None, lambda: both.prepare()[1])
        time_case(benchmark, case, method, "method")
