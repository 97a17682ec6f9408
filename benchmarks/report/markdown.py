# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Words of a report: numbers with units, tables, paragraphs, figures."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

WIDTH = 120


def duration(seconds: float) -> str:
    """Three digits, with a unit."""
    unit, scale = ("s", 1.0) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("µs", 1e6)
    return f"{digits(seconds * scale)} {unit}"


def digits(value: float, count: int = 3) -> str:
    """So many digits that count; before the point all of them."""
    size = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{max(0, count - 1 - size)}f}" if value else "0"


def ratio(value: float) -> str:
    """Two digits that count, or all before the point; near 1 two places."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 1.95 else f"{value:.2f}"


def bare(value: float, places: int = 3) -> str:
    """A share without the zero before its point."""
    return f"{value:.{places}f}".removeprefix("0")


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A table; columns whose head begins with ``>`` are set to the right."""
    names = [name.removeprefix(">") for name in head]
    lines = [_row(names), "|" + "|".join("---:" if name.startswith(">") else "---" for name in head) + "|"]
    return lines + [_row(["" if cell is None else str(cell) for cell in row]) for row in rows]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def paragraph(text: str, first: str = "", rest: str = "") -> list[str]:
    """Lines of a paragraph or, with ``first`` and ``rest``, of an item."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def item(text: str) -> list[str]:
    return paragraph(text, "* ", "  ")


def figure(name: str, what: str, caption: str) -> list[str]:
    """A picture of the folder ``results`` and under it its caption."""
    return [f"![{what}](results/{name})", "", *paragraph(f"*{what}. {caption}*"), ""]


def folded(title: str, lines: list[str]) -> list[str]:
    """Lines that a reader has to open."""
    return ["<details>", f"<summary>{title}</summary>", "", *lines, "", "</details>"]
