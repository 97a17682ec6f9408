# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""After the benchmarks, a table of ratios: every baseline of a group against the fastest backend, from the same run."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

import mirage_kernels


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=config.rootpath, capture_output=True, text=True, check=False
    )
    machine_info |= {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "instruction_sets": mirage_kernels.instruction_sets(),
        "commit": commit.stdout.strip(),
        "build": mirage_kernels.build_info(),
    }


def ratio_table(benchmarks: list[Any]) -> list[str]:
    """Markdown rows: group, who, median, how many times as long as the group's subject (marked by extra_info)."""
    groups: dict[str, list[Any]] = {}
    for bench in benchmarks:
        if bench.stats and bench.group:
            groups.setdefault(bench.group, []).append(bench)
    lines = ["| what | who | median | times as long |", "|---|---|---:|---:|"]
    for group, members in groups.items():
        subject = next((b.stats.median for b in members if b.extra_info.get("subject")), None)
        for bench in sorted(members, key=lambda b: b.stats.median):
            median = bench.stats.median
            ratio = f"{median / subject:.1f}" if subject else ""
            time = f"{median * 1e6:.1f} µs" if median < 1e-3 else f"{median * 1e3:.2f} ms"
            lines.append(f"| {group} | {bench.extra_info.get('who', bench.name)} | {time} | {ratio} |")
    return lines


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session = getattr(config, "_benchmarksession", None)
    if session is None or not session.benchmarks:
        return
    lines = ratio_table(session.benchmarks)
    where = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    terminalreporter.write_line("")
    terminalreporter.write_line(f"Medians of this run ({where}):")
    for line in lines:
        terminalreporter.write_line(line)
    out = Path(config.rootpath, "out")
    out.mkdir(exist_ok=True)
    (out / "bench.md").write_text("\n".join([f"Medians of one run ({where}).", "", *lines, ""]))
