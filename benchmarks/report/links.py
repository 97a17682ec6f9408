# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Links from a report to files, wherever the report lies."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def relative(path: Path, start: Path) -> str:
    """The path of a file as seen from a folder."""
    return Path(os.path.relpath(path.resolve(), start.resolve())).as_posix()
