# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``results.json`` and ``results.md``."""

from __future__ import annotations

import json
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from mirage.evaluation import machine
from mirage_kernels import build_info

DATA = "Points on the walls of a synthetic room, cameras of 44x80 cells that turn in its center; 48 bfloat16 channels."
METHOD = (
    "Medians of graph replays or eager calls with alternating inputs, at least 100 ms of samples after 200 ms of "
    "warm-up; all results are checked against the CPU."
)
# Earlier results in the folder are discarded when one of these differs.
SAME = ("commit", "torch", "processor", "gpu", "build")


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


class Results:
    """``results.json`` and ``results.md`` in a folder; parts that run one after the other add to the same files.

    Attributes:
        content: the content of ``results.json``.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self.folder = folder
        self.content: dict[str, Any] = {
            "kind": "gpu", "machine": facts(device), "data": DATA, "method": METHOD, "copy_bandwidth": 0.0,
            "rows": [], "argsort": {}, "not measured": [], "checks": {},
        }  # fmt: skip
        earlier = folder / "results.json"
        if earlier.exists():
            content = read(earlier)
            if all(content["machine"].get(name) == self.content["machine"].get(name) for name in SAME):
                self.content = content

    def forget(self, backend: str) -> None:
        """Remove the reasons of a backend that is measured again; its rows stay until there are new ones."""
        c = self.content
        c["not measured"] = [line for line in c["not measured"] if not line.startswith((f"{backend}:", f"{backend},"))]

    def add(self, found: dict[str, Any]) -> None:
        """Append rows and reasons, replace everything else, and write. A new row replaces an old one of the same
        name."""
        for name, value in found.items():
            if name == "rows":
                new = {(row["what"], row["backend"]) for row in value}
                rows = [row for row in self.content[name] if (row["what"], row["backend"]) not in new]
                self.content[name] = rows + value
            elif isinstance(value, list):
                self.content[name] += value
            elif name == "checks":
                self.content[name] |= value
            else:
                self.content[name] = value
        self.folder.mkdir(parents=True, exist_ok=True)
        replace(self.folder / "results.json", json.dumps(self.content, indent=1) + "\n")
        replace(self.folder / "results.md", table(self.content))


def read(path: Path) -> dict[str, Any]:
    """Earlier results; a file that cannot be read is renamed, and counts as results of another machine."""
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except ValueError:
        content = {}
    if not {"machine", "rows", "checks", "not measured"} <= set(content):
        path.replace(path.with_name("results.damaged"))
        return {"machine": {}}
    return content


def replace(path: Path, text: str) -> None:
    """Write a file atomically."""
    partial = path.with_name(f".{path.name}")
    partial.write_text(text)
    partial.replace(path)


def table(result: dict[str, Any]) -> str:
    m, bandwidth = result["machine"], result["copy_bandwidth"]
    where = (
        f"{m.get('gpu', m['processor'])}, driver {m.get('driver', 'none')}, torch {m['torch']}, triton {m['triton']}"
    )
    copied = f"{bandwidth / 1e12:.2f} TB/s, read and written" if bandwidth else "not measured"
    lines = [
        f"{where}, commit {m['commit']}, {m['date']}. Copy bandwidth {copied}.",
        "",
        "| what | backend | median | goal | copying as many bytes | how |",
        "|---|---|---:|---:|---:|---|",
    ]
    for row in result["rows"]:
        floor = f"{row['nbytes'] / bandwidth * 1e6:.1f} us" if row["nbytes"] and bandwidth else ""
        goal = "" if row["goal"] is None else f"{row['goal'] * 1e6:.0f} us"
        median = f"{row['seconds'] * 1e6:.1f} us"
        lines.append(f"| {row['what']} | {row['backend']} | {median} | {goal} | {floor} | {row['how']} |")
    wrong = ", ".join(f"{count:,} {name}" for name, count in result["argsort"].items())
    lines += ["", f"Cells of the append-only argsort path: {wrong or 'not measured'}.", ""]
    lines += [f"* not measured: {reason}" for reason in result["not measured"]]
    lines += [f"* {name}: {state}" for name, state in result["checks"].items()]
    return "\n".join(lines) + "\n"
