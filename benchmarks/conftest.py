# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a run of the suites records about the machine, and the table it prints: slowdowns within each group."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import pytest
import torch

import mirage_kernels
from benchmarks import timing
from mirage.evaluation import machine

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
    device = machine.processor() if timing.DEVICE == "cpu" else torch.cuda.get_device_name()
    machine_info.clear()
    machine_info |= machine.facts() | {"device": device, "versions": versions()}
    machine_info |= {"copy_bandwidth": timing.copy_bandwidth(), "peak": timing.peak()}


def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    for bench in output_json["benchmarks"]:  # every single round would be megabytes
        bench["stats"].pop("data", None)


def slowdown_table(benchmarks: list[Any]) -> list[str]:
    """Markdown rows: group, implementation, median, slowdown relative to the fastest of our backends in the group."""
    groups: dict[str, list[Any]] = {}
    for bench in benchmarks:
        if bench.stats and bench.group:
            groups.setdefault(bench.group, []).append(bench)
    lines = ["| input | implementation | median | slowdown |", "|---|---|---:|---:|"]
    for group, members in groups.items():
        ours = min((b.stats.median for b in members if b.extra_info.get("kind") == "ours"), default=None)
        for bench in sorted(members, key=lambda b: b.stats.median):
            median = bench.stats.median
            ratio = f"{median / ours:.2f}" if ours else ""
            time = f"{median * 1e6:.1f} us" if median < 1e-3 else f"{median * 1e3:.2f} ms"
            lines.append(f"| {group} | {bench.extra_info.get('implementation', bench.name)} | {time} | {ratio} |")
    return lines


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    session = getattr(config, "_benchmarksession", None)
    if session is None or not session.benchmarks:
        return
    title = f"Slowdown relative to mirage_kernels (higher: we are faster): {machine.describe()}"
    for line in ["", title, *slowdown_table(session.benchmarks)]:
        terminalreporter.write_line(line)
