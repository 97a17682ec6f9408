# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Filters as JSON."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch

from mirage.errors import DataError
from mirage.filters import (
    ConsistencyFilter,
    EdgeFilter,
    FarFilter,
    Filters,
    MotionFilter,
    Observation,
    OpenVocabularyFilter,
    SemanticFilter,
    SkyFilter,
    read_filters,
)
from mirage_kernels import testing


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


ODD = [None, True, "1", [], {}, float("nan"), float("inf"), -1, -0.5, 0.5, 1e300, 10**30, 2**63]


def test_every_setting_is_in_range_or_refused() -> None:
    """What is accepted runs on a frame; what is not is an error of one line that names the setting."""
    frame = Observation(torch.rand(3, 12, 16), testing.plain_cameras(1, (12, 16)), (3, 4), depth=torch.rand(12, 16) + 1)
    refused, accepted = [], 0
    for kind in (ConsistencyFilter, EdgeFilter, FarFilter, MotionFilter, SkyFilter):
        for field in dataclasses.fields(kind):
            for value in ODD:
                required = {"distance": 1.0} if kind is FarFilter else {}
                text = json.dumps([{"filter": kind.__name__, **required, field.name: value}])
                try:
                    filters = Filters.from_json(text)
                except DataError as error:
                    refused.append((f"{kind.__name__}[:.] ?{field.name}", str(error)))
                else:
                    filters(frame)
                    accepted += 1
    for name, message in refused:
        assert re.fullmatch(rf"filters\[0\]: {name}: expected .{{,250}}", message)
    assert accepted == 19
    assert len(refused) > 200


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "filters: expected a JSON list, got invalid JSON"),
        ("[" + "9" * 5000 + "]", "filters: expected a JSON list, got invalid JSON"),
        (" " * (1 << 20) + "[]", "filters: expected a JSON list of at most 1048576 characters"),
        (json.dumps([{"filter": "EdgeFilter"}] * 101), "filters: expected at most 100, got 101"),
        ('[{"filter": ["EdgeFilter"]}]', r"filters\[0\]: expected one of"),
        ('[{"filter": "SemanticFilter", "model": "x", "classes": []}]', "classes: expected at least one, got none"),
        ('[{"filter": "SemanticFilter", "model": "x", "classes": [1]}]', "classes: expected a text, got '1'"),
        ('[{"filter": "SemanticFilter", "model": " ", "classes": ["a"]}]', "model: expected a text, got ' '"),
        ('[{"filter": "SemanticFilter", "model": "x", "classes": ["a"], "margin": -1}]', "margin: expected 0 to 64"),
        ('[{"filter": "OpenVocabularyFilter", "segmenter": ""}]', "segmenter: expected a text, got ''"),
    ],
)
def test_odd_files_are_errors_of_one_line(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        Filters.from_json(text)
    assert "\n" not in str(error.value)


def test_missing_weights_are_found_when_the_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "filters.json"
    for part in (
        SemanticFilter("no/folder", ("person",)),
        OpenVocabularyFilter("no/folder", question="", names=("a",)),
    ):
        path.write_text(Filters([EdgeFilter(), part]).to_json())
        with pytest.raises(
            DataError, match=rf"filters.json: filters\[1\]: {type(part).__name__}: .*: expected a folder with config"
        ):
            read_filters(path)
    path.write_text(Filters([EdgeFilter()]).to_json())
    assert read_filters(path).filters == (EdgeFilter(),)
