# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Where and with what a figure was measured."""

from __future__ import annotations

import datetime
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

import mirage_kernels
from benchmarks.timing import DEVICE

ROOT = Path(__file__).resolve().parents[1]
# what runs write makes no other code of it
RESULTS = ("benchmarks/results", "benchmarks/RESULTS.md", "benchmarks/baseline.json")


def commit(root: Path = ROOT) -> str:
    """The commit that is checked out, with "-dirty" where something else than results has changed since; "unknown"
    without git, or outside of a repository."""

    def git(*arguments: str) -> str:
        try:
            run = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return run.stdout.strip()

    changed = git("diff", "--name-only", "HEAD", "--", ".", *(f":(exclude){path}" for path in RESULTS))
    return (git("describe", "--always") or "unknown") + ("-dirty" if changed else "")


def processor() -> str:
    """Its name, and family and model where it has them: what a cloud rents out is often called "AMD EPYC" only."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return platform.machine()
    told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    name = told.get("model name", platform.machine())
    numbers = [f"{what} {told[key]}" for what, key in (("family", "cpu family"), ("model", "model")) if key in told]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def device() -> str:
    """What the operations run on: the processor, or the GPU."""
    return torch.cuda.get_device_name() if DEVICE != "cpu" else processor()


def facts() -> dict[str, Any]:
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "instruction_sets": mirage_kernels.instruction_sets(),
        "torch": torch.__version__,
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
    }


def describe() -> str:
    f = facts()
    widest = f["instruction_sets"][-1] if f["instruction_sets"] else "no native kernels"
    return f"{f['processor']}, {f['threads']} threads, {widest}, torch {f['torch']}, commit {f['commit']}, {f['date']}"
