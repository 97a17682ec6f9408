# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The diffusion model's chunk and the kernels on a GPU: tables of files that a machine with a GPU writes."""

from __future__ import annotations

from benchmarks import wan_full
from benchmarks.gpu import report as gpu_report
from benchmarks.report.captions import caption
from benchmarks.report.markdown import duration, paragraph, table
from benchmarks.report.read import Source

# What is measured (as its row begins), the goal on an H200, and copying the bytes it must move at 4.3 TB/s.
GOALS = (
    ("splat N=31,680 V=9", "12 µs", "1.6 µs"),
    ("splat N=1,000,000 V=9", "30 µs", "4.3 µs"),
    ("splat N=10,000,000 V=9", "220 µs", "30 µs"),
    ("splat N=10,000,000 V=33", "800 µs", "33 µs"),
    ("culled read", "120 µs", ""),
    ("insert 31,680 into", "60 µs", "1.5 µs"),
    ("build from 10,000,000 points", "3 ms", "0.47 ms"),
    ("overlap of 1 x 1,024 sets of a million voxels", "60 µs", "30 µs"),
)
NAMES = {
    "culled read": "culled read, 1e8 rows of which 1e6 visible, V=9",
    "insert 31,680 into": "insert 31,680 into 1,000,000 rows",
}


def on_gpu(source: Source | None) -> bool:
    """Whether a file holds figures of a GPU, and not those of a trial on a CPU."""
    return source is not None and "gpu" in source.machine


def goals(source: Source | None) -> list[str]:
    """The goals and, where they were measured, what came out."""
    measured = source.content["rows"] if source is not None and on_gpu(source) else []
    rows = []
    for what, goal, copying in GOALS:
        found = [
            f"{row['backend']} {duration(row['seconds'])}"
            for row in measured
            if row["what"] == what or (what in NAMES and row["what"].startswith(what))
        ]
        rows.append((NAMES.get(what, what), goal, copying, "; ".join(found)))
    head = ("what (48 channels, bfloat16, 44x80 cells)", ">goal on an H200")
    return table((*head, ">copying the bytes it must move, at 4.3 TB/s", ">measured"), rows)


def gpu(source: Source | None) -> list[str]:
    if source is None or not on_gpu(source):
        return [*paragraph(NOT_YET), "", *goals(None)]
    return [*paragraph(caption(source)), "", *goals(source), "", *gpu_report.table(source.content).splitlines()]


def wan(full: Source | None, tiny: Source | None) -> list[str]:
    """The full model where it was measured; what a tiny one shows; else that neither was."""
    lines = [] if full is None else [*paragraph(caption(full)), "", *_table(full)]
    if full is None:
        lines += ["**The full model has not been run on a GPU.**", ""]
    if tiny is not None:
        lines += ["", *_table(tiny)] if lines and lines[-1] else _table(tiny)
    elif full is None:
        lines += ["The tiny configuration: not measured."]
    return lines


def _table(source: Source) -> list[str]:
    return wan_full.table(source.content).rstrip("\n").splitlines()


NOT_YET = (
    "**Not yet run on a GPU.** `make gpu` writes `results.json`, which the report takes in; until it has run on a "
    "machine with one, there are goals and predictions only. What is known without one: the CUDA code gives the "
    "reference's bits compiled for a CPU, the Triton kernels give them in the interpreter, and the machine code for "
    "sm_80, sm_90 and sm_100 has no spills and the intended instructions (tests)."
)
