# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Tables of what programs of their own measured: the corridor, what forgetting costs, filters, drifting depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.report.captions import caption
from benchmarks.report.links import REPOSITORY, relative
from benchmarks.report.markdown import bare, digits, duration, figure, paragraph, ratio, table
from benchmarks.report.read import Source

CORRIDOR, DRIFT = "corridor.png", "depth_drift.png"
FILTERED = {
    "filters_masks.jpg": "Strict masks",
    "filters_sky.jpg": "Sky from the picture alone",
    "filters_ghosts.jpg": "Motion and consistency, no mask",
    "filters_depth.jpg": "Edges and distance",
}
MIB = 2**20


def corridor(source: Source) -> list[str]:
    rows = [
        (
            f"{row['chunk']:,}", f"{row['rows']:,.0f}", digits(row["mib"]), duration(row["read"]),
            ratio(row["read"] / row["first_read"]), duration(row["unculled"]), duration(row["insert"]),
        )
        for row in source.content["voxel_cache"]
    ]  # fmt: skip
    head = ("chunk", ">rows", ">MiB", ">read", ">of one at chunk 10", ">without culling", ">insert")
    what = "Reading and writing over the chunks of a corridor without end, both axes logarithmic"
    return [*figure(CORRIDOR, what, caption(source)), *paragraph(corridor_sentence(source)), "", *table(head, rows)]


def corridor_sentence(source: Source) -> str:
    ratios, last = source.content["ratios"], source.content["voxel_cache"][-1]
    return (
        f"In a corridor of {last['rows'] / 1e6:.1f} million rows a read at chunk {last['chunk']:,} takes "
        f"{ratios['read']:.2f} times as long as one of a copy from chunk 10 made in turn with it "
        f"({ratios['read_worst']:.2f} at the worst checkpoint), an insert {ratios['insert']:.2f} times as long as at "
        f"chunk 10 ({ratios['insert_worst']:.2f} at the worst), and reading without culling "
        f"{ratio(ratios['culling'])} times as long as with it."
    )


def _drawn(row: dict[str, Any]) -> str:
    return f"extents {row['extents']:g}" if row["extents"] else "points"


def _shares(values: list[float]) -> str:
    return " ".join(bare(value) for value in values)


def forgetting(source: Source) -> list[str]:
    first = source.content["rows"][0]["nbytes"]
    rows = []
    for row in source.content["rows"]:
        name = f"{row['memory']}, {row['storage']}, {_drawn(row)}"
        name = f"**{name}** (default)" if row["default"] else name
        size = (f"{row['nbytes'] / MIB:.2f}", f"{row['nbytes'] / first:.3f}", f"{row['shrunk'] / first:.3f}")
        rows.append((name, f"{row['rows']:,}", *size, _shares(row["own"]), _shares(row["later"]), row["again"]))
    head = ("memory", ">rows", ">MiB", ">of float32 append-only", ">without room to grow")
    views = ("own views: known, behind, front", "later views: known, behind, front")
    return [*paragraph(f"{caption(source)}"), "", *table((*head, *views, ">the same again adds"), rows)]


def forgetting_summary(source: Source) -> list[str]:
    """README's table, of the memories that one would choose between, and what it says."""
    every = source.content["rows"]
    default = next((row for row in every if row["default"]), None)
    chosen = [
        row
        for row in every
        if row["memory"] == "append-only"
        or row["memory"] == "voxels of 5 cm"
        or (default and row["memory"] == default["memory"] and row["extents"] == default["extents"])
    ]
    rows = []
    for row in chosen:
        name = f"{row['memory']}, {row['storage']}, {_drawn(row)}"
        name = f"**{name}** (default)" if row["default"] else name
        share = bare(row["nbytes"] / every[0]["nbytes"]) if row is not every[0] else "1.000"
        rows.append((name, f"{row['rows']:,}", share, _shares(row["own"]), _shares(row["later"])))
    views = ("own views: known, behind, front", "later views: known, behind, front")
    lines = table(("memory", ">rows", ">of the bytes", *views), rows)
    points = next((row for row in every if row["memory"] == "append-only" and not row["extents"]), None)
    wide = next((row for row in every if row["memory"] == "append-only" and row["extents"]), None)
    if default and points and wide:
        text = (
            f"At extents of {bare(default['extents'], 2)} later views know {bare(default['later'][0], 2)} of their "
            f"cells, append-only points {bare(points['later'][0], 2)}, with {bare(default['later'][2], 2)} in front "
            f"of the true surface; append-only with extents of {bare(wide['extents'], 1)} has "
            f"{bare(wide['later'][2], 2)}."
        )
        lines += ["", *paragraph(text)]
    return lines


def filters(source: Source, root: Path) -> list[str]:
    content = source.content
    masks = [(row["name"], row["cells"], row["strict"], row["nearest"]) for row in content["masks"]]
    things = []
    for row in content["things"]:
        chosen = "consistency" in row["filters"] and "motion" in row["filters"]  # what a user would combine
        name = f"**{row['filters']}**" if chosen else row["filters"]
        shares = [f"{row[part]:.2%}" for part in ("share", "lost", "refused")]
        things.append((row["thing"], name, f"{row['points']:,}", *shares, f"{row['carved']:,}"))
    sky, stale = content["sky"], content["stale"]
    outline, drawn = (
        relative(REPOSITORY / f"tests/mirage/filters/images/sky_case_2.{end}", root) for end in ("json", "jpg")
    )
    pictures = [
        line
        for name, what in FILTERED.items()
        if (path := source.path.parent / name).exists()
        for line in (f"![{what}]({relative(path, root)})", "")
    ]
    return [
        *paragraph(caption(source)),
        "",
        *table(
            (
                "masks", ">cells with a masked pixel", ">written by the strict rule", ">written by nearest sampling",
            ),
            masks,
        ),
        "",
        *paragraph(
            f"Sky of case_2, from the picture alone: {sky['out']:.2%} of the cells with sky in them are out, "
            f"{sky['lost']:.2%} of the others are lost (against [an outline by hand]({outline}), [drawn "
            f"here]({drawn}))."
        ),
        "",
        *table(
            ("thing", "filters", ">points on it", ">of no filter", ">static surface lost", ">refused", ">carved"),
            things,
        ),
        "",
        *paragraph(
            f"Gone between two visits: of {stale['thing']:,} points on the thing, where there is depth again, "
            f"{stale['left']:,} are left; of {stale['others']:,} others {stale['still']:,} are still there, and "
            f"{stale['anyway']:,} go where nothing ever stood."
        ),
        "",
        *pictures,
    ]  # fmt: skip


def filters_sentence(source: Source) -> str | None:
    """README's: what the first thing leaves without filters, and with motion and consistency alone."""
    things = source.content["things"]
    of_first = {row["filters"]: row for row in things if row["thing"] == things[0]["thing"]}
    bare_memory, filtered = of_first.get("no filter"), of_first.get("consistency and motion")
    if bare_memory is None or filtered is None:
        return None
    return (
        f"A {things[0]['thing']} set into 40 frames of a real recording, moving with its own depth, leaves "
        f"{bare_memory['points']:,} points in a memory without filters; motion and consistency alone, with no mask "
        f"and no network, leave {filtered['points']:,}, and cost {filtered['lost']:.1%} of the static surface."
    )


def depth_drift(source: Source) -> list[str]:
    late_from = source.content["late_from"]
    rows = []
    for row in source.content["walks"]:
        late = row["late"]
        parts = (digits(late[part]) for part in ("mean", "median", "95 %", "worst frame"))
        rows.append((row["name"], f"{late['cells']:,}", *parts, len(row["refused"])))
    head = ("depth", ">cells seen again", ">mean, cells", ">median", ">95 %", ">worst frame's mean", ">frames refused")
    what = (
        f"Depth that grows by {source.content['drift'] - 1:.0%} a frame: how far seen places lie from where they belong"
    )
    return [
        *figure(DRIFT, what, caption(source)),
        *paragraph(f"Cells that frames from number {late_from} on saw again:"),
        "",
        *table(head, rows),
    ]


def depth_sentence(source: Source) -> str | None:
    walks = {row["name"]: row["late"] for row in source.content["walks"]}
    if not {"as it is", "aligned"} <= set(walks):
        return None
    aligned, raw = walks["aligned"], walks["as it is"]
    return (
        f"Depth that grows by {source.content['drift'] - 1:.0%} a frame over a real recording: cells seen again after "
        f"{source.content['late_from']} frames lie {digits(aligned['mean'], 2)} of a cell from their places on average "
        f"({digits(aligned['worst frame'], 2)} in the worst frame), without alignment {digits(raw['mean'])} "
        "(`python -m benchmarks.depth_drift`)."
    )
