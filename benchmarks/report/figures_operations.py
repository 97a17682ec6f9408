# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Two figures of a run of operations: how many times as long everything else takes, and the roofline."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from benchmarks.report import operations
from benchmarks.report.operations import Bench, Ratio
from benchmarks.report.read import Source
from benchmarks.report.style import ACCENT, GREY, SMALL, finish, panels

MARKS = {"reference": "o", "method": "s", "library": "^"}
COLORS = {"reference": "#12355b", "method": "#c8553d", "library": "#7b9e3f"}
SHIFTS = (-0.15, 0.15)  # of the first two scenes from the middle of their line
NEAR = 13.0  # points between dots that share a label


class Dot(NamedTuple):
    """One of ours in the roofline, with the number of its operation and size."""

    number: int
    bench: Bench
    x: float
    y: float


def scenes_of(benches: Iterable[Bench]) -> list[str]:
    """Scenes, those that most is measured on first."""
    names = [bench.scene for bench in benches]
    return sorted(set(names), key=lambda name: (-names.count(name), name))


def fills_of(scenes: list[str]) -> dict[str, str]:
    """The inside of a dot by scene; nothing for the first, which is filled with the dot's own colour."""
    return dict(zip(scenes, itertools.chain(["", "white"], itertools.repeat("0.8")), strict=False))


def fill_handles(scenes: list[str], marker: str, colour: str) -> list[Line2D]:
    return [
        Line2D([], [], color=colour, marker=marker, linestyle="", markerfacecolor=face or colour, label=scene)
        for scene, face in fills_of(scenes).items()
    ]


def speedup(source: Source, path: Path) -> None:
    """A line for every operation and size; a dot for every other way, by kind and by scene."""
    found = [ratio for ratio in operations.ratios(source) if ratio.other.kind in MARKS]
    rows = list(dict.fromkeys((r.other.operation, r.other.size) for r in found))
    scenes = scenes_of(r.other for r in found)
    figure, (axis,) = panels(1, height=1.7 + 0.24 * len(rows))
    axis.set_xscale("log")
    axis.axvline(1, color="black", linewidth=1)
    for r in found:
        scene = scenes.index(r.other.scene)
        shift = SHIFTS[scene] if scene < len(SHIFTS) else 0.0
        _dot(axis, r, rows.index((r.other.operation, r.other.size)) + shift, fills_of(scenes)[r.other.scene])
    axis.set_yticks(range(len(rows)), [f"{operation}, {size}" for operation, size in rows], fontsize=8)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    times = [r.times for r in found] or [1.0]
    axis.set_xlim(left=min(0.7, min(times) / (6 if min(times) < 1 else 1)))
    if max(times) / min(times) < 100:
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}x"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.xaxis.grid(visible=True, alpha=0.3, linewidth=0.6)
    axis.set_xlabel("times as long as ours (1 = ours)", fontsize=9)
    kinds = [kind for kind in MARKS if any(r.other.kind == kind for r in found)]
    handles = [Line2D([], [], color=COLORS[k], marker=MARKS[k], linestyle="", label=k) for k in kinds]
    handles += fill_handles(scenes, "D", "0.3")
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=8.5)
    finish(figure, source, path)


def _dot(axis: Axes, found: Ratio, place: float, face: str) -> None:
    """One way of others; who is faster than ours is named."""
    kind = found.other.kind
    colour = COLORS[kind]
    axis.plot(found.times, place, MARKS[kind], color=colour, markerfacecolor=face or colour, markersize=6, zorder=3)
    if found.times < 1:
        style: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": SMALL, "color": "#a30000"}
        text = f"{found.other.way} is faster"
        axis.annotate(text, (found.times, place), (-7, 0), textcoords="offset points", **style)


def roofline(source: Source, path: Path) -> None:
    """Ours under what the machine can do: numbered dots, by operation and by scene."""
    dots = _dots(source)
    copy, peak = source.machine["copy_bandwidth"], source.machine["peak"]
    scenes = scenes_of(dot.bench for dot in dots)
    figure, (axis,) = panels(1, height=5.6)
    axis.set(xscale="log", yscale="log", xlabel="operations a byte", ylabel="operations a second")
    low = min([peak / copy / 30, *(dot.x for dot in dots)]) / 2
    high = max([peak / copy * 3, *(dot.x for dot in dots)]) * 2
    axis.plot([low, peak / copy, high], [low * copy, peak, peak], color="black", linewidth=1.4, zorder=1)
    axis.set_xlim(low, high)
    axis.set_ylim(min([low * copy, *(dot.y for dot in dots)]) / 2, max([peak, *(dot.y for dot in dots)]) * 3)
    marks = dict(zip(dict.fromkeys(dot.bench.operation for dot in dots), itertools.cycle("osD^vPX*<>"), strict=False))
    for dot in dots:
        face = fills_of(scenes)[dot.bench.scene] or ACCENT
        axis.plot(dot.x, dot.y, marks[dot.bench.operation], color=ACCENT, markerfacecolor=face, markersize=6.5)
    names = {dot.number: dot.bench for dot in dots}
    key = [
        Line2D([], [], color=ACCENT, marker=marks[b.operation], linestyle="", label=f"{n}  {b.operation}, {b.size}")
        for n, b in names.items()
    ]
    figure.legend(handles=key, loc="outside right upper", frameon=False, fontsize=8)
    axis.legend(handles=fill_handles(scenes, "o", ACCENT), frameon=False, fontsize=8.5, loc="lower right")
    figure.draw_without_rendering()
    _name_the_roof(axis, copy, peak, dots)
    _number(axis, dots)
    finish(figure, source, path)


def _dots(source: Source) -> list[Dot]:
    numbers: dict[tuple[str, str, str], int] = {}
    dots = []
    for bench in (bench for group in operations.groups(source) for bench in group):
        place = operations.intensity(bench)
        if place is not None:
            number = numbers.setdefault((bench.operation, bench.size, bench.way), len(numbers) + 1)
            dots.append(Dot(number, bench, *place))
    return dots


def _name_the_roof(axis: Axes, copy: float, peak: float, dots: list[Dot]) -> None:
    """The slope is named where there are no dots."""
    low, high = axis.get_xlim()
    ridge = peak / copy
    along = [(x, x * copy) for x in np.geomspace(1.4 * low, ridge / 4, 12)]
    slope, taken = (axis.transData.transform(points) for points in (along, [(dot.x, dot.y) for dot in dots]))
    middle = slope + (slope[1] - slope[0]) / 2
    free = np.linalg.norm(middle[:, None] - taken[None], axis=2).min(1)
    across, up = slope[1] - slope[0]
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8.5, "color": GREY}
    turned: dict[str, Any] = {"rotation": float(np.degrees(np.arctan2(up, across))), "rotation_mode": "anchor"}
    axis.annotate(f"copy, {copy / 1e9:.1f} GB/s", along[int(free.argmax())], (0, 6), **turned, **style)
    axis.annotate(f"float32 matrix product, {peak / 1e9:,.0f} GFLOP/s", (high, peak), (0, 5), ha="right", **style)


def _number(axis: Axes, dots: list[Dot]) -> None:
    """Write the numbers to the right of dots, together where dots lie together."""
    scale = axis.figure.dpi / 72
    clusters: list[list[tuple[Dot, float, float]]] = []
    for dot in dots:
        x, y = axis.transData.transform((dot.x, dot.y)) / scale
        near = (c for c in clusters if any(abs(x - a) < NEAR and abs(y - b) < NEAR for _, a, b in c))
        cluster = next(near, None)
        if cluster is None:
            clusters.append(cluster := [])
        cluster.append((dot, x, y))
    for cluster in clusters:
        rightmost, *_ = max(cluster, key=lambda placed: placed[1])
        text = ", ".join(str(number) for number in sorted({dot.number for dot, _, _ in cluster}))
        axis.annotate(
            text, (rightmost.x, rightmost.y), (8, 0), textcoords="offset points", va="center", fontsize=8, zorder=2,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
        )  # fmt: skip
