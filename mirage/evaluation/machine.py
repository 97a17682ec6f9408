# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The machine, the versions and the commit that a result was measured with."""

from __future__ import annotations

import datetime
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

import mirage_kernels

ROOT = Path(__file__).resolve().parents[2]
# files that benchmarks write: a change to them does not change the code
RESULTS = ("benchmarks/results", "benchmarks/RESULTS.md", "benchmarks/baseline.json")


def commit(root: Path = ROOT) -> str:
    """The commit that is checked out, with ``-dirty`` when anything but results has changed since.

    Args:
        root: the folder of the repository.

    Returns:
        An abbreviated hash or a tag, or ``unknown`` without git or outside a repository.
    """

    def git(*arguments: str) -> str:
        try:
            run = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return run.stdout.strip()

    if not (root / ".git").exists():  # an installed package may lie inside another project's repository
        return "unknown"
    changed = git("diff", "--name-only", "HEAD", "--", ".", *(f":(exclude){path}" for path in RESULTS))
    return (git("describe", "--always") or "unknown") + ("-dirty" if changed else "")


def processor() -> str:
    """The name of the processor, with family and model on Linux, because clouds often report only "AMD EPYC"."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return platform.machine()
    entries = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    name = entries.get("model name", platform.machine())
    keys = (("family", "cpu family"), ("model", "model"))
    numbers = [f"{what} {entries[key]}" for what, key in keys if key in entries]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def facts() -> dict[str, Any]:
    """Processor, threads, instruction sets, version of torch, commit and date, for files of results."""
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "instruction_sets": mirage_kernels.instruction_sets(),
        "torch": torch.__version__,
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
    }


def describe() -> str:
    """The result of :func:`facts` in one line."""
    f = facts()
    widest = f["instruction_sets"][-1] if f["instruction_sets"] else "no native kernels"
    return f"{f['processor']}, {f['threads']} threads, {widest}, torch {f['torch']}, commit {f['commit']}, {f['date']}"
