# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Machine, date, commit, data and method of a figure, out of its file."""

from __future__ import annotations

from typing import Any

from benchmarks.report.read import Source

SCENES = {
    "room": "room (made up)",
    "hololens": "hololens (a real recording)",
    "motorcycle": "motorcycle (Middlebury 2014)",
}


def machine(facts: dict[str, Any]) -> str:
    """One line about where a file was measured."""
    device = facts.get("gpu") or facts.get("device")
    widest = facts["instruction_sets"][-1] if facts["instruction_sets"] else "no native kernels"
    parts = [facts["processor"], f"{facts['threads']} threads", widest, f"torch {facts['torch']}"]
    on_gpu = [str(device)] if device and device not in ("CPU", facts["processor"]) else []
    return ", ".join([*on_gpu, *parts, f"commit {facts['commit']}", facts["date"]])


def caption(source: Source) -> str:
    """Machine, commit and date, then data and method."""
    data, method = data_of(source), method_of(source)
    return f"{machine(source.machine)}. Data: {_sentence(data)} Method: {_sentence(method)}"


def data_of(source: Source) -> str:
    if source.kind != "operations":
        return str(source.content["data"])
    return str(source.machine.get("data") or ", ".join(SCENES.get(scene, scene) for scene in _scenes(source)))


def method_of(source: Source) -> str:
    if source.kind != "operations":
        return str(source.content["method"])
    if source.machine.get("method"):
        return str(source.machine["method"])
    rounds = [bench["stats"]["rounds"] for bench in source.content["benchmarks"]]
    least, most = min(rounds, default=0), max(rounds, default=0)
    times = str(most) if least == most else f"{least} to {most}"
    return f"pytest-benchmark, medians of {times} rounds; ratios are formed inside one group of this run."


def _scenes(source: Source) -> list[str]:
    return sorted({bench["extra_info"]["scene"] for bench in source.content["benchmarks"]}) or ["nothing"]


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
