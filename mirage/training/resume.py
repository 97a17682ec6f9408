# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What must be the same in a run that goes on from an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .recipe import STAGES, Recipe, StageName

__all__ = ["describe_stage", "find_difference"]

# What may differ, besides the number of steps.
FREE = (
    "stages", "workers", "log_every", "checkpoint_every", "keep_checkpoints", "validate_every", "validation_samples",
    "validation_steps",
)  # fmt: skip


def describe_stage(recipe: Recipe, stage: StageName, processes: int, data: str) -> dict[str, Any]:
    """Return what determines the weights of a stage after each step, as JSON values.

    Args:
        recipe: the recipe.
        stage: the stage.
        processes: number of processes.
        data: fingerprint of the data.
    """
    values = {name: value for name, value in recipe.to_dict().items() if name not in FREE}
    settings = recipe.stage(stage)
    kept = {name: value for name, value in values.items() if name not in STAGES}
    free = {"batch_size", "accumulate"} | ({"steps"} if settings.schedule == "constant" else set())
    kept[stage] = {name: value for name, value in values[stage].items() if name not in free}
    kept["samples per step"] = settings.batch_size * settings.accumulate * processes
    if stage == "base":  # which is trained without a memory
        del kept["keep_known"], kept[stage]["known_weight"]
    else:
        del kept["backbone"]
    result: dict[str, Any] = _plain({**kept, "data": data})
    return result


def find_difference(stored: Any, new: Mapping[str, Any], where: str = "") -> str | None:
    """Find the first value that differs.

    Args:
        stored: of the earlier run.
        new: of this one.
        where: name of the tables that the values are in, with a dot.

    Returns:
        Its name and both values in words; None if all are the same.

    Example:
        >>> find_difference({"adapter": {"steps": 3}}, {"adapter": {"steps": 5}})
        'adapter.steps 3 instead of 5'
    """
    for name, value in new.items():
        got = stored.get(name) if isinstance(stored, Mapping) else None
        if isinstance(value, Mapping):
            found = find_difference(got, value, f"{where}{name}.")
            if found is not None:
                return found
        elif got != value:
            return f"{where}{name} {str(got)[:60]} instead of {str(value)[:60]}"
    return None


def _plain(value: Any) -> Any:
    """A value as JSON returns it."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
