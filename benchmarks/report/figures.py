# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The figures: which there are of a set of files, and how those of memories and of studies are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from benchmarks.report import figures_operations, memories, operations, studies
from benchmarks.report.markdown import digits
from benchmarks.report.read import Results, Source
from benchmarks.report.schema import MEMORIES
from benchmarks.report.style import ACCENT, GREY, LOOKS, SMALL, finish, label_ends, panels

Run = dict[str, Any]
Points = list[tuple[int, float]]
MOST_BARS = 10  # chunks; more are drawn as lines
PLAIN = FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")


def draw(results: Results, folder: Path) -> None:
    """Draw every figure of which there are numbers."""
    if source := results.one("memories"):
        for run in source.content["runs"]:
            _memories(source, run, folder / memories.picture(run))
    if source := results.one("corridor"):
        _corridor(source, folder / studies.CORRIDOR)
    if source := results.one("depth_drift"):
        _depth_drift(source, folder / studies.DRIFT)
    for source in results.operations:
        figures_operations.speedup(source, folder / operations.picture(source, "speedup"))
        if operations.has_roofline(source):
            figures_operations.roofline(source, folder / operations.picture(source, "roofline"))


def _memories(source: Source, run: Run, path: Path) -> None:
    """The paper's two charts."""
    figure, (time, size) = panels(2)
    shown = {memory: memories.rows_of(run, memory) for memory in MEMORIES}
    steps: dict[str, Points] = {}
    sizes: dict[str, Points] = {}
    for memory, rows in shown.items():
        each = ((row["chunk"], memories.per_frame(run, memories.step(row))) for row in rows)
        steps[memory] = [(chunk, 1e3 * seconds) for chunk, seconds in each if seconds]
        sizes[memory] = [(row["chunk"], row["cache_mib"]) for row in rows]
    for axis, points in ((time, steps), (size, sizes)):
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(PLAIN)
        axis.set_xlabel("chunk")
        (_bars if run["chunks"] <= MOST_BARS else _lines)(axis, points)
    time.set_title("Memory step: read, condition, retrieve, write", fontsize=11)
    time.set_ylabel("ms a frame")
    size.set_title("Cache", fontsize=11)
    size.set_ylabel("MiB")
    finish(figure, source, path)


def _bars(axis: Axes, points: dict[str, Points]) -> None:
    """Groups of bars with their values; the names stand above, in the order of the bars."""
    values = [value for of_one in points.values() for _, value in of_one]
    if not values:
        return
    axis.set_ylim(min(values) / 2.5, max(values) * 4)
    for place, (memory, of_one) in enumerate(points.items()):
        look = LOOKS[memory]
        left = [chunk + 0.29 * (place - 1) for chunk, _ in of_one]
        heights = [value for _, value in of_one]
        axis.bar(left, heights, 0.27, label=memory, color=look.colour, hatch=look.hatch, edgecolor="white", linewidth=0)
        for x, height in zip(left, heights, strict=True):
            text = digits(height, 2 if height < 100 else 3)
            axis.annotate(text, (x, height), (0, 2), textcoords="offset points", ha="center", fontsize=SMALL)
    axis.set_xticks(sorted({chunk for of_one in points.values() for chunk, _ in of_one}))
    axis.legend(ncols=len(points), frameon=False, fontsize=8.5, loc="upper left")


def _lines(axis: Axes, points: dict[str, Points]) -> None:
    for memory, of_one in points.items():
        look = LOOKS[memory]
        often = max(1, len(of_one) // 10)
        style: dict[str, Any] = {
            "color": look.colour,
            "marker": look.marker,
            "linestyle": look.line,
            "markevery": often,
        }
        if of_one:
            axis.plot(*zip(*of_one, strict=True), **style)
    ends = [(memory, *of_one[-1]) for memory, of_one in points.items() if of_one]
    if not ends:
        return
    axis.set_xlim(0, 1.28 * max(chunk for _, chunk, _ in ends))
    axis.set_xticks([tick for tick in axis.get_xticks() if tick <= max(chunk for _, chunk, _ in ends)])
    label_ends(axis, [(f"{name} {digits(y, 2)}", x, y, "black") for name, x, y in ends])


def _corridor(source: Source, path: Path) -> None:
    figure, axes = panels(2)
    ours, appended = source.content["voxel_cache"], source.content["append_only"]
    for axis, what in zip(axes, ("read", "insert"), strict=True):
        lines = [("ours", ours, what, LOOKS["ours"]), ("append-only", appended, what, LOOKS["append-only"])]
        if what == "read":
            lines.append(("ours, no culling", ours, "unculled", LOOKS["RGB points"]._replace(colour=GREY)))
        ends = []
        for name, rows, key, look in lines:
            points = [(row["chunk"], 1e3 * row[key]) for row in rows]
            if points:
                style: dict[str, Any] = {
                    "color": look.colour,
                    "marker": look.marker,
                    "linestyle": look.line,
                    "markersize": 5,
                }
                axis.plot(*zip(*points, strict=True), **style)
                ends.append((name, *points[-1], look.colour))
        axis.set(xscale="log", yscale="log", xlabel="chunk", ylabel="ms")
        if ends:
            axis.set_xlim(right=max(end[1] for end in ends) * 8)
        axis.set_title("Reading nine views" if what == "read" else "Writing a chunk, growth averaged in", fontsize=11)
        for formatted in (axis.xaxis, axis.yaxis):
            formatted.set_major_formatter(PLAIN)
        axis.yaxis.set_minor_formatter(FuncFormatter(lambda _value, _: ""))
        label_ends(axis, ends)
    finish(figure, source, path)


def _depth_drift(source: Source, path: Path) -> None:
    figure, (places, scales) = panels(2)
    looks = list(LOOKS.values())
    ends: dict[Axes, list[tuple[str, float, float, str]]] = {places: [], scales: []}
    for row, look in zip(source.content["walks"], (looks[1], looks[0], looks[2]._replace(colour=GREY)), strict=False):
        for axis, points in ((places, row["visits"]), (scales, row["left"])):
            style: dict[str, Any] = {
                "color": look.colour,
                "linestyle": look.line,
                "marker": look.marker,
                "markersize": 3.5,
            }
            if points:
                axis.plot(*zip(*points, strict=True), **style, markevery=3)
                ends[axis].append((row["name"], *points[-1], look.colour))
    places.axhline(0.5, color=ACCENT, linestyle=":", linewidth=0.9)
    places.annotate("half a cell", (0, 0.5), (2, 3), textcoords="offset points", fontsize=SMALL)
    places.set(yscale="log", xlabel="frame", ylabel="cells")
    places.set_title("Mean distance of cells seen again from their places", fontsize=11)
    places.yaxis.set_major_formatter(PLAIN)
    scales.set(xlabel="frame", ylabel="scale that is left", ylim=(0.9, 1.3))
    scales.set_title("Depth as it is written (1 = true)", fontsize=11)
    for axis, found in ends.items():
        last = max((end[1] for end in found), default=1)
        axis.set_xlim(0, 1.45 * last)
        axis.set_xticks([tick for tick in axis.get_xticks() if tick <= last])
        limits = axis.get_ylim()
        label_ends(axis, [end for end in found if limits[0] <= end[2] <= limits[1]])
        _label_the_cut(axis, [end for end in found if end[2] > limits[1]])
    finish(figure, source, path)


def _label_the_cut(axis: Axes, ends: list[tuple[str, float, float, str]]) -> None:
    """Name lines that leave the picture at its upper border."""
    for name, _, value, colour in ends:
        text = f"{name}, {value:.2f} in the end"
        axis.annotate(text, (0.4, 0.95), xycoords="axes fraction", fontsize=8.5, color=colour)
