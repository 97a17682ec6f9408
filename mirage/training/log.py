# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The log of a run: a JSON object per line, and the trackers of accelerate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from mirage_kernels import atomic_write

__all__ = ["RunLog", "read_log"]


def read_log(path: Path) -> list[dict[str, Any]]:
    """Read a log. A line that was cut off when the process was killed is left out."""
    entries = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), int):
            entries.append(entry)
    return entries


class RunLog:
    """Writes the log of a run, in the main process.

    Args:
        path: the file, one JSON object per line with the number of the step.
        accelerator: its trackers get the same values.
    """

    def __init__(self, path: Path, accelerator: Accelerator) -> None:
        self.path, self._accelerator = path, accelerator

    def keep_until(self, step: int) -> None:
        """Remove the entries after a step, which a run that is resumed writes again."""
        if not self._accelerator.is_main_process or not self.path.exists():
            return
        kept = [json.dumps(entry) + "\n" for entry in read_log(self.path) if entry["step"] <= step]
        with atomic_write(self.path) as partial:
            partial.write_text("".join(kept))

    def add(self, step: int, values: dict[str, float]) -> None:
        """Add values."""
        if not values:
            return
        if self._accelerator.is_main_process:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
        self._accelerator.log(values, step=step)
