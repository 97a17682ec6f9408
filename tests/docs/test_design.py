# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The pages about the code name files and functions that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/design/*.md"))]
ROW = re.compile(r"^\| \d+ \| `(\w+)` \| `([\w/.]+)` \|$", re.MULTILINE)
PARTS = ("benchmarks/", "csrc/", "docs/", "mirage/", "mirage_kernels/", "tests/", ".ci/", "examples/")


def lacking(page: str) -> list[str]:
    """Files that a page names in backquotes and that are not there."""
    text = re.sub(r"```.*?```", "", page, flags=re.DOTALL)
    named = {name for name in re.findall(r"`([\w./]+)`", text) if name.startswith(PARTS)}
    return sorted(name for name in named if not (ROOT / name).exists())


def strangers(page: str) -> list[str]:
    """Rows of call paths whose file has no such function."""
    rows: list[tuple[str, str]] = ROW.findall(page)
    return [f"{name} in {file}" for name, file in rows if not re.search(rf"\b{name}\(", (ROOT / file).read_text())]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_files_that_are_named_exist(page: Path) -> None:
    assert lacking(page.read_text()) == []


def test_functions_of_call_paths_exist() -> None:
    page = (ROOT / "docs" / "design" / "call_paths.md").read_text()
    assert len(ROW.findall(page)) > 20
    assert strangers(page) == []


def test_what_is_not_there_is_noticed() -> None:
    assert lacking("`csrc/nothing.h` and `csrc/overlap/overlap.h`") == ["csrc/nothing.h"]
    assert strangers(
        "| 1 | `nothing` | `csrc/overlap/overlap.h` |\n| 2 | `count_bits` | `csrc/overlap/overlap.h` |"
    ) == ["nothing in csrc/overlap/overlap.h"]
