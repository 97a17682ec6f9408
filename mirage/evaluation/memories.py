# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Time and size of three memories on the same recording, chunk after chunk: ours, append-only, and RGB points.

The input is :mod:`.recording` in chunks of nine latents, which stand for 33 frames of video. In every chunk each memory
is *read* through the nine cameras; the result becomes latents (*condition*: RGB points were rendered to nine images,
which the codec encodes; nine images are the minimum for nine latents); past frames with the same places are found
(*retrieve*, where the method has it); and the true latents, frames and depth of the chunk are *written*. 5 chunks are
the 45 latents in order; 50 chunks go back and forth over the whole recording.

Times are medians in seconds. The first three steps change nothing and are repeated, alternating between the memories;
writing is repeated over several runs, or for 50 chunks is the mean since the last chunk that was read. Python's garbage
collector is off: otherwise it would traverse the tuples of append-only's sets for a tenth of a second at arbitrary
moments. After 5 chunks the conditioning latents are decoded and compared with the true frames, in the cells that all
three memories cover (PSNR).

``python -m mirage.evaluation.memories --out DIR`` writes ``memories.json`` and prints its rows.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import mean, median
from typing import Any

import torch
from torch.nn import functional as nnf
from tqdm import tqdm  # type: ignore[import-untyped]

from mirage_kernels import Cameras

from ..geometry.grids import valid_depth
from ..models.embedded import DctCodec
from ..rollout import CHUNK, Codec
from . import _studies
from .compared_memories import MIN_COVERAGE, Appended, ComparedMemory, Ours, RgbPoints, check, each
from .completeness import measure_completeness, read_depth
from .recording import Recording, record

LATENTS = 9  # per chunk
CHECKED = (1, 2, 3, 5, 10, 20, 30, 40, 50)  # chunks of a long run that are read
SHORT = 5  # chunks; up to here all chunks are read and the written views are measured
RUNS = 5  # of writing, for a short run
ROUNDS, PATIENCE, BRIEF = 31, 1.0, 0.1  # see _studies.medians

Seconds = dict[str, float]
DATA = (
    "hololens: every 4th frame of a real RGB-D recording at 704x1280; latents of the block cosine codec (44x80 cells, "
    "48 channels, bfloat16)"
)
METHOD = (
    "Chunks of 9 latents (33 frames of video). The memory is read through their cameras, the codec encodes the "
    "renderings of RGB points, past frames are retrieved, then the true latents, frames and depth are written. Medians "
    "of interleaved repeats without garbage collection, of short calls the second of two; over 50 chunks, writes are "
    f"means since the previous row. RGB points know a cell when they cover at least {MIN_COVERAGE:.0%} of its pixels; "
    "PSNR of the decoded conditioning latents in the cells that all memories know"
)


def back_and_forth(frames: int, count: int) -> list[int]:
    """The first ``count`` numbers of 0, 1, ..., frames - 1, frames - 2, ..., 0, 1, ..."""
    period = 2 * (frames - 1)
    return [min(k % period, period - k % period) for k in range(count)]


def time_reading(memories: Sequence[ComparedMemory], cameras: Cameras) -> dict[str, dict[str, float | None]]:
    """Seconds of every step that changes nothing, by memory."""
    calls: dict[str, Callable[[], Any]] = {}
    for one in memories:
        calls[f"{one.name} read"] = partial(one.read, cameras)
        if one.encodes:
            calls[f"{one.name} condition"] = partial(one.condition, one.read(cameras))
        if one.retrieves:
            calls[f"{one.name} retrieve"] = partial(one.retrieve, cameras)
    spent = _studies.medians(calls, ROUNDS, patience=PATIENCE, brief=BRIEF)
    return {
        one.name: {
            "read": spent[f"{one.name} read"],
            "condition": spent.get(f"{one.name} condition", 0.0),
            "retrieve": spent.get(f"{one.name} retrieve"),
        }
        for one in memories
    }


def write(memories: Sequence[ComparedMemory], part: Recording, stamps: range) -> Seconds:
    """Write a chunk to every memory; seconds by memory."""
    seconds = {}
    for one in memories:
        begin = time.perf_counter()
        one.write(part, stamps)
        seconds[one.name] = time.perf_counter() - begin
    return seconds


class Course:
    """A path over a recording, in chunks.

    Args:
        recording: the frames.
        codec: of its latents.
        chunks: number of chunks.

    Attributes:
        pixels: number of pixels with depth in all frames of the path.
    """

    def __init__(self, recording: Recording, codec: Codec, chunks: int) -> None:
        self.recording, self.codec, self.chunks = recording, codec, chunks
        self._path = back_and_forth(len(recording.depth), LATENTS * chunks)
        pixels = valid_depth(recording.depth).flatten(1).sum(1)
        self.pixels = int(pixels[self._path].sum())

    @property
    def steps(self) -> int:
        """Chunks over all runs."""
        return self.chunks * (RUNS if self.chunks <= SHORT else 1)

    def memories(self) -> list[ComparedMemory]:
        """All memories, empty."""
        return [Ours(self.codec), Appended(self.codec), RgbPoints(self.codec, self.pixels)]

    def part(self, chunk: int) -> tuple[Recording, range]:
        """The frames of a chunk, and their stamps."""
        stamps = range(LATENTS * chunk, LATENTS * (chunk + 1))
        return self.recording.pick(self._path[stamps.start : stamps.stop]), stamps

    def run(self, checked: Sequence[int], bar: Any) -> tuple[list[dict[str, Any]], list[ComparedMemory]]:
        """Read and write all chunks; the rows of the chunks that were read, and the memories at the end."""
        memories, rows = self.memories(), list[dict[str, Any]]()
        writes: list[Seconds] = []  # since the last chunk that was read, so that occasional growth is averaged
        for chunk in range(self.chunks):
            part, stamps = self.part(chunk)
            read = time_reading(memories, part.cameras) if chunk + 1 in checked else {}
            writes.append(write(memories, part, stamps))
            for one in memories if read else ():
                size = one.bytes()
                mib = {"cache_mib": size.cache / 2**20, "shrunk_mib": size.shrunk / 2**20}
                mib["history_mib"] = size.history / 2**20
                row = {"memory": one.name, "chunk": chunk + 1, "stored": len(one), **mib, **read[one.name]}
                rows.append(row | {"write": mean(written[one.name] for written in writes)})
            writes = [] if read else writes
            bar.update()
        return rows, memories

    def write_again(self, bar: Any) -> list[Seconds]:
        """Another run that only writes; seconds of every chunk by memory."""
        memories, seconds = self.memories(), []
        for chunk in range(self.chunks):
            seconds.append(write(memories, *self.part(chunk)))
            bar.update()
        return seconds


def compare(memories: Sequence[ComparedMemory], recording: Recording, codec: Codec, frames: range) -> dict[str, Any]:
    """Quality of the conditioning latents of some frames.

    Returns:
        ``memories``: by name the PSNR in the cells that all memories cover, and the share of valid cells that this
        memory covers; ``codec``: the PSNR of the codec alone in the same cells; ``compared``: their share of the valid
        cells.
    """
    errors = dict.fromkeys((*(one.name for one in memories), "codec"), 0.0)
    known = {one.name: 0 for one in memories}
    valid_cells = compared = 0
    for start in range(frames.start, frames.stop, LATENTS):
        part = recording.pick(list(range(start, min(start + LATENTS, frames.stop))))
        true = part.frames / 255
        conditions = {one.name: one.show(part.cameras) for one in memories}
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
    psnr = {
        name: -10 * torch.tensor(error / compared, dtype=torch.float32, device="cpu").log10().item()
        for name, error in errors.items()
    }
    rows = {name: {"psnr": psnr[name], "known": known[name] / valid_cells} for name in known}
    return {"memories": rows, "codec": psnr["codec"], "compared": compared / valid_cells}


def parse_size(text: str, parser: argparse.ArgumentParser) -> tuple[int, int]:
    sides = [int(side) if side.isdigit() else 0 for side in text.split("x")]
    if len(sides) != 2 or not all(side and side % 32 == 0 for side in sides):
        parser.error(f"--vae: expected HxW, multiples of 32, got {text}")
    return sides[0], sides[1]


def wan_codec() -> Codec:
    """Wan2.2's autoencoder with random weights in bfloat16."""
    from diffusers import AutoencoderKLWan

    from ..models.wan.codec import WanCodec
    from ..models.wan.parameter_counts import VAE_SETTINGS

    torch.manual_seed(0)
    return WanCodec(AutoencoderKLWan(**VAE_SETTINGS).to(torch.bfloat16).eval().requires_grad_(False))


def time_vae(recording: Recording, codec: Codec, size: tuple[int, int]) -> dict[str, Any]:
    """Seconds to render the 33 frames of the last written chunk from RGB points, and to encode them as one video."""
    course = Course(recording, codec, SHORT)
    points = RgbPoints(codec, course.pixels)
    for chunk in range(SHORT):
        points.write(*course.part(chunk))
    last, _ = course.part(SHORT - 1)
    cameras = last.cameras.rescale(size).interpolate(
        torch.linspace(0, LATENTS - 1, CHUNK, dtype=torch.float32, device="cpu")
    )
    begin = time.perf_counter()
    images = torch.cat([points.read(view).images for view in each(cameras)])
    rendered = time.perf_counter()
    codec.encode(images.movedim(0, 1)[None])
    seconds = {"read": rendered - begin, "condition": time.perf_counter() - rendered}
    return {"size": list(size), "frames": CHUNK, "dtype": "bfloat16", **seconds}


def measure(course: Course, bar: Any) -> dict[str, Any]:
    """The results of a path: its rows, and for a short one the quality."""
    short = course.chunks <= SHORT
    checked = range(1, course.chunks + 1) if short else CHECKED
    rows, memories = course.run(checked, bar)
    run = {"name": f"{course.chunks} chunks", "chunks": course.chunks, "frames_per_chunk": CHUNK}
    run |= {"latents_per_chunk": LATENTS, "rows": rows}
    if not short:
        return run
    writes = [course.write_again(bar) for _ in range(RUNS - 1)]
    for row in rows:
        again = [seconds[row["chunk"] - 1][row["memory"]] for seconds in writes]
        row["write"] = median([row["write"], *again])
    written = LATENTS * course.chunks
    views = {"own": range(written), "later": range(written, len(course.recording.depth))}
    measured = {
        name: compare(memories, course.recording, course.codec, frames) for name, frames in views.items() if frames
    }
    run["psnr"] = {name: result["memories"] for name, result in measured.items()}
    run["codec_psnr"] = {name: result["codec"] for name, result in measured.items()}
    run["compared"] = {name: result["compared"] for name, result in measured.items()}
    ours = next(one.memory for one in memories if isinstance(one, Ours))
    run["completeness"] = {
        name: measure_completeness(course.recording, partial(read_depth, ours), views[name])._asdict()
        for name in measured
    }
    return run


def main() -> None:
    parser = _studies.parser("memories", __doc__)
    parser.add_argument(
        "--chunks", type=int, nargs="+", default=[5, 50], metavar="N", help="one run each (default: 5 50)"
    )
    parser.add_argument(
        "--vae", metavar="HxW", nargs="?", const="352x640",
        help="also encode the renderings of RGB points once with Wan2.2's autoencoder (random weights), by default at "
        "%(const)s; 704x1280 takes 7 GiB and several minutes on a CPU",
    )  # fmt: skip
    args = parser.parse_args()
    if min(args.chunks) < 1:
        parser.error(f"--chunks: expected at least 1, got {min(args.chunks)}")
    size = None if args.vae is None else parse_size(args.vae, parser)
    recording, codec = record(), DctCodec()
    check(recording.pick(list(range(LATENTS))), codec)
    courses = [Course(recording, codec, chunks) for chunks in args.chunks]
    runs, more = [], {}
    gc.disable()
    _studies.touch_memory(1 + (15 * max(course.pixels for course in courses) >> 30))
    with tqdm(total=sum(course.steps for course in courses), unit="chunk") as bar:
        for course in courses:
            runs.append(measure(course, bar))
            for row in runs[-1]["rows"]:
                values = (f"{name} {value:.6g}" for name, value in row.items() if isinstance(value, int | float))
                tqdm.write(f"{row['memory']}: {'  '.join(values)}")
    if size is not None:
        more["vae"] = time_vae(recording, wan_codec(), size)
        print(more["vae"])
    _studies.write(args.out, "memories", DATA, METHOD, runs=runs, **more)


if __name__ == "__main__":
    main()
