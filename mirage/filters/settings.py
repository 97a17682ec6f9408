# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the settings of filters. A setting out of range fails when the filter is made, not at the first frame."""

from __future__ import annotations

from typing import Any

from mirage_kernels import check

from ..errors import DataError

MAX_PIXELS = 64  # of windows, margins and steps; the time grows with them
MAX_DISTANCE = 1e9  # world units
FRACTION = (0.0, 1.0)


def check_settings(part: Any, **limits: tuple[float, float]) -> None:
    """Check settings that are numbers.

    Args:
        part: a filter. A setting that is None is not checked.
        limits: smallest and largest value by the name of the setting; a setting whose limits are integers must be one.

    Raises:
        DataError: a setting is of another type, not finite, or out of range; the message names it.
    """
    for name, (low, high) in {"max_masked": FRACTION, **limits}.items():
        value = getattr(part, name)
        if value is None:
            continue
        try:
            if isinstance(low, int):
                check.integer(name, value, low, int(high))
            else:
                check.number(name, value, low, high)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(str(error)[:200]) from None


def check_texts(part: Any, *names: str) -> None:
    """Check settings that are texts, or several texts.

    Args:
        part: a filter.
        names: of its settings.

    Raises:
        DataError: one is empty or of another type.
    """
    for name in names:
        value = getattr(part, name)
        for text in value if isinstance(value, (tuple, list)) else (value,):
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"{name}: expected a text, got {str(text)[:60]!r}")
