# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Filters one after the other, and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError
from ..geometry.grids import masked_cells
from .consistency import ConsistencyFilter
from .geometry import EdgeFilter, FarFilter
from .motion import MotionFilter
from .observation import Filter, Observation, Reason, Verdict
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


class Filters:
    """Several filters as one. What the user excludes comes first, then they go in their order: the first to put a cell
    out names the reason.

    Args:
        filters: as many as wanted; none leaves what the user excludes.
    """

    def __init__(self, filters: Iterable[Filter] = ()) -> None:
        self.filters = tuple(filters)

    def __repr__(self) -> str:
        return f"Filters({list(self.filters)})"

    def __call__(self, observation: Observation) -> Verdict:
        """Judge a frame. The user's masks win over every filter, and ``exclude`` over ``keep``."""
        device = observation.frame.device
        reason = torch.zeros(observation.grid, dtype=torch.uint8, device=device)
        pixels = torch.zeros(observation.size, dtype=torch.uint8, device=device)
        if observation.exclude is not None:
            pixels[observation.exclude] = Reason.EXCLUDED
            reason[masked_cells(observation.exclude, observation.grid)] = Reason.EXCLUDED
        for one in self.filters:
            marked = one(observation)
            if marked.shape == observation.size:
                marked = marked if observation.keep is None else marked & ~observation.keep
                pixels[marked & (pixels == Reason.KEPT)] = one.reason
                marked = masked_cells(marked, observation.grid, one.max_masked)
            elif observation.keep is not None:
                marked = marked & masked_cells(~observation.keep, observation.grid)
            reason[marked & (reason == Reason.KEPT)] = one.reason
        return Verdict(reason, pixels)

    def to_json(self) -> str:
        """A list of objects: the filter's name, and every setting."""
        return json.dumps(self.to_list(), indent=1)

    def to_list(self) -> list[dict[str, Any]]:
        """What :meth:`to_json` writes, as objects."""
        return [{"filter": type(one).__name__, **_settings(one)} for one in self.filters]

    @classmethod
    def from_json(cls, text: str) -> Filters:
        """What :meth:`to_json` wrote, or a person; settings that are left out have their defaults.

        Raises:
            DataError: it is no such list, or names what is not there.
        """
        try:
            parts = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"filters: expected a list as JSON, got something else ({error})") from None
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise DataError(f"filters: expected a list of objects, got {text.strip()[:60]}")
        return cls(_filter(dict(part)) for part in parts)


def _settings(one: Filter) -> dict[str, Any]:
    settings: Any = one
    return {field.name: getattr(one, field.name) for field in dataclasses.fields(settings) if field.init}


# of settings: what JSON has for them
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "int": (int,),
    "str": (str,),
    "tuple[str, ...]": (list,),
}


def _filter(part: dict[str, Any]) -> Filter:
    name = part.pop("filter", None)
    if name not in KINDS:
        raise DataError(f"filter: expected one of {', '.join(KINDS)}, got {name!r}")
    types = {field.name: str(field.type) for field in dataclasses.fields(KINDS[name]) if field.init}
    for setting, value in part.items():
        if setting not in types:
            raise DataError(f"{name}: expected settings among {', '.join(sorted(types))}, got {setting!r}")
        if not isinstance(value, _JSON_TYPES[types[setting]]) or isinstance(value, bool):
            raise DataError(f"{name}.{setting}: expected {types[setting]}, got {value!r}")
        part[setting] = tuple(value) if isinstance(value, list) else value
    try:
        one: Filter = KINDS[name](**part)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: {error}") from None
    return one


def overlay(frame: Tensor, verdict: Verdict) -> Tensor:
    """A frame (3, H, W) with every cell that is out tinted by its reason: see :data:`COLORS`."""
    tint = torch.tensor(list(COLORS.values()), device=frame.device)
    h, w = verdict.reason.shape
    # for the eye only: on a grid that does not divide, a pixel on a border may take the neighbour's colour
    rows = (torch.arange(frame.shape[1], device=frame.device) * h) // frame.shape[1]
    columns = (torch.arange(frame.shape[2], device=frame.device) * w) // frame.shape[2]
    reason = verdict.reason.long()[rows[:, None], columns]
    return torch.where(reason == Reason.KEPT, frame, 0.45 * frame + 0.55 * tint[reason].movedim(-1, 0))


COLORS = {
    Reason.KEPT: (0.0, 0.0, 0.0),
    Reason.EXCLUDED: (0.6, 0.6, 0.6),
    Reason.SKY: (0.1, 0.5, 1.0),
    Reason.MOVING: (1.0, 0.15, 0.15),
    Reason.INCONSISTENT: (1.0, 0.6, 0.0),
    Reason.EDGE: (0.9, 0.9, 0.1),
    Reason.FAR: (0.6, 0.2, 0.9),
}
