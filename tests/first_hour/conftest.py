# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a new user tries in the first hour. A table at the end of the run shows each try, and what it gave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

ROW = "first hour"


@pytest.fixture
def tried(record_property: Callable[[str, object], None]) -> Callable[[str, str, str], None]:
    """Record a row of the table: what was tried, what it gave before issue 17, and what it gives now."""

    def record(what: str, before: str, after: str) -> None:
        record_property(ROW, (what, before, " ".join(after.split())))

    return record


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    rows = [value for report in reports for name, value in report.user_properties if name == ROW]
    if rows:
        terminalreporter.section("the first hour: try | before | after")
        for row in sorted({tuple(row) for row in rows}):
            terminalreporter.write_line(f"| {' | '.join(row)} |")
