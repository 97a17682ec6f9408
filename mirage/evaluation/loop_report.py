# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The summary of closed loops: JSON, a Markdown table, and figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mirage_kernels import atomic_write

from . import machine
from .closed_loop import as_table, summarize
from .sample_results import SUMMARY

__all__ = ["write_report"]

UNITS = {
    "psnr": "last revisit, dB", "ssim": "SSIM", "ms_ssim": "MS-SSIM", "haarpsi": "HaarPSI", "gmsd": "GMSD",
    "lpips": "LPIPS", "drift": "drift, cells", "revisit_psnr": "all revisits, dB", "depth_difference": "depth, median",
    "same_surface": "depth within 5 %", "flicker": "flicker", "known": "cells known", "seconds": "s a chunk",
    "points": "points", "bytes": "bytes",
}  # fmt: skip

Summary = dict[str, dict[str, dict[str, float]]]
Heads = dict[str, tuple[str, float, str]]  # of a score: head of its column, factor, format
Results = dict[str, dict[str, Any]]


def write_report(folder: Path, results: Results, settings: dict[str, Any], failed: dict[str, str]) -> str:
    """Write ``summary.json``, ``summary.md`` and, with matplotlib, ``revisits.png``.

    Args:
        folder: for the files.
        results: what :func:`mirage.evaluation.loop_scores.compare_walks` returned for each walk.
        settings: that all walks share.
        failed: why others are left out, by name.

    Returns:
        The table.
    """
    variants = list(next(iter(results.values())))
    rows = {v: [result[v]["scores"] for result in results.values()] for v in variants}
    summary = {v: summarize_known(part, UNITS) for v, part in rows.items()}
    laps = {v: _mean_laps([result[v]["laps"] for result in results.values()]) for v in variants}
    content = {
        "settings": settings,
        "walks": len(results),
        "summary": summary,
        "laps": laps,
    }
    shown = {v: {UNITS[name]: value for name, value in scores.items()} for v, scores in summary.items()}
    text = f"{len(results)} walk{'s' if len(results) > 1 else ''}\n\n{as_table(shown)}\n"
    if any(len(values) > 1 for values in laps.values()):
        text += "\nPSNR of the first image at the end of each lap, dB:\n\n" + _lap_table(laps)
    text = write_summary(folder, content, text, failed)
    draw_figure("draw_revisits", folder / "revisits.png", results)
    return text


def write_summary(folder: Path, content: dict[str, Any], text: str, failed: dict[str, str]) -> str:
    """Write ``summary.json``, with the facts of the machine, and ``summary.md``.

    Args:
        folder: for the files.
        content: of the JSON.
        text: a table.
        failed: why samples are left out, by name.

    Returns:
        The text, with the samples that are left out.
    """
    if failed:
        text += "\nLeft out:\n\n" + "".join(f"* {name}: {reason}\n" for name, reason in failed.items())
    with atomic_write(folder / "summary.json") as partial:
        partial.write_text(json.dumps({"machine": machine.facts(), **content, "failed": failed}, indent=1) + "\n")
    with atomic_write(folder / SUMMARY) as partial:
        partial.write_text(text)
    return text


def draw_figure(draw: str, path: Path, results: Results) -> None:
    """Call a function of :mod:`.loop_figures` by its name, if matplotlib is installed."""
    try:
        from . import loop_figures
    except ImportError:
        return
    getattr(loop_figures, draw)(path, results)


def summarize_known(rows: Sequence[Mapping[str, float | None]], names: Iterable[str]) -> dict[str, dict[str, float]]:
    """Mean and interval of every score, over the rows in which it is a number."""
    found: dict[str, dict[str, float]] = {}
    for name in names:
        having = [{name: value} for row in rows if (value := row.get(name)) is not None]
        if having:
            found |= summarize(having)
    return found


def scores_table(summary: Summary, heads: Heads) -> str:
    """A Markdown table of means; "-" where there is none."""
    columns = [key for key in heads if any(key in scores for scores in summary.values())]
    lines = ["| | " + " | ".join(heads[key][0] for key in columns) + " |", "|---" + "|---:" * len(columns) + "|"]
    for name, scores in summary.items():
        cells = [
            format(scores[key]["mean"] * heads[key][1], heads[key][2]) if key in scores else "-" for key in columns
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean_laps(laps: Sequence[list[float | None]]) -> list[float]:
    """The mean over walks of the PSNR at the end of each lap."""
    means = []
    for values in zip(*laps, strict=False):
        known = [value for value in values if value is not None]
        if known:
            means.append(round(sum(known) / len(known), 3))
    return means


def _lap_table(laps: dict[str, list[float]]) -> str:
    count = max(len(values) for values in laps.values())
    lines = ["| | " + " | ".join(str(n) for n in range(1, count + 1)) + " |", "|---" * (count + 1) + "|"]
    for variant, values in laps.items():
        lines.append(f"| {variant} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    return "\n".join(lines) + "\n"
