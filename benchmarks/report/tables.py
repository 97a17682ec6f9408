# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The tables of RESULTS.md, one function per kind of file: its name and content in, lines of Markdown out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from benchmarks import wan_full as wan_program
from benchmarks.gpu import report as gpu_program

Content = dict[str, Any]

BACKENDS = ("cuda", "triton", "cpp")  # the default is the first one available
RIVALS = ("reference", "method", "library")  # a bound or a variant does not do the same work
NUMBER = re.compile(r"\d[\d,]*")
ORDER = ("unproject", "splat", "gradient of a splat", "read", "insert", "build", "retrieve", "memory step", "rollout")
CHUNK = "704x1280, 33 frames"
HEADLINES = {  # one input per operation for the table that comes first
    "unproject": CHUNK, "splat": CHUNK, "gradient of a splat": CHUNK, "read": "1,000,000 rows",
    "insert": "31,680 points into 1,000,000 rows", "build": "1,000,000 points at 5 cm",
    "retrieve": "1 view, past frames kept", "memory step": CHUNK, "rollout": "480x720, 97 frames",
}  # fmt: skip
COUNT = "{:,}".format
SLOWDOWN = "Slowdown relative to mirage_kernels (higher: we are faster)"


class Bench(NamedTuple):
    """The time of one implementation, in seconds; ``iqr`` is the distance between the quartiles, ``extra`` all that the
    suite recorded."""

    operation: str
    scene: str
    size: str
    implementation: str
    kind: str
    median: float
    iqr: float
    extra: dict[str, Any]


class Group(NamedTuple):
    """One operation on one input: our backends, and the baselines with the reference among them."""

    operation: str
    scene: str
    size: str
    ours: list[Bench]
    others: list[Bench]

    @property
    def best(self) -> Bench:
        """The default backend, which slowdowns are relative to."""
        named = [bench for name in BACKENDS for bench in self.ours if bench.implementation == name]
        return named[0] if named else min(self.ours, key=lambda bench: bench.median)

    def slowdown(self, other: Bench) -> float:
        """The time of another implementation relative to ours; higher means that ours is faster."""
        return other.median / self.best.median


def groups_of(content: dict[str, Any]) -> list[Group]:
    """The groups with a backend of ours, in the order of a rollout; variants of a size apart, small sizes first."""
    found: dict[str, Group] = {}
    for bench in content["benchmarks"]:
        extra, stats = bench["extra_info"], bench["stats"]
        names = {name: extra[name] for name in ("operation", "scene", "size", "implementation", "kind")}
        one = Bench(**names, median=stats["median"], iqr=stats["iqr"], extra=extra)
        group = found.setdefault(bench["group"], Group(one.operation, one.scene, one.size, [], []))
        (group.ours if one.kind == "ours" else group.others).append(one)
    order = [*ORDER, *(group.operation for group in found.values())]
    variants = [NUMBER.sub("#", group.size) for group in found.values()]

    def place(group: Group) -> tuple[int, int, list[int], str]:
        numbers = [int(number.replace(",", "")) for number in NUMBER.findall(group.size)]
        return order.index(group.operation), variants.index(NUMBER.sub("#", group.size)), numbers, group.scene

    return sorted((group for group in found.values() if group.ours), key=place)


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits; digits before the point are never dropped."""
    magnitude = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:,.{max(0, digits - magnitude)}f}" if magnitude else f"{value:.{digits}g}"


def duration(seconds: float) -> str:
    unit, scale = ("s", 1.0) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("µs", 1e6)
    return f"{significant(seconds * scale)} {unit}"


def factor(value: float) -> str:
    """A ratio; bold where the other one is better."""
    text = f"{value:,.0f}x" if value >= 9.95 else f"{value:.1f}x" if value >= 1.95 else f"{value:.2f}x"
    return text if value >= 1 else f"**{text}**"


def table(rows: Iterable[Any], columns: dict[str, Callable[[Any], Any]]) -> list[str]:
    """A Markdown table: for each heading what it shows of a row; a heading that begins with ``>`` is aligned right."""
    names = [name.removeprefix(">") for name in columns]
    lines = [names, ["---:" if name.startswith(">") else "---" for name in columns]]
    lines += [[str(show(row)) for show in columns.values()] for row in rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def item(key: str, form: Callable[[Any], str] = str) -> Callable[[dict[str, Any]], str]:
    """A column that shows an item of a row, and nothing where it is None."""
    return lambda row: "" if row[key] is None else form(row[key])


def chart(name: str, what: str) -> list[str]:
    return [f"![{what}](results/{name}.png)", ""]


def source_line(name: str, content: Content) -> list[str]:
    """Where the figures come from: the file, the machine, data and method."""
    facts = content.get("machine_info") or content["machine"]
    lines = [f"[{name}.json](results/{name}.json): {machine(facts)}.", ""]
    if "data" in content:
        lines[:1] = [lines[0], f"{content['data'].rstrip('.')}.", f"{content['method'].rstrip('.')}."]
    return lines


def machine(facts: dict[str, Any]) -> str:
    """Processor, GPU, versions, commit and date."""
    gpu = facts.get("gpu") or facts.get("device")
    parts = [gpu] if gpu and gpu != facts["processor"] else []
    parts += [facts["processor"], f"{facts['threads']} threads", *facts["instruction_sets"][-1:]]
    return ", ".join([*parts, f"torch {facts['torch']}", f"commit {facts['commit']}", facts["date"]])


def operations(name: str, content: Content) -> list[str]:
    groups, facts = groups_of(content), content["machine_info"]
    chosen = [g for g in groups if HEADLINES.get(g.operation) == g.size]
    recorded = {g.operation for g in chosen if g.scene != "room"}
    faster = [(g.slowdown(b), b) for g in groups for b in g.others if b.kind in RIVALS and g.slowdown(b) < 1]
    versions = ", ".join(f"{package} {version}" for package, version in facts["versions"].items())
    where: dict[str, Callable[[Group], str]] = {
        "Operation": lambda g: g.operation, "Input": lambda g: g.size, "Scene": lambda g: g.scene,
        ">mirage_kernels": lambda g: duration(g.best.median),
    }  # fmt: skip
    slowdowns: dict[str, Callable[[Group], str]] = {
        ">Slowdown of the reference": lambda g: others_of(g, "reference").removeprefix("reference "),
        "Slowdown of others": lambda g: others_of(g, "method", "library"),
    }
    more: dict[str, Callable[[Group], str]] = {
        "Bounds and variants": lambda g: others_of(g, "bound", "variant"),
        ">IQR": lambda g: duration(g.best.iqr),
        ">Share of copy bandwidth": lambda g: f"{g.best.extra['share_of_copy']:.0%}" if "bytes" in g.best.extra else "",
        "Backends": lambda g: ", ".join(f"{b.implementation} {duration(b.median)}" for b in g.ours),
    }
    return [
        *source_line(name, content),
        *table((g for g in chosen if g.scene != "room" or g.operation not in recorded), where | slowdowns),
        *chart(f"{name}_slowdown", SLOWDOWN),
        "<details>\n<summary>Every input</summary>\n",
        *table(groups, where | slowdowns | more),
        "</details>\n\nImplementations that are faster than mirage_kernels:" + " none" * (not faster) + "\n",
        *(f"* {b.implementation}, {b.operation}, {b.size}: {factor(x)} ({b.extra.get('note')})" for x, b in faster),
        "",
        *chart(f"{name}_roofline", "Roofline"),
        f"Versions: {versions}. Limits of this machine: copy {facts['copy_bandwidth'] / 1e9:.1f} GB/s, matrix product "
        f"{facts['peak'] / 1e9:,.0f} GFLOP/s.",
    ]


def others_of(group: Group, *kinds: str) -> str:
    return ", ".join(f"{b.implementation} {factor(group.slowdown(b))}" for b in group.others if b.kind in kinds)


def per_frame(_name: str, content: Content) -> list[str]:
    def each(bench: Bench) -> str:
        named = re.search(r"(\d+) frames", bench.size)
        return duration(bench.median / int(bench.extra.get("frames") or (named[1] if named else 1)))

    columns: dict[str, Callable[[Group], str]] = {
        "What": lambda g: g.operation, "Input": lambda g: g.size, "Scene": lambda g: g.scene,
        "Per frame": lambda g: ", ".join(f"{b.implementation} {each(b)}" for b in g.ours),
        ">Reference": lambda g: ", ".join(each(b) for b in g.others if b.kind == "reference"),
    }  # fmt: skip
    return table((g for g in groups_of(content) if g.operation in ("memory step", "rollout")), columns)


def known_seconds(row: dict[str, Any]) -> float:
    """Seconds per chunk until the conditioning latents are known."""
    return float(row["read"] + (row["condition"] or 0.0))


def step_seconds(row: dict[str, Any]) -> float:
    """Seconds per chunk of the whole memory step."""
    return known_seconds(row) + float((row["retrieve"] or 0.0) + row["write"])


def memories(name: str, content: Content) -> list[str]:
    lines = source_line(name, content)
    for run in content["runs"]:
        what = f"Memory step and cache size over {run['chunks']} chunks"
        lines += [f"### {run['name']}", "", *chart(f"{name}_{run['chunks']}", what), *memory_run(run)]
    if vae := content.get("vae"):
        names = {f">{head}": item(key, duration) for head, key in (("Render", "read"), ("Encode", "condition"))}
        lines += table([vae], {"Frames, Wan2.2's autoencoder": item("frames"), "Size": item("size"), **names})
    return lines


def memory_run(run: dict[str, Any]) -> list[str]:
    """Size and time after the last chunk, and of short runs the quality."""
    of: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(run["rows"], key=lambda row: int(row["chunk"])):
        of.setdefault(row["memory"], []).append(row)
    ours = of["ours"]

    def ms(seconds: float) -> str:
        return significant(1e3 * seconds / run["frames_per_chunk"])

    def lowest(row: dict[str, Any]) -> str:
        pairs = zip(of[row["memory"]], ours, strict=True)
        return factor(min(step_seconds(theirs) / step_seconds(own) for theirs, own in pairs))

    def growth(row: dict[str, Any]) -> str:
        later = [step_seconds(one) for one in of[row["memory"]] if one["chunk"] > 1]
        return significant(later[-1] / later[0]) if later else ""

    last = [rows[-1] for rows in of.values()]
    sizes = {
        "Memory": item("memory"), ">Stored": item("stored", COUNT), ">Cache, MiB": item("cache_mib", significant),
        ">Without spare capacity": item("shrunk_mib", significant), ">History, MiB": item("history_mib", significant),
        ">Cache vs. ours": lambda row: factor(row["cache_mib"] / ours[-1]["cache_mib"]),
    }  # fmt: skip
    times = {
        "ms per frame": item("memory"), ">Read": item("read", ms), ">Condition": item("condition", ms),
        ">Retrieve": item("retrieve", ms), ">Write": item("write", ms), ">Step": lambda row: ms(step_seconds(row)),
        ">Read + condition vs. ours": lambda row: factor(known_seconds(row) / known_seconds(ours[-1])),
        ">Step vs. ours": lambda row: factor(step_seconds(row) / step_seconds(ours[-1])),
        ">Lowest of all chunks": lowest, ">Step, last chunk / chunk 2": growth,
    }  # fmt: skip
    return [f"After chunk {ours[-1]['chunk']}:", "", *table(last, sizes), *table(last, times), *quality(run)]


def quality(run: dict[str, Any]) -> list[str]:
    """PSNR of the decoded conditioning latents, and how complete and how wrong ours is."""
    rows: list[dict[str, Any]] = []
    for views, values in (run.get("psnr") or {}).items():
        codec = {"psnr": run["codec_psnr"][views], "known": run["compared"][views]}
        for memory, value in {**values, "the codec, in the cells compared": codec}.items():
            wrong = run["completeness"][views] if memory == "ours" else {"behind": None, "front": None}
            rows.append({"views": views, "memory": memory, **wrong, **value})
    columns = {"Views": item("views"), "Memory": item("memory"), ">PSNR, dB": item("psnr", "{:.2f}".format)}
    parts = {">Share of valid cells known": "known", ">Behind": "behind", ">In front": "front"}
    return table(rows, columns | {head: item(key, "{:.3f}".format) for head, key in parts.items()}) if rows else []


def corridor(name: str, content: Content) -> list[str]:
    columns = {
        "Chunk": item("chunk", COUNT), ">Rows": item("rows", COUNT), ">MiB": item("mib", significant),
        ">Read": item("read", duration), ">vs. the cache of chunk 10": lambda r: f"{r['read'] / r['first_read']:.2f}",
        ">Read without culling": item("unculled", duration), ">Gain of culling": item("culling", factor),
        ">Insert": item("insert", duration),
    }  # fmt: skip
    return [*source_line(name, content), *chart(name, "Read and insert"), *table(content["voxel_cache"], columns)]


def completeness(name: str, content: Content) -> list[str]:
    def title(row: dict[str, Any]) -> str:
        text = f"{row['memory']}, {row['storage']}, " + (f"extents {row['extents']:g}" if row["extents"] else "points")
        return f"**{text}**" if row["default"] else text

    def shares(key: str) -> Callable[[dict[str, Any]], str]:
        return lambda row: " / ".join(f"{share:.3f}" for share in row[key])

    first = content["rows"][0]["nbytes"]
    columns = {
        "Memory (bold: the default)": title, ">Rows": item("rows", COUNT),
        ">MiB": item("nbytes", lambda nbytes: f"{nbytes / 2**20:.2f}"),
        ">vs. append-only": item("nbytes", lambda nbytes: f"{nbytes / first:.3f}"),
        ">Without spare capacity": item("shrunk", lambda nbytes: f"{nbytes / first:.3f}"),
        ">Written views: known / behind / front": shares("own"), ">Later views": shares("later"),
        ">Rows added when written again": item("again"),
    }  # fmt: skip
    return [*source_line(name, content), *table(content["rows"], columns)]


def filters(name: str, content: Content) -> list[str]:
    percent = "{:.2%}".format
    objects = {
        "Object": item("object"), "Filters": item("filters"), ">Points on it": item("points", COUNT),
        ">vs. no filter": item("share", percent), ">Static surface lost": item("lost", percent),
        ">Static cells refused": item("refused", percent), ">Points carved": item("carved", COUNT),
    }  # fmt: skip
    names = {"object": "Points of a removed object", "left": "Left", "others": "Other points", "still": "Still there"}
    stale = {f">{head}": item(key, COUNT) for key, head in {**names, "anyway": "Lost without any object"}.items()}
    names = {"cells": "Cells with a masked pixel", "strict": "Written, strict rule", "nearest": "Nearest sampling"}
    masks = {"Mask": item("name"), **{f">{head}": item(key) for key, head in names.items()}}
    sky = {">Sky cells excluded": item("out", percent), ">Other cells lost": item("lost", percent)}
    lines = [*source_line(name, content), *table(content["objects"], objects), *table([content["stale"]], stale)]
    return [*lines, *table(content["masks"], masks), *table([content["sky"]], sky)]


def depth_drift(name: str, content: Content) -> list[str]:
    rows = [{**run, **run["late"], "count": len(run["refused"])} for run in content["runs"]]
    columns = {"Depth": item("name"), ">Revisited cells": item("cells", COUNT)}
    parts = ("mean", "median", "95 %", "worst frame")
    columns |= {f">Error in cells: {part}": item(part, significant) for part in parts}
    columns[">Frames refused"] = item("count")
    lines = [*source_line(name, content), *chart(name, "Error of revisited cells, and the scale of the depth")]
    return [*lines, f"Frames from {content['late_from']} on:", "", *table(rows, columns)]


def wan_full(name: str, content: Content) -> list[str]:
    return [*source_line(name, content), wan_program.table(content)]


def gpu(name: str, content: Content) -> list[str]:
    return [*source_line(name, content), gpu_program.table(content)]
