# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What operations cost, and how many times as long everything else takes; ratios within a group of one run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.report.captions import caption, data_of, machine, method_of
from benchmarks.report.markdown import duration, figure, item, paragraph, ratio, table
from benchmarks.report.read import Source

BACKENDS = ("cuda", "triton", "cpp")  # the default is the first that is there
RIVALS = ("reference", "method", "library")
NUMBER = re.compile(r"\d[\d,]*\d|\d")
FEW = 3  # sizes that README lists one by one
ORDER = ("unproject", "splat", "gradient of a splat", "read", "insert", "build", "retrieve", "memory step", "rollout")


class Bench(NamedTuple):
    """One way to do what a group does; seconds."""

    operation: str
    scene: str
    size: str
    way: str
    kind: str
    median: float
    spread: float  # between the quartiles
    extra: dict[str, Any]


class Ratio(NamedTuple):
    """How many times as long as ours another way takes."""

    other: Bench
    ours: Bench
    times: float


def groups(source: Source) -> list[list[Bench]]:
    """The benchmarks of a run by group: operations as a walk goes through them, those of no walk in the end; sizes of a
    kind in the order of the run, of one kind from small to large, scenes side by side."""
    found: dict[str, list[Bench]] = {}
    for bench in source.content["benchmarks"]:
        extra, stats = bench["extra_info"], bench["stats"]
        names = {name: extra[name] for name in ("operation", "scene", "size", "way", "kind")}
        one = Bench(**names, median=stats["median"], spread=stats["iqr"], extra=extra)
        found.setdefault(bench["group"], []).append(one)
    firsts = [group[0] for group in found.values()]
    operations = list(dict.fromkeys((*ORDER, *(first.operation for first in firsts))))
    kinds = list(dict.fromkeys(NUMBER.sub("#", first.size) for first in firsts))

    def place(group: list[Bench]) -> tuple[int, int, list[int], str]:
        first = group[0]
        numbers = [int(number.replace(",", "")) for number in NUMBER.findall(first.size)]
        return operations.index(first.operation), kinds.index(NUMBER.sub("#", first.size)), numbers, first.scene

    return sorted(found.values(), key=place)


def subject(group: list[Bench]) -> Bench | None:
    """Ours: the backend that is the default or, where ways have other names, the fastest of ours."""
    ours = [bench for bench in group if bench.kind == "ours"]
    named = [bench for name in BACKENDS for bench in ours if bench.way == name]
    return next(iter([*named, *sorted(ours, key=lambda bench: bench.median)]), None)


def ratios(source: Source) -> Iterator[Ratio]:
    """Every other way against ours."""
    for group in groups(source):
        ours = subject(group)
        if ours is not None:
            yield from (Ratio(other, ours, other.median / ours.median) for other in group if other is not ours)


def faster(source: Source) -> list[Ratio]:
    """The ways of others that are faster than ours. A bound is no way to do the same."""
    return [found for found in ratios(source) if found.other.kind in RIVALS and found.times < 1]


def picture(source: Source, name: str) -> str:
    return f"{source.path.stem}_{name}.png"


def section(source: Source) -> list[str]:
    """Speed-up over the reference, then everything else."""
    speedup = figure(
        picture(source, "speedup"), "How many times as long as ours everything else takes", caption(source)
    )
    return [*speedup, *_against_reference(source), "", *_against_others(source), "", *_verdict(source)]


def _against_reference(source: Source) -> list[str]:
    rows = []
    for group in groups(source):
        reference = next((bench for bench in group if bench.kind == "reference"), None)
        for bench in (bench for bench in group if bench.kind == "ours"):
            share = bench.extra.get("share_of_copy")
            speedup = None if reference is None else reference.median / bench.median
            rows.append(
                (
                    bench.operation, bench.size, bench.scene, bench.way, duration(bench.median), duration(bench.spread),
                    "" if reference is None else duration(reference.median),
                    "" if speedup is None else f"{ratio(speedup)}" if speedup >= 1 else f"**{ratio(speedup)}, slower**",
                    "" if share is None else f"{share:.0%}",
                )
            )  # fmt: skip
    head = ("operation", "size", "scene", "backend", ">median", ">between quartiles", ">reference", ">speed-up")
    return table((*head, ">of the copy's bandwidth"), rows)


def _against_others(source: Source) -> list[str]:
    rows = [
        (
            r.other.operation, r.other.size, r.other.scene, r.other.way, r.other.kind, duration(r.other.median),
            f"**{ratio(r.times)}, faster**" if r.times < 1 and r.other.kind in RIVALS else ratio(r.times),
            r.other.extra.get("note") if r.times < 1 else "",
        )
        for r in ratios(source)
        if r.other.kind not in ("reference", "ours")
    ]  # fmt: skip
    if not rows:
        return ["Methods and libraries: not measured."]
    head = ("operation", "size", "scene", "against", "kind", ">median", ">times as long as ours", "note")
    return [
        *paragraph(
            "*Method*: a published method's own way. *Library*: what a user would pick instead. *Bound*: cannot be "
            "beaten. *Variant*: ours in another mode."
        ),
        "",
        *table(head, rows),
    ]


def _verdict(source: Source) -> list[str]:
    if not any(r.other.kind in RIVALS for r in ratios(source)):
        return ["Nothing to compare with was measured."]
    found = faster(source)
    if not found:
        return ["Nothing is faster: no reference, no method and no library, on any listed size."]
    lines = ["Faster than ours:", ""]
    for other, ours, times in found:
        why = (other.extra.get("note") or "no reason is given").rstrip(".")
        lines += item(
            f"{other.way}, {other.operation}, {other.size}, {other.scene}: {duration(other.median)} against "
            f"{duration(ours.median)} ({ratio(times)}). {why[0].upper() + why[1:]}."
        )
    return lines


def has_roofline(source: Source) -> bool:
    return any(intensity(bench) is not None for group in groups(source) for bench in group)


def intensity(bench: Bench) -> tuple[float, float] | None:
    """Operations a byte and operations a second, of ours where both are stated."""
    operations, nbytes = bench.extra.get("operations"), bench.extra.get("bytes")
    if bench.kind != "ours" or not operations or not nbytes:
        return None
    return operations / nbytes, operations / bench.median


def roofline(source: Source) -> list[str]:
    if not has_roofline(source):
        return [f"Roofline of {source.path.name}: not measured."]
    facts = source.machine
    return [
        *figure(picture(source, "roofline"), "Roofline of our operations", caption(source)),
        *paragraph(
            f"The roof is this machine's own: a copy moves {facts['copy_bandwidth'] / 1e9:.1f} GB/s, read and "
            f"written, a product of float32 matrices makes {facts['peak'] / 1e9:.0f} GFLOP/s. Operations are those "
            "that the definition states, bytes the least that has to be moved; a dot above the slope works from the "
            "processor's caches."
        ),
    ]


def frames_of(bench: Bench) -> int | None:
    """Frames that a benchmark makes or remembers, as stated or as its size has it."""
    if bench.extra.get("frames"):
        return int(bench.extra["frames"])
    found = re.search(r"([\d,]+) frames?\b", bench.size)
    return int(found[1].replace(",", "")) if found else None


def per_frame(source: Source) -> list[str]:
    """The memory step and rollouts."""
    rows = []
    for bench in (
        bench for group in groups(source) for bench in group if bench.operation in ("memory step", "rollout")
    ):
        frames = frames_of(bench)
        each = "" if not frames else duration(bench.median / frames)
        rows.append((bench.operation, bench.size, bench.scene, bench.way, duration(bench.median), frames, each))
    if not rows:
        return [f"Memory step and rollouts of {source.path.name}: not measured."]
    lines = table(("what", "size", "scene", "way", ">median", ">frames", ">per frame"), rows)
    return [*paragraph(f"{machine(source.machine)}. {data_of(source)} {method_of(source)}"), "", *lines]


def summary(source: Source) -> list[str]:
    """README's table: a line for every operation and way; of many sizes the range."""
    found: dict[tuple[str, str], dict[str, dict[str, float]]] = {}
    sizes: dict[tuple[str, str], dict[str, None]] = {}
    for other, ours, times in ratios(source):
        if ours.way in BACKENDS and other.kind in (*RIVALS, "bound"):
            key = (other.operation, other.way)
            found.setdefault(key, {}).setdefault(other.scene, {})[other.size] = times
            sizes.setdefault(key, {})[other.size] = None
    rows = []
    for key, scenes in found.items():
        few = len(sizes[key]) <= FEW
        names = list(sizes[key])
        told = "; ".join(names) if few else f"{len(names)} sizes, {names[0]} to {names[-1]}"
        by_scene = (f"{scene} {_list_or_range(times, names if few else None)}" for scene, times in scenes.items())
        rows.append((*key, told, "; ".join(by_scene)))
    return table(("operation", "way", "sizes", "times as long"), rows)


def _list_or_range(times: dict[str, float], names: list[str] | None) -> str:
    if names is None:
        return " to ".join(dict.fromkeys((ratio(min(times.values())), ratio(max(times.values())))))
    return ", ".join(ratio(times[name]) if name in times else "-" for name in names)


def overheads(source: Source) -> str | None:
    """README's sentence about calls with hardly any work."""
    told = [
        f"{bench.size} ({bench.scene}) {duration(bench.median)}"
        for group in groups(source)
        for bench in group
        if bench.operation == "overhead" and bench.kind == "ours"
    ]
    return f"Calls with hardly any work: {'; '.join(told)}." if told else None
