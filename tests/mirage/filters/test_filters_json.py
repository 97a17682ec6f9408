# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Filters as JSON."""

from __future__ import annotations

import pytest

from mirage.errors import DataError
from mirage.filters import (
    ConsistencyFilter,
    EdgeFilter,
    FarFilter,
    Filters,
    MotionFilter,
    OpenVocabularyFilter,
    SemanticFilter,
    SkyFilter,
)


def test_filters_are_saved_and_read() -> None:
    filters = Filters(
        [
            SkyFilter(far=80.0), SemanticFilter("weights", ("person", "car")), OpenVocabularyFilter("sam3", "qwen"),
            MotionFilter(tolerance=0.2), ConsistencyFilter(min_views=2), EdgeFilter(min_step=0.05), FarFilter(30.0),
        ]
    )  # fmt: skip
    assert Filters.from_json(filters.to_json()).filters == filters.filters
    assert Filters.from_json('[{"filter": "EdgeFilter"}]').filters == (EdgeFilter(),)
    assert Filters.from_json("[]").filters == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "filters: expected a JSON list, got invalid JSON"),
        ("{}", "filters: expected a JSON list of objects, got {}"),
        ('[{"filter": "Blur"}]', r"filters\[0\]: expected one of ConsistencyFilter, .*, got 'Blur'"),
        ('[{"filter": "EdgeFilter", "step": 1}]', "EdgeFilter: expected a setting among grazing, .*, got 'step'"),
        ('[{}, {"filter": "EdgeFilter"}]', r"filters\[0\]: expected one of"),
        (
            '[{"filter": "EdgeFilter"}, {"filter": "EdgeFilter", "min_step": "1"}]',
            r"filters\[1\]: EdgeFilter.min_step: expected float, got '1'",
        ),
        (
            '[{"filter": "SemanticFilter", "model": "x", "classes": ["sky"], "category": "far"}]',
            "SemanticFilter: category: expected 'moving' or 'sky', got 'far'",
        ),
        ('[{"filter": "FarFilter"}]', "FarFilter: .*distance"),
        ('[{"filter": "FarFilter", "distance": -1}]', "FarFilter: distance: expected more than 0, got -1"),
        ('[{"filter": "SemanticFilter", "model": "x", "classes": "sky"}]', "SemanticFilter.classes: expected tuple"),
    ],
)
def test_bad_settings_are_errors_of_one_line(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        Filters.from_json(text)
    assert "\n" not in str(error.value)
