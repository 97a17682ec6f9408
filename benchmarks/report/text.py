# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""RESULTS.md as a whole: the template, with every place filled from the files or said to be not measured."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.report import memories, models, operations, studies
from benchmarks.report.captions import machine
from benchmarks.report.links import REPOSITORY, relative
from benchmarks.report.markdown import table
from benchmarks.report.read import Results, Source

TEMPLATE = Path(__file__).parent / "RESULTS.template.md"
NOT_MEASURED = "Not measured."
TITLES = {
    "operations": "operations (pytest-benchmark)",
    "wan_full": "the memory beside the diffusion model",
    "wan_tiny": "the memory beside a tiny configuration of it",
}


def compose(results: Results, root: Path) -> str:
    """The text of ``root/RESULTS.md``."""
    places = _places(results, root)
    text = TEMPLATE.read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: places[found[1]], text)


def _places(results: Results, root: Path) -> dict[str, str]:
    here = relative(REPOSITORY / "benchmarks", root)

    def of_one(kind: str, section: Callable[[Source], list[str]]) -> list[str]:
        source = results.one(kind)
        return [NOT_MEASURED] if source is None else section(source)

    def of_runs(section: Callable[[Source], list[str]]) -> list[str]:
        runs = [_titled(source, results, section) for source in results.operations]
        return [line for lines in runs for line in lines] or [NOT_MEASURED]

    sections = {
        "sources": _sources(results, root),
        "memories": of_one("memories", memories.section),
        "corridor": of_one("corridor", studies.corridor),
        "operations": of_runs(operations.section),
        "roofline": of_runs(operations.roofline),
        "per_frame": of_runs(operations.per_frame),
        "forgetting": of_one("forgetting", studies.forgetting),
        "filters": of_one("filters", lambda source: studies.filters(source, root)),
        "depth_drift": of_one("depth_drift", studies.depth_drift),
        "wan": models.wan(results.one("wan_full"), results.one("wan_tiny")),
        "gpu": models.gpu(results.one("gpu")),
    }
    texts = {name: "\n".join(lines).strip("\n") for name, lines in sections.items()}
    return {**texts, "here": "" if here == "." else f"{here}/"}


def _versions(source: Source) -> list[str]:
    """What else a run of operations says about its machine."""
    if source.kind != "operations":
        return []
    facts = source.machine
    others = [f"{name} {version}" for name, version in facts["versions"].items() if name != "torch"]
    return [*others, f"copy {facts['copy_bandwidth'] / 1e9:.1f} GB/s", f"peak {facts['peak'] / 1e9:,.0f} GFLOP/s"]


def _titled(source: Source, results: Results, section: Callable[[Source], list[str]]) -> list[str]:
    """A section, under the name of its run where there are several."""
    title = [f"### {source.path.stem}", ""] if len(results.operations) > 1 else []
    return [*title, *section(source), ""]


def _sources(results: Results, root: Path) -> list[str]:
    rows = [
        (
            TITLES.get(source.kind, source.kind.replace("_", " ")),
            f"[{source.path.name}]({relative(source.path, root)})",
            "; ".join([machine(source.machine), *_versions(source)]),
        )
        for source in results.sources
    ]
    return table(("what", "file", "machine, versions, commit, date"), rows) if rows else [NOT_MEASURED]
