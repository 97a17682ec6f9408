# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A chain of filters, its JSON form, and an overlay that shows its result."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError, first_line
from ..geometry.grids import masked_cells
from ..io.files import read_text
from .consistency import ConsistencyFilter
from .geometry import EdgeFilter, FarFilter
from .motion import MotionFilter
from .observation import Filter, FilterResult, Observation, Reason
from .open_vocabulary import OpenVocabularyFilter
from .semantic import SemanticFilter
from .sky import SkyFilter

KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        ConsistencyFilter,
        EdgeFilter,
        FarFilter,
        MotionFilter,
        OpenVocabularyFilter,
        SemanticFilter,
        SkyFilter,
    )
}


MAX_TEXT, MAX_FILTERS = 1 << 20, 100


class Filters:
    """Runs several filters in order. The first one that marks a cell sets its reason.

    Args:
        filters: the filters. Without any, only the user's ``exclude`` mask applies.
    """

    def __init__(self, filters: Iterable[Filter] = ()) -> None:
        self.filters = tuple(filters)

    def __repr__(self) -> str:
        return f"Filters({list(self.filters)})"

    def __call__(self, observation: Observation) -> FilterResult:
        """Filter a frame. The user's masks take precedence over every filter, and ``exclude`` over ``keep``.

        Args:
            observation: the frame and what is known about it.
        """
        device = observation.frame.device
        reason = torch.zeros(observation.grid, dtype=torch.uint8, device=device)
        pixels = torch.zeros(observation.size, dtype=torch.uint8, device=device)
        if observation.exclude is not None:
            pixels[observation.exclude] = Reason.EXCLUDED
            reason[masked_cells(observation.exclude, observation.grid)] = Reason.EXCLUDED
        for apply in self.filters:
            marked = apply(observation)
            if marked.shape == observation.size:
                marked = marked if observation.keep is None else marked & ~observation.keep
                pixels[marked & (pixels == Reason.KEPT)] = apply.reason
                marked = masked_cells(marked, observation.grid, apply.max_masked)
            elif observation.keep is not None:
                marked = marked & masked_cells(~observation.keep, observation.grid)
            reason[marked & (reason == Reason.KEPT)] = apply.reason
        return FilterResult(reason, pixels)

    def to_json(self) -> str:
        """A JSON list of objects, one per filter: its class name as ``"filter"``, and all its settings."""
        return json.dumps(self.to_list(), indent=1)

    def to_list(self) -> list[dict[str, Any]]:
        """The list that :meth:`to_json` writes, as Python objects."""
        return [{"filter": type(part).__name__, **_settings(part)} for part in self.filters]

    @classmethod
    def from_json(cls, text: str) -> Filters:
        """Read the JSON that :meth:`to_json` writes. Settings that are left out take their defaults.

        Args:
            text: such as ``[{"filter": "EdgeFilter", "grazing": 80.0}, {"filter": "SkyFilter"}]``.

        Raises:
            DataError: the text is not a list of filters, or a filter or setting is unknown or of a wrong type.
        """
        if len(text) > MAX_TEXT:
            raise DataError(f"filters: expected a JSON list of at most {MAX_TEXT} characters, got {len(text)}")
        try:
            parts = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"filters: expected a JSON list, got invalid JSON ({first_line(error)[:200]})") from None
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise DataError(f"filters: expected a JSON list of objects, got {' '.join(text.split())[:60]}")
        if len(parts) > MAX_FILTERS:
            raise DataError(f"filters: expected at most {MAX_FILTERS}, got {len(parts)}")
        return cls(_filter(dict(part), number) for number, part in enumerate(parts))


def _settings(part: Filter) -> dict[str, Any]:
    settings: Any = part
    return {field.name: getattr(part, field.name) for field in dataclasses.fields(settings) if field.init}


# type annotation of a setting -> its types in JSON
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "int": (int,),
    "str": (str,),
    "tuple[str, ...]": (list,),
    "Category": (str,),
}


def _filter(part: dict[str, Any], index: int) -> Filter:
    name = part.pop("filter", None)
    if not isinstance(name, str) or name not in KINDS:
        raise DataError(f"filters[{index}]: expected one of {', '.join(KINDS)}, got {repr(name)[:60]}")
    types = {field.name: str(field.type) for field in dataclasses.fields(KINDS[name]) if field.init}
    for setting, value in part.items():
        if setting not in types:
            raise DataError(
                f"filters[{index}]: {name}: expected a setting among {', '.join(sorted(types))}, got "
                f"{repr(setting)[:60]}"
            )
        if not isinstance(value, _JSON_TYPES[types[setting]]) or isinstance(value, bool):
            raise DataError(f"filters[{index}]: {name}.{setting}: expected {types[setting]}, got {repr(value)[:60]}")
        part[setting] = tuple(value) if isinstance(value, list) else value
    try:
        made: Filter = KINDS[name](**part)
    except (TypeError, ValueError) as error:
        raise DataError(f"filters[{index}]: {name}: {error}") from None
    return made


def read_filters(path: str | Path) -> Filters:
    """Read filters from a JSON file, and check that the weights that they need are there.

    Args:
        path: a file as :meth:`Filters.to_json` writes it.

    Raises:
        DataError: the file is missing or no list of filters, a setting is out of range, or a folder of weights is
            missing.
    """
    text = read_text(Path(path), "filters")
    try:
        filters = Filters.from_json(text)
        for index, part in enumerate(filters.filters):
            if isinstance(part, (SemanticFilter, OpenVocabularyFilter)):
                try:
                    part.check_files()
                except DataError as error:
                    raise DataError(f"filters[{index}]: {type(part).__name__}: {error}") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return filters


def overlay(frame: Tensor, result: FilterResult) -> Tensor:
    """Tint the excluded cells of a frame with the color of their reason.

    Args:
        frame: (3, H, W) float, 0 to 1.
        result: of the same frame.

    Returns:
        (3, H, W), 0 to 1; see :data:`REASON_COLORS`.
    """
    tint = torch.tensor(list(REASON_COLORS.values()), device=frame.device, dtype=torch.float32)
    h, w = result.reason.shape
    # For display only: if the grid does not divide the frame, a pixel on a border may get its neighbor's color.
    rows = (torch.arange(frame.shape[1], device=frame.device, dtype=torch.int64) * h) // frame.shape[1]
    columns = (torch.arange(frame.shape[2], device=frame.device, dtype=torch.int64) * w) // frame.shape[2]
    reason = result.reason.long()[rows[:, None], columns]
    return torch.where(reason == Reason.KEPT, frame, 0.45 * frame + 0.55 * tint[reason].movedim(-1, 0))


REASON_COLORS = {
    Reason.KEPT: (0.0, 0.0, 0.0),
    Reason.EXCLUDED: (0.6, 0.6, 0.6),
    Reason.SKY: (0.1, 0.5, 1.0),
    Reason.MOVING: (1.0, 0.15, 0.15),
    Reason.INCONSISTENT: (1.0, 0.6, 0.0),
    Reason.EDGE: (0.9, 0.9, 0.1),
    Reason.FAR: (0.6, 0.2, 0.9),
}
