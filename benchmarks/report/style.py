# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""How figures look: legible in greyscale, with what was measured where written under them."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.report.captions import caption
from benchmarks.report.read import Source

DPI = 110
SMALL = 7.0  # points
COLORS = 128
CHARACTERS = 17.4  # of the caption in an inch


class FrameObservation(NamedTuple):
    """Of one memory: apart by lightness, by marker and line, and by hatching."""

    colour: str
    marker: str
    line: str
    hatch: str


LOOKS = {
    "ours": FrameObservation("#12355b", "o", "-", ""),
    "append-only": FrameObservation("#c8553d", "s", "--", "//"),
    "RGB points": FrameObservation("#b9b4a7", "^", "-.", ""),
}
ACCENT, GREY = "#12355b", "0.45"


def panels(count: int, height: float = 4.3, width: float = 11.0) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side; inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = [figure.add_subplot(1, count, number + 1) for number in range(count)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3, linewidth=0.6)
        axis.set_axisbelow(True)
    return figure, axes


def finish(figure: Figure, source: Source, path: Path) -> None:
    """Write the caption under a figure, and the figure to a file that depends on nothing else."""
    text = textwrap.fill(caption(source), round(figure.get_figwidth() * CHARACTERS))
    figure.supxlabel(text, x=0.01, ha="left", fontsize=SMALL, color="0.3", linespacing=1.3)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DPI)
    # A palette is enough for a drawing, and half the bytes; nothing of who drew it and when is kept.
    Image.open(drawn).convert("RGB").quantize(COLORS).save(path, optimize=True)


def label_ends(axis: Axes, ends: Iterable[tuple[str, float, float, str]], gap: float = 11.0) -> None:
    """Write names to the right of where lines end, one above the other where they would meet.

    Args:
        ends: name, x, y, colour.
        gap: between two names, points.
    """
    figure = axis.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    to_points = 72 / figure.dpi
    placed: list[float] = []
    for name, x, y, colour in sorted(ends, key=lambda end: end[2]):
        height = float(axis.transData.transform((x, y))[1]) * to_points
        shift = max([0.0, *(other + gap - height for other in placed)])
        placed.append(height + shift)
        axis.annotate(
            name, (x, y), (7, shift), textcoords="offset points", va="center", fontsize=8.5, color=colour,
            annotation_clip=False,
        )  # fmt: skip
