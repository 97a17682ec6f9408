# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What three memories cost on the same real input, chunk after chunk: ours, an append-only one, and coloured points.

The recording of :mod:`benchmarks.recording` in chunks of nine latents, which stand for 33 frames of video. In every
chunk a memory is first *read* through the chunk's nine cameras; what was read becomes latents (*condition*: coloured
points were rendered to nine pictures, which the codec encodes, the least that gives nine latents); past frames are
found that saw the same places (*retrieve*, where the method has that); and the chunk's true latents, frames and depth
are *written*. 5 chunks are the 45 latents in order; 50 go to and fro over the whole recording.

Seconds are medians: of the first three, which change nothing, over repeats made in turn between the memories (short
ones twice, of which the second counts); of writing over several walks; of 50 chunks a single one, and a mean since the
last chunk that was read. Python's garbage collector is off: at moments that have nothing to do with what is timed, it
would look through the tuples of append-only's sets for a tenth of a second. After 5 chunks every memory's conditioning
latents are decoded and compared with the true frames, in the cells that all three know (PSNR).

``python -m benchmarks.memories --out FOLDER`` writes ``memories.json`` and prints the tables.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from torch.nn import functional as nnf
from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks import machine
from benchmarks.contenders import DRAWN, Appended, Coloured, Contender, Ours, check, each
from benchmarks.corridor import touch_memory
from benchmarks.forgetting import judge, shown_depth
from benchmarks.recording import Recording, record
from mirage.models.embedded import DctCodec
from mirage.rollout import CHUNK, Codec
from mirage_kernels import Cameras

LATENTS = 9  # of a chunk
CHECKED = (1, 2, 3, 5, 10, 20, 30, 40, 50)  # chunks of a long run that are read
SHORT = 5  # chunks; up to so many all are read, and the written views are judged
WALKS = 5  # of a short run
ROUNDS, PATIENCE = 31, 1.0  # how often a call is timed, unless it has taken so many seconds and was timed twice
BRIEF = 0.1  # seconds; what takes less is called once more before it is timed
STEPS = ("read", "condition", "retrieve")

Seconds = dict[str, float]


def to_and_fro(frames: int, count: int) -> list[int]:
    """The first ``count`` numbers of a way 0, 1, ..., frames - 1, frames - 2, ..., 0, 1, ..."""
    period = 2 * (frames - 1)
    return [min(k % period, period - k % period) for k in range(count)]


def medians(calls: dict[str, Callable[[], Any]]) -> Seconds:
    """The median of each of several calls, made in turn.

    A short one is made twice and the second counts: coloured points give back hundreds of MiB after every turn, and
    whoever comes next has the machine provide its memory anew, which takes longer than a read of ours.
    """
    spent: dict[str, list[float]] = {name: [] for name in calls}
    brief = set()
    for turn in range(1 + ROUNDS):
        for name, call in calls.items():
            if len(spent[name]) >= 2 and sum(spent[name]) >= PATIENCE:
                continue
            if name in brief:
                call()
            begin = time.perf_counter()
            call()
            took = time.perf_counter() - begin
            if took < BRIEF:
                brief.add(name)
            if turn or took >= PATIENCE:  # the first one warms up, what is not long
                spent[name].append(took)
    return {name: median(seconds) for name, seconds in spent.items()}


def time_reading(contenders: Sequence[Contender], cameras: Cameras) -> dict[str, dict[str, float | None]]:
    """Seconds of every step that changes nothing, by memory."""
    calls: dict[str, Callable[[], Any]] = {}
    for one in contenders:
        calls[f"{one.name} read"] = partial(one.read, cameras)
        if one.encodes:
            calls[f"{one.name} condition"] = partial(one.condition, one.read(cameras))
        if one.retrieves:
            calls[f"{one.name} retrieve"] = partial(one.retrieve, cameras)
    spent = medians(calls)
    return {
        one.name: {
            "read": spent[f"{one.name} read"],
            "condition": spent.get(f"{one.name} condition", 0.0),
            "retrieve": spent.get(f"{one.name} retrieve"),
        }
        for one in contenders
    }


def write(contenders: Sequence[Contender], part: Recording, stamps: range) -> Seconds:
    """Write a chunk; seconds by memory."""
    seconds = {}
    for one in contenders:
        begin = time.perf_counter()
        one.write(part, stamps)
        seconds[one.name] = time.perf_counter() - begin
    return seconds


class Course:
    """A walk over a recording, in chunks.

    Args:
        recording: what is seen.
        codec: of its latents.
        chunks: how many.

    Attributes:
        pixels: with depth, of all frames on the way.
    """

    def __init__(self, recording: Recording, codec: Codec, chunks: int) -> None:
        self.recording, self.codec, self.chunks = recording, codec, chunks
        self._path = to_and_fro(len(recording.depth), LATENTS * chunks)
        pixels = (recording.depth.isfinite() & (recording.depth > 0)).flatten(1).sum(1)
        self.pixels = int(pixels[self._path].sum())

    @property
    def steps(self) -> int:
        """Chunks that are walked, again and again of a short run."""
        return self.chunks * (WALKS if self.chunks <= SHORT else 1)

    def contenders(self) -> list[Contender]:
        """All memories, empty."""
        return [Ours(self.codec), Appended(self.codec), Coloured(self.codec, self.pixels)]

    def part(self, chunk: int) -> tuple[Recording, range]:
        """What a chunk shows, and its stamps."""
        stamps = range(LATENTS * chunk, LATENTS * (chunk + 1))
        return self.recording.pick(self._path[stamps.start : stamps.stop]), stamps

    def walk(self, checked: Sequence[int], bar: Any) -> tuple[list[dict[str, Any]], list[Contender]]:
        """Rows of the chunks that are read, and the memories in the end."""
        contenders, rows = self.contenders(), list[dict[str, Any]]()
        writes: list[Seconds] = []  # since the last chunk that was read: what comes once in a while is shared out
        for chunk in range(self.chunks):
            part, stamps = self.part(chunk)
            read = time_reading(contenders, part.cameras) if chunk + 1 in checked else {}
            writes.append(write(contenders, part, stamps))
            for one in contenders if read else ():
                size = one.bytes()
                mib = {"cache_mib": size.cache / 2**20, "shrunk_mib": size.shrunk / 2**20}
                mib["history_mib"] = size.history / 2**20
                row = {"memory": one.name, "chunk": chunk + 1, "stored": len(one), **mib, **read[one.name]}
                rows.append(row | {"write": mean(written[one.name] for written in writes)})
            writes = [] if read else writes
            bar.update()
        return rows, contenders

    def write_again(self, bar: Any) -> list[Seconds]:
        """Another walk that only writes; seconds of every chunk by memory."""
        contenders, seconds = self.contenders(), []
        for chunk in range(self.chunks):
            seconds.append(write(contenders, *self.part(chunk)))
            bar.update()
        return seconds


def compare(contenders: Sequence[Contender], recording: Recording, codec: Codec, frames: range) -> dict[str, Any]:
    """What is left of these frames in the memories' conditioning latents: PSNR in the cells that all know, and which
    share of the cells with depth each knows. And what the codec itself leaves, in the same cells."""
    errors = dict.fromkeys((*(one.name for one in contenders), "codec"), 0.0)
    known = {one.name: 0 for one in contenders}
    valid_cells = compared = 0
    for start in range(frames.start, frames.stop, LATENTS):
        part = recording.pick(list(range(start, min(start + LATENTS, frames.stop))))
        true = part.frames / 255
        conditions = {one.name: one.show(part.cameras) for one in contenders}
        valid = part.truth.isfinite()
        common = torch.stack([valid, *(condition.mask for condition in conditions.values())]).all(0)
        valid_cells, compared = valid_cells + int(valid.sum()), compared + int(common.sum())
        latents = {name: condition.latents.float() for name, condition in conditions.items()}
        latents["codec"] = codec.encode(true[:, :, None])[:, :, 0]
        for name, value in latents.items():
            wrong = (codec.decode(value[:, :, None])[:, :, 0] - true).square().mean(1)
            errors[name] += nnf.avg_pool2d(wrong, codec.spatial_stride)[common].double().sum().item()
        for name, condition in conditions.items():
            known[name] += int((condition.mask & valid).sum())
    psnr = {name: -10 * torch.tensor(error / compared).log10().item() for name, error in errors.items()}
    rows = {name: {"psnr": psnr[name], "known": known[name] / valid_cells} for name in known}
    return {"memories": rows, "codec": psnr["codec"], "compared": compared / valid_cells}


def parse_size(text: str, parser: argparse.ArgumentParser) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if (
        not (height.isdigit() and width.isdigit())
        or int(height) % 32
        or int(width) % 32
        or not int(height) * int(width)
    ):
        parser.error(f"--vae: expected HxW, multiples of 32, got {text}")
    return int(height), int(width)


def time_vae(recording: Recording, size: tuple[int, int]) -> dict[str, Any]:
    """Seconds to render the last written chunk's 33 frames from coloured points, and to encode them as one video."""
    from benchmarks import wan_models
    from mirage.models.wan.codec import WanCodec

    torch.manual_seed(0)
    vae = wan_models.describe("full").vae
    wan_models.fill(vae, torch.bfloat16, "cpu")
    codec = WanCodec(vae)
    course = Course(recording, codec, SHORT)
    cloud = Coloured(codec, course.pixels)
    for chunk in range(SHORT):
        cloud.write(*course.part(chunk))
    last, _ = course.part(SHORT - 1)
    cameras = last.cameras.rescale(size).interpolate(torch.linspace(0, LATENTS - 1, CHUNK))
    begin = time.perf_counter()
    pictures = torch.cat([cloud.read(view).pictures for view in each(cameras)])
    rendered = time.perf_counter()
    codec.encode(pictures.movedim(0, 1)[None])
    done = time.perf_counter()
    return {
        "size": list(size),
        "frames": CHUNK,
        "dtype": "bfloat16",
        "read": rendered - begin,
        "condition": done - rendered,
    }


def measure(course: Course, bar: Any) -> dict[str, Any]:
    """A run of so many chunks."""
    short = course.chunks <= SHORT
    checked = range(1, course.chunks + 1) if short else CHECKED
    rows, contenders = course.walk(checked, bar)
    run = {"name": f"{course.chunks} chunks", "chunks": course.chunks, "frames_per_chunk": CHUNK}
    run |= {"latents_per_chunk": LATENTS, "rows": rows}
    if not short:
        return run
    writes = [course.write_again(bar) for _ in range(WALKS - 1)]
    for row in rows:
        again = [walk[row["chunk"] - 1][row["memory"]] for walk in writes]
        row["write"] = median([row["write"], *again])
    written = LATENTS * course.chunks
    views = {"own": range(written), "later": range(written, len(course.recording.depth))}
    judged = {
        name: compare(contenders, course.recording, course.codec, frames) for name, frames in views.items() if frames
    }
    run["psnr"] = {name: result["memories"] for name, result in judged.items()}
    run["codec_psnr"] = {name: result["codec"] for name, result in judged.items()}
    run["compared"] = {name: result["compared"] for name, result in judged.items()}
    ours = next(one.memory for one in contenders if isinstance(one, Ours))
    run["completeness"] = {
        name: judge(course.recording, partial(shown_depth, ours), views[name])._asdict() for name in judged
    }
    return run


def table(run: dict[str, Any]) -> list[str]:
    """Of a run, in markdown."""
    rows = {(row["chunk"], row["memory"]): row for row in run["rows"]}
    chunks, names = sorted({chunk for chunk, _ in rows}), list(dict.fromkeys(row["memory"] for row in run["rows"]))
    lines = [
        "| chunk | memory | stored | MiB | without room to grow | past frames, MiB "
        f"| {', '.join(STEPS)}, write: ms a frame | RGB / this, bytes | RGB / this, read + condition |",
        "|---:|---|---:|---:|---:|---:|---|---:|---:|",
    ]
    for chunk in chunks:
        rgb = rows[chunk, names[-1]]
        for name in names:
            row = rows[chunk, name]
            spent = ["-" if row[s] is None else f"{1e3 * row[s] / CHUNK:.3f}" for s in (*STEPS, "write")]
            smaller = rgb["cache_mib"] / row["cache_mib"]
            faster = (rgb["read"] + rgb["condition"]) / (row["read"] + row["condition"])
            lines.append(
                f"| {chunk} | {name} | {row['stored']:,} | {row['cache_mib']:.2f} | {row['shrunk_mib']:.2f} "
                f"| {row['history_mib']:.2f} | {' '.join(spent)} | {smaller:.1f} | {faster:.1f} |"
            )
    if "psnr" not in run:
        return lines
    lines += ["", "| views | compared | memory | PSNR | known |", "|---|---:|---|---:|---:|"]
    for views, memories in run["psnr"].items():
        compared = f"| {views} | {run['compared'][views]:.3f} |"
        lines += [f"{compared} {name} | {r['psnr']:.2f} | {r['known']:.3f} |" for name, r in memories.items()]
        lines.append(f"{compared} the codec alone | {run['codec_psnr'][views]:.2f} | |")
    told = (f"{v} {' '.join(f'{value:.3f}' for value in shares.values())}" for v, shares in run["completeness"].items())
    return [*lines, "", f"Ours: known, behind, front: {'; '.join(told)}."]


DATA = (
    "hololens: every 4th frame of a real RGB-D recording at 704x1280, latents of the block cosine codec (44x80 cells, "
    "48 channels, bfloat16)"
)
METHOD = (
    "Chunks of 9 latents (33 frames of video): the memory is read through their cameras, what coloured points show is "
    "encoded by the codec, past frames are retrieved, then the true latents, frames and depth written; medians of "
    "repeats made in turn, of short calls the second of two, without garbage collection; of 50 chunks writes are means "
    f"since the row before. A cell is known from coloured points that cover at least {DRAWN:.0%} of its pixels; PSNR "
    "of the decoded conditioning latents in the cells that all memories know."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of memories.json")
    parser.add_argument("--chunks", type=int, nargs="+", default=[5, 50], help="a run of each")
    parser.add_argument(
        "--vae", metavar="HxW", nargs="?", const="352x640",
        help="also encode what coloured points show with Wan2.2's autoencoder (random weights), once, at %(const)s "
        "where no size is given: 704x1280 takes 7 GiB and, on two shared cores, more than ten minutes",
    )  # fmt: skip
    args = parser.parse_args()
    if min(args.chunks) < 1:
        parser.error(f"--chunks: expected at least 1, got {min(args.chunks)}")
    size = None if args.vae is None else parse_size(args.vae, parser)
    recording, codec = record(), DctCodec()
    args.out.mkdir(parents=True, exist_ok=True)
    runs: list[dict[str, Any]] = []
    result = {"kind": "memories", "machine": machine.facts(), "data": DATA, "method": METHOD, "runs": runs}
    check(recording.pick(list(range(LATENTS))), codec)
    courses = [Course(recording, codec, chunks) for chunks in args.chunks]
    gc.disable()
    touch_memory(1 + (15 * max(course.pixels for course in courses) >> 30))
    with tqdm(total=sum(course.steps for course in courses), unit="chunk") as bar:
        for course in courses:
            run = measure(course, bar)
            runs.append(run)
            tqdm.write("\n".join([f"{run['name']}:", "", *table(run), ""]))
    if size is not None:
        result["vae"] = vae = time_vae(recording, size)
        print(f"{args.vae}, {CHUNK} frames: rendered in {vae['read']:.2f} s, encoded in {vae['condition']:.1f} s")
    (args.out / "memories.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
