# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Figures of closed loops and novel views. Needs matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mirage_kernels import atomic_write

STYLES = [("#12355b", "-"), ("#c8553d", "--"), ("#7b9e3f", "-."), ("#a39d8c", ":")]
BINS = 16


def draw_revisits(path: Path, results: dict[str, dict[str, Any]]) -> None:
    """Draw the PSNR of what is seen again, over the frames since the start and over the turn and way from it.

    Args:
        path: PNG file.
        results: what :func:`mirage.evaluation.loop_scores.compare_walks` returned for each walk.
    """
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    variants = list(next(iter(results.values())))
    labels = ("frame", "turn from the start, degrees", "way from the start, world units")
    for axis, column, label in zip(axes, (0, 2, 3), labels, strict=True):
        axis.set(xlabel=label)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3, linewidth=0.6)
        for variant, (color, line) in zip(variants, STYLES, strict=False):
            rows = [row for result in results.values() for row in result[variant]["revisits"] if row[4] is not None]
            points = _means([(row[column], row[4]) for row in rows])
            if points:
                axis.plot(*zip(*points, strict=True), line, color=color, label=variant)
    axes[0].set_ylabel("PSNR against the earlier frame, dB")
    axes[0].legend(frameon=False, fontsize=8.5)
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png", dpi=110)


def draw_views(path: Path, results: dict[str, dict[str, Any]]) -> None:
    """Draw, for each memory, how much of what older frames saw it shows, and how well.

    Args:
        path: PNG file.
        results: what :func:`mirage.evaluation.novel_view.compare_views` returned for each clip.
    """
    names = list(next(iter(results.values())))
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axis = figure.subplots()
    for number, name in enumerate(names):
        views = [view for result in results.values() for view in result[name]["views"] if "psnr" in view]
        if views:
            x, y = (sum(view[key] for view in views) / len(views) for key in ("known", "psnr"))
            axis.plot(100 * x, y, "o", color=STYLES[number % len(STYLES)][0])
            axis.annotate(name, (100 * x, y), xytext=(5, 3), textcoords="offset points", fontsize=8)
    axis.set(xlabel="known, % of what older frames saw", ylabel="PSNR of known cells, dB")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.3, linewidth=0.6)
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png", dpi=110)


def draw_frames(path: Path, results: dict[str, dict[str, Any]]) -> None:
    """Draw the PSNR of predicted frames over their numbers, as means over clips.

    Args:
        path: PNG file.
        results: what :func:`mirage.evaluation.prediction.predict_clip` returned for each clip.
    """
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axis = figure.subplots()
    for number, name in enumerate(next(iter(results.values()))):
        color, line = STYLES[number % len(STYLES)]
        points = _means(
            [(row[0], row[1]) for result in results.values() for row in result[name]["frames"] if row[1] is not None]
        )
        if points:
            axis.plot(*zip(*points, strict=True), line, color=color, label=name)
    axis.set(xlabel="frame", ylabel="PSNR against the clip, dB")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", alpha=0.3, linewidth=0.6)
    axis.legend(frameon=False, fontsize=8.5)
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png", dpi=110)


def _means(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means of points in equal parts of the range of x."""
    if not points:
        return []
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    parts: dict[int, list[tuple[float, float]]] = {}
    for x, y in points:
        parts.setdefault(min(int(BINS * (x - low) / (high - low or 1)), BINS - 1), []).append((x, y))
    return [
        (sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for _, part in sorted(parts.items())
    ]
