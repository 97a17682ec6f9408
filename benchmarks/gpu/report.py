# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``results.json`` and the table of a run."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine
from benchmarks.gpu.rows import Row
from mirage_kernels import build_info

DATA = "Points on the walls of a made-up room, cameras of 44x80 cells that turn in its middle; 48 bfloat16 channels."
METHOD = "Medians of replayed graphs or of eager calls, over inputs that take turns; each is checked against the CPU."


def triton_version() -> str | None:
    try:
        import triton
    except ImportError:
        return None
    return str(triton.__version__)


def facts(device: str) -> dict[str, Any]:
    found: dict[str, Any] = {**machine.facts(), "python": platform.python_version(), "triton": triton_version()}
    found["build"] = build_info()
    if device == "cuda":
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        try:
            driver = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split("\n")[0]
        except OSError:
            driver = ""
        found |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda, "driver": driver or "unknown"}
    return found


def write(folder: Path, result: dict[str, Any]) -> None:
    (folder / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "results.md").write_text(table(result))


def table(result: dict[str, Any]) -> str:
    m, bandwidth = result["machine"], result["copy_bandwidth"]
    where = (
        f"{m.get('gpu', m['processor'])}, driver {m.get('driver', 'none')}, torch {m['torch']}, triton {m['triton']}"
    )
    lines = [
        f"{where}, commit {m['commit']}, {m['date']}. Copy bandwidth {bandwidth / 1e12:.2f} TB/s, read and written.",
        "",
        "| what | who | median | goal | copying as many bytes | how |",
        "|---|---|---:|---:|---:|---|",
    ]
    for row in (Row(**r) for r in result["rows"]):
        floor = "" if row.nbytes is None else f"{row.nbytes / bandwidth * 1e6:.1f} us"
        goal = "" if row.goal is None else f"{row.goal * 1e6:.0f} us"
        lines.append(f"| {row.what} | {row.backend} | {row.seconds * 1e6:.1f} us | {goal} | {floor} | {row.how} |")
    wrong = ", ".join(f"{count:,} {name}" for name, count in result["argsort"].items())
    lines += ["", f"What the append-only argsort path draws: {wrong}.", ""]
    lines += [f"* not measured: {reason}" for reason in result["not measured"]]
    lines += [f"* {name}: {state}" for name, state in result["checks"].items()]
    return "\n".join(lines) + "\n"
