# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The numbers of README: what stands between ``<!-- numbers: NAME -->`` and ``<!-- end -->`` is made here."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.report import memories, operations, studies
from benchmarks.report.captions import machine
from benchmarks.report.links import relative
from benchmarks.report.markdown import paragraph
from benchmarks.report.read import Results, Source
from mirage.errors import DataError

BLOCK = re.compile(r"(<!-- numbers: ([^>]*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
MARK = re.compile(r"<!-- (?:numbers: [^>]*|end) -->")


def fill(text: str, results: Results, root: Path, path: Path) -> str:
    """The text of a README with its numbers made anew.

    Args:
        text: as it is.
        root: the folder that RESULTS.md and its figures lie in.
        path: of the README, for its links and for errors.

    Raises:
        DataError: a mark is unknown, named twice, or has no end.
    """
    blocks = _blocks(results, root, path.parent)
    names = [found[2] for found in BLOCK.finditer(text)]
    if len(MARK.findall(text)) != 2 * len(names):
        raise DataError(f"{path}: expected an end after every mark of numbers, and no other, got them in another order")
    for name in names:
        if name not in blocks or names.count(name) > 1:
            raise DataError(f"{path}: expected each of {', '.join(blocks)} at most once, got numbers: {name}")
    return BLOCK.sub(lambda found: "".join([found[1], *(f"{line}\n" for line in blocks[found[2]]), found[4]]), text)


def _blocks(results: Results, root: Path, folder: Path) -> dict[str, list[str]]:
    """Lines by the name of their place."""
    makers: dict[str, Callable[[Source], list[str]]] = {
        "memories": lambda source: _memories(source, root, folder),
        "forgetting": studies.forgetting_summary,
        "corridor": lambda source: _corridor(source, root, folder),
        "depth_drift": lambda source: paragraph(studies.depth_sentence(source) or ""),
        "filters": lambda source: paragraph(studies.filters_sentence(source) or ""),
    }
    blocks: dict[str, list[str]] = {}
    for kind, make in makers.items():
        source = results.one(kind)
        blocks[kind] = [] if source is None else make(source)
    blocks["operations"] = [line for source in results.operations for line in _operations(source)]
    return {kind: lines or ["Not measured."] for kind, lines in blocks.items()}


def _image(name: str, what: str, root: Path, folder: Path) -> list[str]:
    return [f"![{what}]({relative(root / 'results' / name, folder)})"]


def _memories(source: Source, root: Path, folder: Path) -> list[str]:
    told = memories.headline(source)
    if told is None:
        return []
    run = source.content["runs"][0]
    what = "Time per frame and size of three memories over the chunks of one walk"
    return [
        *paragraph(f"{told} Measured on {machine(source.machine)}."),
        "",
        *_image(memories.picture(run), what, root, folder),
    ]


def _corridor(source: Source, root: Path, folder: Path) -> list[str]:
    chunks = source.content["voxel_cache"][-1]["chunk"]
    picture = _image(studies.CORRIDOR, f"Read and insert over {chunks:,} chunks", root, folder)
    return [*picture, "", *paragraph(f"{studies.corridor_sentence(source)} Measured on {machine(source.machine)}.")]


def _operations(source: Source) -> list[str]:
    found = [f"{r.other.way}, {r.other.operation}, {r.other.size}, {r.other.scene}" for r in operations.faster(source)]
    verdict = (
        f"Faster than ours, why is in RESULTS.md: {'; '.join(found)}." if found else "Nothing is faster than ours."
    )
    return [
        *paragraph(f"How many times as long as ours others take, in one run on {machine(source.machine)}:"),
        "",
        *operations.summary(source),
        "",
        *paragraph(" ".join(filter(None, [verdict, operations.overheads(source)]))),
    ]
