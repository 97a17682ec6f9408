# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Hypothesis generates the sizes of a case and a seed; mirage_kernels.testing makes the tensors, so that failures
shrink."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from mirage_kernels import testing

DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float16])
SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(1, 17)
FLOATS = st.floats(width=32)
fixture_is_pure = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def examples(count: int) -> int:
    """How many examples a test takes: ``count``, or MIRAGE_EXAMPLES (make sanitize: few; make test-long: many)."""
    return int(os.environ.get("MIRAGE_EXAMPLES", count))


def f32(x: float) -> float:
    return float(np.float32(x))


# extent and radius
DISCS = [(extent, radius) for extent in ("none", "discs") for radius in (0.3, 0.71, 2.5, 40.0)]
SHAPES = st.sampled_from([("none", 0.0), ("one", 0.0), ("each", 0.0), *DISCS])


# numbers of points; the last ones are large enough to be split among threads
NUMBERS = st.one_of(st.integers(0, 40), st.integers(0, 700), st.sampled_from([255, 256, 257, 6000]))


CHANNELS = st.one_of(st.integers(0, 20), st.sampled_from([16, 32, 48, 64, 1000]))


def splat_cases(
    shapes: st.SearchStrategy[tuple[str, float]] = SHAPES,
    boxes: bool = False,
    n: st.SearchStrategy[int] = NUMBERS,
    channels: st.SearchStrategy[int] = CHANNELS,
) -> st.SearchStrategy[testing.SplatCase]:
    def build(shape: tuple[str, float], **options: Any) -> testing.SplatCase:
        return testing.splat_case(extent=shape[0], radius=shape[1], **options)

    return st.builds(
        build,
        shape=shapes,
        seed=SEEDS,
        n=n,
        views=st.integers(1, 4),
        size=st.tuples(SIDES, SIDES),
        channels=channels,
        dtype=DTYPES,
        kind=st.sampled_from(testing.POINT_KINDS),
        valid=st.booleans(),
        boxes=st.just(boxes),
        strided=st.booleans(),
        near=st.sampled_from([1e-6, 1e-6, 0.25, 1.0, 1.7]),
    )


def visible_cases() -> st.SearchStrategy[testing.VisibleCase]:
    return st.builds(
        testing.visible_case,
        SEEDS,
        # the last sizes are large enough to be split among threads
        n=st.one_of(st.integers(0, 40), st.integers(0, 700), st.sampled_from([255, 256, 257, 20_001])),
        views=st.integers(0, 4),
        size=st.tuples(SIDES, SIDES),
        kind=st.sampled_from(testing.POINT_KINDS),
        valid=st.booleans(),
        num_groups=st.one_of(st.none(), st.integers(0, 300), st.sampled_from([63, 64, 65, 5000])),
        strided=st.booleans(),
    )


def unproject_cases() -> st.SearchStrategy[testing.UnprojectCase]:
    return st.builds(
        testing.unproject_case,
        SEEDS,
        batch=st.integers(0, 3),
        size=st.tuples(st.integers(1, 40), st.integers(1, 70)),
        grid=st.tuples(SIDES, SIDES),
        channels=st.one_of(st.integers(0, 20), st.sampled_from([48, 1000])),
        dtype=DTYPES,
        kind=st.sampled_from(["smooth", "steps", "wild"]),
        mask=st.booleans(),
        strided=st.booleans(),
        pooling=st.sampled_from(["median", "nearest", "min", "bilinear"]),
        min_valid=st.integers(1, 6),
        max_masked=st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]),
    )
