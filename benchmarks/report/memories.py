# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The paper's two charts as numbers: three memories over the chunks of one walk."""

from __future__ import annotations

from typing import Any

from benchmarks.report.captions import caption
from benchmarks.report.markdown import digits, duration, figure, folded, paragraph, table
from benchmarks.report.read import Source
from benchmarks.report.schema import MEMORIES

Run = dict[str, Any]
Row = dict[str, Any]

PARTS = ("read", "condition", "retrieve", "write")
OURS, APPENDED, RGB = MEMORIES
PAPER_BYTES, PAPER_SPEED = 55, 10.57  # the paper's headlines (arXiv 2606.09828)
PUBLISHED, HERE = 24, 15  # bytes of a coloured point in published clouds, and in the one measured
VIEWS = {"own": "the views that were written", "later": "later views"}
WHY_LESS = (
    "Where the step of append-only takes less: its write appends every point, those it has already too; ours first "
    "reads what it shows to each frame's camera and writes what is new, which is why it stays small and flat."
)


def rows_of(run: Run, memory: str) -> list[Row]:
    return sorted((row for row in run["rows"] if row["memory"] == memory), key=lambda row: int(row["chunk"]))


def known(row: Row) -> float | None:
    """Seconds of a chunk that it takes to know what the memory shows, as latents; None where it was not measured."""
    return None if row["read"] is None else float(row["read"] + (row["condition"] or 0.0))


def step(row: Row) -> float | None:
    """Seconds of a chunk's whole memory step: read, condition, retrieve, write."""
    first = known(row)
    return None if first is None or row["write"] is None else first + (row["retrieve"] or 0.0) + float(row["write"])


def per_frame(run: Run, seconds: float | None) -> float | None:
    return None if seconds is None else seconds / run["frames_per_chunk"]


def picture(run: Run) -> str:
    """The name of a run's figure."""
    return f"memories_{run['chunks']}.png"


class Comparison:
    """How many times as much another memory takes as ours, after the last chunk and over all chunks."""

    def __init__(self, run: Run, other: str) -> None:
        self._ours = {row["chunk"]: row for row in rows_of(run, OURS)}
        self._other = [row for row in rows_of(run, other) if row["chunk"] in self._ours]

    def nbytes(self, *, history: bool = False, shrunk: bool = False) -> float | None:
        """After the last chunk."""
        if not self._other:
            return None
        name = "shrunk_mib" if shrunk else "cache_mib"
        rows = (self._other[-1], self._ours[self._other[-1]["chunk"]])
        theirs, ours = (row[name] + ((row["history_mib"] or 0.0) if history else 0.0) for row in rows)
        return float(theirs / ours)

    def seconds(self, part: Any) -> list[float]:
        """By chunk; of chunks where both were measured. ``part`` gives the seconds of a row."""
        pairs = [(part(row), part(self._ours[row["chunk"]])) for row in self._other]
        return [theirs / ours for theirs, ours in pairs if theirs is not None and ours]


def growth(run: Run, memory: str) -> float | None:
    """The last memory step against that of chunk 2, the first one that finds something remembered."""
    seconds = [value for row in rows_of(run, memory) if row["chunk"] > 1 and (value := step(row)) is not None]
    return seconds[-1] / seconds[0] if seconds else None


def section(source: Source) -> list[str]:
    lines = []
    for run in source.content["runs"]:
        lines += [f"### {run['name']}", "", *_figure(source, run), *_headlines(run), *_quality(run), *_rows(run), ""]
    return [*lines, *_vae(source)]


def _figure(source: Source, run: Run) -> list[str]:
    what = f"Time per frame of the memory step and size of the cache over {run['chunks']} chunks, logarithmic"
    return figure(picture(run), what, caption(source))


def _headlines(run: Run) -> list[str]:
    rgb, appended = Comparison(run, RGB), Comparison(run, APPENDED)
    rows: list[tuple[str, str, str]] = []

    def tell(what: str, value: float | None, paper: str = "") -> None:
        told = "not measured" if value is None else digits(value)
        less = value is not None and value < 1 and " / ours" in what
        rows.append((what, f"**{told}, less than ours**" if less else told, paper))

    stored = rgb.nbytes()
    published = None if stored is None else stored * PUBLISHED / HERE
    tell("bytes of the cache, RGB points / ours", stored, f"{PAPER_BYTES} (aim)")
    tell(f"the same with the {PUBLISHED} bytes a point that published clouds keep, here {HERE}", published)
    tell("the same, both without room to grow", rgb.nbytes(shrunk=True))
    tell("the same, the history for retrieval counted too", rgb.nbytes(history=True))
    tell("bytes of the cache, append-only / ours", appended.nbytes())
    for what, comparison, part, paper in (
        ("read and condition, RGB points / ours", rgb, known, f"{PAPER_SPEED} (whole frame)"),
        ("memory step, RGB points / ours", rgb, step, ""),
        ("read, append-only / ours", appended, known, ""),
        ("memory step, append-only / ours", appended, step, ""),
    ):
        ratios = comparison.seconds(part)
        tell(f"{what}, in the last chunk", ratios[-1] if ratios else None, paper)
        tell(f"{what}, in the chunk where it is least", min(ratios, default=None))
    for memory in MEMORIES:
        tell(f"memory step of {memory}, last chunk / chunk 2", growth(run, memory))
    lines = [*table(("times", ">measured", ">paper"), rows), ""]
    if any("less than ours" in told for what, told, _ in rows if what.startswith("memory step, append-only")):
        lines += [*paragraph(WHY_LESS), ""]
    return lines


def _quality(run: Run) -> list[str]:
    """What is lost: PSNR of what the generator would be shown, and where ours is wrong."""
    psnr, codec, compared = (run.get(name) or {} for name in ("psnr", "codec_psnr", "compared"))
    rows: list[tuple[str, ...]] = []
    for views, memories in psnr.items():
        share = f"{compared[views]:.3f}" if views in compared else ""
        for memory, values in memories.items():
            known_share = "" if values["known"] is None else f"{values['known']:.3f}"
            rows.append((views, memory, f"{values['psnr']:.2f}", known_share, share))
        if views in codec:
            rows.append((views, "the codec alone", f"{codec[views]:.2f}", "", share))
    if not rows:
        return ["PSNR of the conditioning latent, decoded: not measured.", ""]
    head = ("views", "memory", ">PSNR, dB", ">share of valid cells known", ">share compared")
    wrong = [
        f"{views}: {shares['known']:.3f} known, {shares['behind']:.3f} behind, {shares['front']:.3f} in front"
        for views, shares in (run.get("completeness") or {}).items()
    ]
    return [
        *paragraph(
            "The conditioning latent decoded, against the true frame, over the pixels of cells that all memories know. "
            "*Own*: the views that were written; *later*: those only read."
        ),
        "",
        *table(head, rows),
        "",
        *(paragraph(f"Of the cells with valid depth ours shows, {'; '.join(wrong)} of the truth.") if wrong else []),
        "",
    ]


def _rows(run: Run) -> list[str]:
    def ms(row: Row, part: str) -> str:
        value = per_frame(run, step(row) if part == "step" else row[part])
        return "" if value is None else digits(1e3 * value)

    rows = [
        (
            row["chunk"], row["memory"], f"{row['stored']:,}", digits(row["cache_mib"]), digits(row["shrunk_mib"]),
            "" if row["history_mib"] is None else digits(row["history_mib"]),
            *(ms(row, part) for part in (*PARTS, "step")),
        )
        for row in sorted(run["rows"], key=lambda row: (row["chunk"], MEMORIES.index(row["memory"])))
    ]  # fmt: skip
    parts = [f">{part}, ms a frame" for part in PARTS]
    head = ("chunk", "memory", ">stored", ">cache, MiB", ">without room", ">history, MiB", *parts, ">memory step")
    return folded(
        f"Every row of {run['name']}; empty where a memory has no such part or it was not timed", table(head, rows)
    )


def _vae(source: Source) -> list[str]:
    vae = source.content.get("vae")
    if not vae:
        return ["RGB points with Wan2.2's own VAE: not measured."]
    size = "x".join(str(side) for side in vae["size"])
    return paragraph(
        f"RGB points with Wan2.2's own VAE at its full configuration, random weights, once: {vae['frames']} frames of "
        f"{size} are rendered in {duration(vae['read'])} and encoded as a video in {duration(vae['condition'])}, "
        f"{duration((vae['read'] + vae['condition']) / vae['frames'])} a frame."
    )


def headline(source: Source) -> str | None:
    """One paragraph for README, of the first run."""
    run = source.content["runs"][0] if source.content["runs"] else None
    if run is None or not all(rows_of(run, memory) for memory in MEMORIES):
        return None
    return " ".join(filter(None, [_told_bytes(run), _told_seconds(run), _told_quality(run)]))


def _told_bytes(run: Run) -> str:
    mib = {memory: digits(rows_of(run, memory)[-1]["cache_mib"]) for memory in MEMORIES}
    rgb, appended = Comparison(run, RGB).nbytes() or 0.0, Comparison(run, APPENDED).nbytes() or 0.0
    return (
        f"After {run['name']} of a real recording ours takes {mib[OURS]} MiB at its default setting, an append-only "
        f"cache {mib[APPENDED]} ({digits(appended)} times), coloured points {mib[RGB]} ({digits(rgb)} times, with the "
        f"{PUBLISHED} bytes a point of published clouds {digits(rgb * PUBLISHED / HERE)}; the paper says "
        f"{PAPER_BYTES})."
    )


def _told_seconds(run: Run) -> str | None:
    ours, faster = per_frame(run, known(rows_of(run, OURS)[-1])), Comparison(run, RGB).seconds(known)
    if ours is None or not faster:
        return None
    return (
        f"To read what it shows takes {digits(1e3 * ours)} ms a frame in the last chunk; to render coloured points "
        f"and encode them with the same codec {digits(faster[-1])} times as long, {digits(min(faster))} in the chunk "
        f"where it is least (the paper says {PAPER_SPEED}, of the whole frame)."
    )


def _told_quality(run: Run) -> str | None:
    """What that costs or gains, whichever it is."""
    told = [
        f"{ours['psnr']:.1f} dB by ours and {rgb['psnr']:.1f} dB by coloured points in {VIEWS.get(views, views)}"
        + ("" if None in (ours["known"], rgb["known"]) else f" (known: {ours['known']:.0%} and {rgb['known']:.0%})")
        for views, memories in (run.get("psnr") or {}).items()
        if {OURS, RGB} <= set(memories)
        for ours, rgb in [(memories[OURS], memories[RGB])]
    ]
    if not told:
        return None
    return f"PSNR of what is shown, decoded, in the cells that all know: {', '.join(told)}."
