# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The charts: readable in grayscale, with machine, commit and date below."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image

from benchmarks.report.tables import SLOWDOWN, Content, groups_of, machine, significant, step_seconds

NAVY, RED, GREEN, SAND, GREY = "#12355b", "#c8553d", "#7b9e3f", "#a39d8c", "0.45"
LOOKS: dict[str, dict[str, Any]] = {  # color, marker and line style of each memory
    "ours": {"color": NAVY, "marker": "o", "linestyle": "-"},
    "append-only": {"color": RED, "marker": "s", "linestyle": "--"},
    "RGB points": {"color": SAND, "marker": "^", "linestyle": "-."},
}
KINDS = {"reference": ("o", NAVY), "method": ("s", RED), "library": ("^", GREEN)}
FILLS: tuple[Any, ...] = ("full", "none", "left")  # by scene, the one with most measurements first
PLAIN = FuncFormatter(lambda value, _: f"{value:,.10g}")
Points = Sequence[tuple[float, float]]
MAX_BARS = 10  # chunks; more are shown as lines


def draw_all(results: dict[str, Content], folder: Path) -> None:
    """Draw every chart that there are results for."""
    for name, content in results.items():
        kind = content.get("kind", "operations")
        for run in content["runs"] if kind == "memories" else ():
            draw_memories(content, run, folder / f"{name}_{run['chunks']}.png")
        for of, chart, draw in (
            ("operations", f"{name}_slowdown", draw_slowdown), ("operations", f"{name}_roofline", draw_roofline),
            ("corridor", name, draw_corridor), ("depth_drift", name, draw_depth_drift),
            ("nano_training", name, draw_training),
        ):  # fmt: skip
            if of == kind:
                draw(content, folder / f"{chart}.png")


def panels(count: int, height: float = 4.0) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(11, height), layout="constrained")
    axes = list(figure.subplots(1, count, squeeze=False).flat)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3, linewidth=0.6)
        axis.set_axisbelow(True)
    return figure, axes


def save(figure: Figure, content: Content, path: Path) -> None:
    facts = content.get("machine_info") or content["machine"]
    figure.supxlabel(machine(facts), x=0.01, ha="left", fontsize=7.5, color="0.3")
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110)
    Image.open(buffer).convert("RGB").quantize(128).save(path, optimize=True)  # half the bytes, and no metadata


def draw_lines(axis: Axes, lines: Sequence[tuple[str, Points, dict[str, Any]]], room: float) -> None:
    """Draw lines (name, points, style), named where they end; the x axis goes on to ``room`` times the end."""
    figure = axis.get_figure(root=True)
    assert figure is not None
    for _, points, style in lines:
        axis.plot(*zip(*points, strict=True), **style)
    last = max(points[-1][0] for _, points, _ in lines)
    axis.set_xlim(0 if axis.get_xscale() == "linear" else None, room * last)
    axis.set_xticks([tick for tick in axis.get_xticks() if tick <= last])
    for ticks in (axis.xaxis, axis.yaxis):
        ticks.set_major_formatter(PLAIN)
        ticks.set_minor_formatter(NullFormatter())
    figure.draw_without_rendering()
    placed = -math.inf
    for name, points, _ in sorted(lines, key=lambda line: line[1][-1][1]):
        height = float(axis.transData.transform(points[-1])[1]) * 72 / figure.dpi
        placed = max(height, placed + 11)
        look: dict[str, Any] = {"va": "center", "fontsize": 8.5, "annotation_clip": False}
        axis.annotate(name, points[-1], (7, placed - height), textcoords="offset points", **look)


def draw_memories(content: Content, run: dict[str, Any], path: Path) -> None:
    figure, axes = panels(2)
    scale = 1e3 / run["frames_per_chunk"]
    rows = [{**row, "step": scale * step_seconds(row)} for row in run["rows"]]
    for axis, part in zip(axes, ("step", "cache_mib"), strict=True):
        axis.set(yscale="log", xlabel="chunk")
        points: dict[str, Points] = {
            name: [(row["chunk"], row[part]) for row in rows if row["memory"] == name] for name in LOOKS
        }
        if run["chunks"] <= MAX_BARS:
            draw_bars(axis, points)
        else:
            ends = {name: significant(found[-1][1], 2) for name, found in points.items()}
            draw_lines(axis, [(f"{name} {ends[name]}", points[name], LOOKS[name]) for name in points], room=1.3)
    axes[0].set(title="Memory step: read, condition, retrieve, write", ylabel="ms per frame")
    axes[1].set(title="Cache", ylabel="MiB")
    save(figure, content, path)


def draw_bars(axis: Axes, points: dict[str, Points]) -> None:
    values = [value for found in points.values() for _, value in found]
    axis.set_ylim(min(values) / 2.5, max(values) * 4)
    for place, (memory, found) in enumerate(points.items()):
        left, heights = [chunk + 0.29 * (place - 1) for chunk, _ in found], [value for _, value in found]
        hatch = "//" if memory == "append-only" else ""
        style: dict[str, Any] = {"color": LOOKS[memory]["color"], "hatch": hatch, "edgecolor": "white", "linewidth": 0}
        bars = axis.bar(left, heights, 0.27, label=memory, **style)
        axis.bar_label(bars, [significant(value, 2) for value in heights], fontsize=7, padding=2)
    axis.set_xticks(sorted({chunk for found in points.values() for chunk, _ in found}))
    axis.yaxis.set_major_formatter(PLAIN)
    axis.legend(ncols=len(points), frameon=False, fontsize=8.5, loc="upper left")


def draw_corridor(content: Content, path: Path) -> None:
    figure, axes = panels(2)
    for axis, what in zip(axes, ("read", "insert"), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="chunk", ylabel="ms")
        axis.set(title="Reading nine views" if what == "read" else "Inserting a chunk, growth included")
        lines = [("ours", "voxel_cache", what, "ours"), ("append-only", "append_only", what, "append-only")]
        lines += [("ours, no culling", "voxel_cache", "unculled", "RGB points")] if what == "read" else []
        points = [
            (name, [(row["chunk"], 1e3 * row[key]) for row in content[part]], LOOKS[look])
            for name, part, key, look in lines
            if content[part]
        ]
        draw_lines(axis, points, room=8)
    save(figure, content, path)


def draw_depth_drift(content: Content, path: Path) -> None:
    figure, (errors, scales) = panels(2)
    errors.axhline(0.5, color=NAVY, linestyle=":", linewidth=0.9)
    errors.annotate("half a cell", (0, 0.5), (2, 3), textcoords="offset points", fontsize=7.5)
    for axis, key in ((errors, "visits"), (scales, "left")):
        axis.set(xlabel="frame", yscale="log")
        looks = [{**LOOKS[name], "markersize": 3.5, "markevery": 3} for name in ("append-only", "ours", "RGB points")]
        lines = [(run["name"], run[key], look) for run, look in zip(content["runs"], looks, strict=False)]
        draw_lines(axis, lines, room=1.45)
    errors.set(title="Mean error of revisited cells", ylabel="cells")
    scales.set(title="Scale of the depth that is written (1 = true)", ylabel="scale", yticks=(1, 1.2, 1.5, 2))
    save(figure, content, path)


def draw_training(content: Content, path: Path) -> None:
    """A panel per stage: the mean loss of ten batches as a line, that of validation as dots."""
    stages = content["stages"]
    figure, axes = panels(len(stages), height=3.2)
    for axis, (name, curves) in zip(axes, stages.items(), strict=True):
        axis.set(title=name, xlabel="step")
        steps, losses = zip(*curves["training"], strict=True)
        means = [sum(losses[max(n - 9, 0) : n + 1]) / len(losses[max(n - 9, 0) : n + 1]) for n in range(len(losses))]
        axis.plot(steps, means, color=RED, label="mean of ten batches")
        axis.set_ylim(*_room(means[len(means) // 10 :], [loss for _, loss in curves.get("validation", ())]))
        if "validation" in curves:
            axis.plot(*zip(*curves["validation"], strict=True), "o", color=NAVY, markersize=3.5, label="validation")
    axes[0].set_ylabel("loss")
    axes[0].legend(frameon=False, fontsize=8.5)
    save(figure, content, path)


def _room(*series: Sequence[float]) -> tuple[float, float]:
    """Limits that hold series with some room."""
    values = [value for one in series for value in one]
    low, high = min(values), max(values)
    return low - 0.1 * (high - low), high + 0.1 * (high - low)


def draw_slowdown(content: Content, path: Path) -> None:
    """A row per operation and input, a dot per other implementation."""
    found = [(g, b) for g in groups_of(content) for b in g.others if b.kind in KINDS]
    rows = list(dict.fromkeys(f"{g.operation}, {g.size}" for g, _ in found))
    names = [g.scene for g, _ in found]
    scenes = sorted(set(names), key=lambda name: (-names.count(name), name))
    figure, (axis,) = panels(1, height=1.7 + 0.22 * len(rows))
    axis.set_xscale("log")
    axis.axvline(1, color="black", linewidth=1)
    for group, bench in found:
        (marker, color), place = KINDS[bench.kind], scenes.index(group.scene) % 3
        height, fill = rows.index(f"{group.operation}, {group.size}") + (-0.15, 0.15, 0)[place], FILLS[place]
        axis.plot(group.slowdown(bench), height, marker, color=color, fillstyle=fill, markersize=6)
    axis.set_yticks(range(len(rows)), rows, fontsize=8)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlim(left=min([0.7, *(g.slowdown(b) / 1.5 for g, b in found)]))
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}x"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.xaxis.grid(visible=True, alpha=0.3, linewidth=0.6)
    axis.set_xlabel(SLOWDOWN)
    handles = [Line2D([], [], color=color, marker=marker, ls="", label=kind) for kind, (marker, color) in KINDS.items()]
    for scene, fills in zip(scenes, FILLS, strict=False):
        handles.append(Line2D([], [], color="0.3", marker="D", ls="", fillstyle=fills, label=f"scene: {scene}"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False, fontsize=8.5)
    save(figure, content, path)


def draw_roofline(content: Content, path: Path) -> None:
    """Our operations below the limits of the machine; the numbers on dots are those of the legend."""
    stated = [g for g in groups_of(content) if g.best.extra.get("operations") and g.best.extra.get("bytes")]
    copy, peak = content["machine_info"]["copy_bandwidth"], content["machine_info"]["peak"]
    figure, (axis,) = panels(1, height=5.4)
    axis.set(xscale="log", yscale="log", xlabel="float32 operations per byte", ylabel="float32 operations per second")
    markers = dict(zip(dict.fromkeys(g.operation for g in stated), "osD^v", strict=False))
    keys = list(dict.fromkeys(f"{g.operation}, {g.size}" for g in stated))
    handles: dict[str, Line2D] = {}
    labels: dict[tuple[int, int], tuple[float, float, set[int]]] = {}
    for group in stated:
        extra, key = group.best.extra, f"{group.operation}, {group.size}"
        number, x, y = (
            keys.index(key) + 1,
            extra["operations"] / extra["bytes"],
            extra["operations"] / group.best.median,
        )
        style: dict[str, Any] = {"color": NAVY, "marker": markers[group.operation], "linestyle": "", "markersize": 6.5}
        axis.plot(x, y, fillstyle="none" if group.scene == "room" else "full", **style)
        handles[key] = Line2D([], [], label=f"{number}  {key}", **style)
        near = (round(3 * math.log10(x)), round(2.5 * math.log10(y)))  # dots close together share a label
        labels.setdefault(near, (x, y, set()))[2].add(number)
    for x, y, found in labels.values():
        box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
        style = {"textcoords": "offset points", "va": "center", "fontsize": 8, "bbox": box}
        axis.annotate(", ".join(map(str, sorted(found))), (x, y), (8, 0), **style)
    low, high = axis.get_xlim()[0] / 2, max(axis.get_xlim()[1], 3 * peak / copy)
    axis.plot([low, peak / copy, high], [low * copy, peak, peak], color="black", linewidth=1.4, zorder=1)
    axis.text(high, 1.1 * peak, f"matrix product, {peak / 1e9:,.0f} GFLOP/s", ha="right", fontsize=8.5, color=GREY)
    axis.text(low, 4 * low * copy, f" copy, {copy / 1e9:.1f} GB/s", fontsize=8.5, color=GREY)
    title = "filled: a recording, hollow: the room"
    figure.legend(handles=list(handles.values()), title=title, loc="outside right upper", frameon=False, fontsize=8)
    save(figure, content, path)
