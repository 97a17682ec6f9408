# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a run of the suites says about itself, and its table of ratios: everyone of a group against our backend."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import pytest

import mirage_kernels
from benchmarks import machine, timing

PACKAGES = ("torch", "triton", "numpy", "scipy", "open3d", "torch-scatter", "diffusers", "pytest-benchmark")


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "mirage-kernels": mirage_kernels.__version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    machine_info.clear()
    machine_info |= machine.facts() | {"device": machine.device(), "versions": versions()}
    machine_info |= {"copy_bandwidth": timing.copy_bandwidth(), "peak": timing.peak()}


def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    for bench in output_json["benchmarks"]:  # every single round is megabytes
        bench["stats"].pop("data", None)


def ratio_table(benchmarks: list[Any]) -> list[str]:
    """Markdown rows: group, way, median, how many times as long as the fastest of ours in the group."""
    groups: dict[str, list[Any]] = {}
    for bench in benchmarks:
        if bench.stats and bench.group:
            groups.setdefault(bench.group, []).append(bench)
    lines = ["| what | way | median | times as long |", "|---|---|---:|---:|"]
    for group, members in groups.items():
        ours = min((b.stats.median for b in members if b.extra_info.get("kind") == "ours"), default=None)
        for bench in sorted(members, key=lambda b: b.stats.median):
            median = bench.stats.median
            ratio = f"{median / ours:.2f}" if ours else ""
            time = f"{median * 1e6:.1f} us" if median < 1e-3 else f"{median * 1e3:.2f} ms"
            lines.append(f"| {group} | {bench.extra_info.get('way', bench.name)} | {time} | {ratio} |")
    return lines


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session = getattr(config, "_benchmarksession", None)
    if session is None or not session.benchmarks:
        return
    for line in ["", f"Medians of this run: {machine.describe()}", *ratio_table(session.benchmarks)]:
        terminalreporter.write_line(line)
