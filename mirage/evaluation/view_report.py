# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The summary of novel views: JSON, a Markdown table, and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .loop_report import Heads, Results, draw_figure, scores_table, summarize_known, write_summary
from .novel_view import SCORES

__all__ = ["write_view_report"]

HEADS: Heads = {
    "known": ("known, %", 100, ".1f"), "depth_error": ("depth error, %", 100, ".2f"),
    "other_surface": ("other surface, %", 100, ".1f"), "placement": ("placement, cells", 1, ".3f"),
    "misplaced": ("misplaced, %", 100, ".1f"), "psnr": ("PSNR, dB", 1, ".2f"),
    "psnr_common": ("PSNR where all know, dB", 1, ".2f"), "moving": ("moving, %", 100, ".2f"),
    "read_seconds": ("read, ms", 1000, ".2f"), "write_seconds": ("write, ms", 1000, ".2f"),
    "points": ("points", 1, ",.0f"), "bytes": ("MiB", 2**-20, ".2f"),
}  # fmt: skip
OF_CLIP = ("write_seconds", "points", "bytes")


def write_view_report(folder: Path, results: Results, settings: dict[str, Any], failed: dict[str, str]) -> str:
    """Write ``summary.json``, ``summary.md`` and, with matplotlib, ``views.png``.

    Args:
        folder: for the files.
        results: what :func:`mirage.evaluation.novel_view.compare_views` returned for each clip.
        settings: that all clips share.
        failed: why others are left out, by name.

    Returns:
        The table: means over targets, and over clips for writing, points and bytes.
    """
    names = list(next(iter(results.values())))
    summary = {}
    for name in names:
        found = [result[name] for result in results.values()]
        of_clips = [{key: float(clip[key]) for key in OF_CLIP} for clip in found]
        views = [view for clip in found for view in clip["views"]]
        summary[name] = summarize_known(views, SCORES) | summarize_known(of_clips, OF_CLIP)
    targets = sum(len(result[names[0]]["views"]) for result in results.values())
    content = {"settings": settings, "clips": len(results), "targets": targets, "summary": summary}
    text = f"{len(results)} clip{'s' if len(results) > 1 else ''}, {targets} views\n\n{scores_table(summary, HEADS)}\n"
    text = write_summary(folder, content, text, failed)
    draw_figure("draw_views", folder / "views.png", results)
    return text
