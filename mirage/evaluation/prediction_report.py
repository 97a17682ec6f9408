# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The summary of predicted clips: JSON, a Markdown table, and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .loop_report import Heads, Results, Summary, draw_figure, scores_table, summarize_known, write_summary
from .prediction import PAPER

__all__ = ["write_prediction_report"]

IMAGE = {"psnr": "PSNR, dB", "ssim": "SSIM", "lpips": "LPIPS"}
HEADS: Heads = {
    **{name: (text, 1, ".2f" if name == "psnr" else ".3f") for name, text in IMAGE.items()},
    **{f"loop_{name}": (f"back: {text}", 1, ".2f" if name == "psnr" else ".3f") for name, text in IMAGE.items()},
    "known": ("cells known, %", 100, ".1f"), "seconds": ("s a frame", 1, ".3f"), "bytes": ("MiB", 2**-20, ".2f"),
}  # fmt: skip
MORE = tuple(f"{loop}{name}" for loop in ("", "loop_") for name in ("ms_ssim", "haarpsi", "gmsd"))  # not in the table
DIFFERENCES = (
    "The paper's rows are its own, of videos of RealEstate10K with Wan2.2-TI2V-5B and its trained adapter; ours are of "
    "the clips, the size, the model and the depth in summary.json. Only rows of one table and of one run compare."
)


def write_prediction_report(
    folder: Path, results: Results, settings: dict[str, Any], failed: dict[str, str], *, with_paper: bool
) -> str:
    """Write ``summary.json``, ``summary.md`` and, with matplotlib, ``frames.png``.

    Args:
        folder: for the files.
        results: what :func:`mirage.evaluation.prediction.predict_clip` returned for each clip.
        settings: that all clips share.
        failed: why others are left out, by name.
        with_paper: whether the table has the paper's rows.

    Returns:
        The table.
    """
    names = list(next(iter(results.values())))
    summary: Summary = {
        name: summarize_known([result[name]["scores"] for result in results.values()], (*HEADS, *MORE))
        for name in names
    }
    content = {"settings": settings, "clips": len(results), "summary": summary}
    shown = dict(summary)
    if with_paper:
        shown |= {
            name: {key: {"mean": value} for key, value in zip(list(HEADS)[:6], row, strict=True)}
            for name, row in PAPER.items()
        }
    text = f"{len(results)} clip{'s' if len(results) > 1 else ''}\n\n{scores_table(shown, HEADS)}\n"
    text += f"\n{DIFFERENCES}\n" if with_paper else ""
    text = write_summary(folder, content, text, failed)
    draw_figure("draw_frames", folder / "frames.png", results)
    return text
