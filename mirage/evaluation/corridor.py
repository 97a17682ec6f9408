# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Time per chunk of a memory over ten thousand chunks, in an endless corridor.

The corridor is 2.4 m wide and high. In every chunk, the camera moves 0.3 m forward; the chunk writes the walls from the
camera to 2.7 m ahead, of which the last 0.3 m are new (about 1,100 voxels), then reads nine views. After the first few
chunks the visible surface is always the same. ``python -m mirage.evaluation.corridor`` writes ``corridor.json``.

* *read*: the median of 200 reads after a chunk, alternating with reads of a copy of the cache from chunk 10, so that
  the ratio is independent of the machine's speed. Then 20 reads alternating with reads without culling, which go
  through all rows and evict everything from the processor's caches: the ratio is the gain of culling.
* *insert*: the mean over the chunks since half as many, so that growth is averaged. The first hundred chunks take only
  milliseconds, so that their values are medians of nine processes that stop after them. Each process begins with memory
  that was never used; a later cache in one process would reuse memory, which is faster.
* *append-only*: ``torch.cat`` of the new points of each chunk, in float32, read by the same kernels, which process
  every point. It stops when a write takes 20 ms.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from statistics import mean, median

import torch
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from mirage_kernels import Cameras, VoxelCache, splat

from . import _studies
from .recording import CHANNELS, GRID

HALF, STEP, SIGHT, SPACING = 1.2, 0.3, 2.7, 0.05  # meters
VOXEL = 0.04
CHUNKS = 10_000
CHECKED = (10, 30, 100, 300, 1000, 2000, 3000, 5000, 7000, 10_000)
EARLY, EARLY_RUNS = 100, 9  # chunks, and processes that stop after them
MAX_APPEND = 0.02  # seconds
DATA = (
    f"A synthetic corridor {2 * HALF:g} m wide and high; each chunk moves {STEP:g} m and writes the walls up to "
    f"{SIGHT:g} m ahead: voxels of {100 * VOXEL:g} cm, {CHANNELS} bfloat16 channels, nine views of "
    f"{GRID[0]}x{GRID[1]} cells."
)
METHOD = (
    "Reads are medians of 200, interleaved with reads of a copy of the cache from chunk 10, and of 20 interleaved with "
    "reads without culling; inserts are means since half as many chunks, up to chunk 100 the medians of nine processes."
)


def ring() -> Tensor:
    """(N, 3) points on the four walls along one step; none of them near the border of a voxel in any chunk."""
    across = torch.arange(-HALF + SPACING / 2, HALF, SPACING, dtype=torch.float32, device="cpu")
    along = torch.arange(SPACING / 2, STEP, SPACING, dtype=torch.float32, device="cpu")
    a, z = (x.flatten() for x in torch.meshgrid(across, along, indexing="ij"))
    wall = torch.full_like(a, HALF)
    return torch.cat([torch.stack(p, 1) for p in ((a, wall, z), (a, -wall, z), (wall, a, z), (-wall, a, z))])


def shift(xyz: Tensor, chunk: int) -> Tensor:
    return xyz + torch.tensor([0.0, 0.0, STEP * chunk], dtype=torch.float32, device="cpu")


class Corridor:
    """The points that each chunk writes, and its cameras.

    Attributes:
        added: number of points that are new in a chunk.
        visible: (N, 3), the points of chunk 0.
    """

    def __init__(self) -> None:
        one = ring()
        self.added = len(one)
        steps = round(SIGHT / STEP)
        self.visible = torch.cat([shift(one, k) for k in range(steps)])
        generator = torch.Generator(device="cpu").manual_seed(0)
        self.features = torch.randn(
            len(self.visible), CHANNELS, generator=generator, dtype=torch.float32, device="cpu"
        ).bfloat16()
        self.footprint = torch.full((len(self.visible),), SPACING, dtype=torch.float32, device="cpu")
        self.intrinsics = torch.tensor([[40.0, 0, 40], [0, 40.0, 22], [0, 0, 1]], dtype=torch.float32, device="cpu")

    def write(self, cache: VoxelCache, chunk: int) -> float:
        """Insert a chunk, and return the seconds."""
        xyz = shift(self.visible, chunk)
        begin = time.perf_counter()
        cache.insert(xyz, self.features, self.footprint, stamp=chunk)
        return time.perf_counter() - begin

    def cameras(self, chunk: int) -> Cameras:
        """Nine cameras along the chunk."""
        pose = torch.eye(4, dtype=torch.float32, device="cpu").repeat(9, 1, 1)
        pose[:, 2, 3] = STEP * (chunk + torch.arange(9, dtype=torch.float32, device="cpu") / 9)
        return Cameras(self.intrinsics, pose, GRID)


def new_cache() -> VoxelCache:
    return VoxelCache(VOXEL, CHANNELS, dtype=torch.bfloat16)


def late_half(seconds: list[float]) -> float:
    """The mean since half as many chunks."""
    return mean(seconds[len(seconds) // 2 :])


def early_inserts(corridor: Corridor) -> list[float]:
    """Seconds per insert at the checkpoints up to chunk :data:`EARLY`, in this process."""
    cache = new_cache()
    seconds = [corridor.write(cache, chunk) for chunk in range(EARLY)]
    return [late_half(seconds[:chunk]) for chunk in CHECKED if chunk <= EARLY]


def median_early_inserts() -> list[float]:
    """The medians of :func:`early_inserts` over several new processes."""
    program = [sys.executable, "-m", "mirage.evaluation.corridor", "--early"]
    runs = [subprocess.run(program, capture_output=True, text=True, check=True) for _ in range(EARLY_RUNS)]
    return [median(seconds) for seconds in zip(*(json.loads(run.stdout) for run in runs), strict=True)]


def voxel_cache(corridor: Corridor, chunks: int) -> list[dict[str, float]]:
    """A row for each checkpoint of the voxel cache."""
    cache, first = new_cache(), None
    rows: list[dict[str, float]] = []
    seconds = []
    for chunk in tqdm(range(chunks), unit="chunk", desc="voxel cache"):
        seconds.append(corridor.write(cache, chunk))
        if chunk + 1 not in CHECKED:
            continue
        cameras = corridor.cameras(chunk)
        first = first or partial(cache.clone().splat, cameras)
        read, unculled = partial(cache.splat, cameras), partial(cache.splat, cameras, cull=False)
        row = {"chunk": chunk + 1, "rows": len(cache), "mib": cache.nbytes / 2**20}
        row["visible"] = read().mask.float().mean().item()
        row |= _studies.medians({"read": read, "first_read": first}, 200, warm_up=2)
        both = _studies.medians({"culled": read, "unculled": unculled}, 20, warm_up=2)
        row |= {"unculled": both["unculled"], "culling": both["unculled"] / both["culled"]}
        rows.append(row | {"insert": late_half(seconds)})
    del cache
    for row, insert in zip(rows, median_early_inserts(), strict=False):
        row["insert"] = insert
    return rows


def append_only(corridor: Corridor, chunks: int) -> list[dict[str, float]]:
    """A row for each checkpoint of the append-only memory."""
    new = corridor.visible[-corridor.added :]
    new_features = corridor.features[-corridor.added :].float()
    xyz, features, footprint = corridor.visible, corridor.features.float(), corridor.footprint
    rows: list[dict[str, float]] = []
    for chunk in tqdm(range(1, chunks), unit="chunk", desc="append-only"):
        begin = time.perf_counter()
        xyz = torch.cat([xyz, shift(new, chunk)])
        features = torch.cat([features, new_features])
        footprint = torch.cat([footprint, corridor.footprint[: corridor.added]])
        insert = time.perf_counter() - begin
        if chunk + 1 in CHECKED:
            read = partial(splat, xyz, features, corridor.cameras(chunk), extent=0.6 * footprint)
            mib = (xyz.nbytes + features.nbytes) / 2**20
            row = {"chunk": chunk + 1, "rows": len(xyz), "mib": mib, "insert": insert}
            rows.append(row | _studies.medians({"read": read}, 5, warm_up=2))
            if insert > MAX_APPEND:
                break
    return rows


def main() -> None:
    parser = _studies.parser("corridor", __doc__)
    parser.add_argument("--chunks", type=int, default=CHUNKS, help="at least 10 (default: %(default)s)")
    parser.add_argument("--early", action="store_true", help="only time the first inserts, and print seconds")
    args = parser.parse_args()
    if args.chunks < CHECKED[0]:
        parser.error(f"--chunks: expected at least {CHECKED[0]}, got {args.chunks}")
    corridor = Corridor()
    if args.early:
        print(json.dumps(early_inserts(corridor)))
        return
    _studies.touch_memory(6)
    ours = voxel_cache(corridor, args.chunks)
    appended = append_only(corridor, args.chunks)
    first, last = ours[0], ours[-1]
    ratios = {"read": last["read"] / last["first_read"], "insert": last["insert"] / first["insert"]}
    ratios["read_worst"] = max(row["read"] / row["first_read"] for row in ours)
    ratios["insert_worst"] = max(row["insert"] / first["insert"] for row in ours)
    ratios["culling"] = last["culling"]
    ratios["culling_least"] = min(row["culling"] for row in ours)
    for row in ours:
        print("  ".join(f"{name} {value:.6g}" for name, value in row.items()))
    print(json.dumps(ratios))
    _studies.write(args.out, "corridor", DATA, METHOD, ratios=ratios, voxel_cache=ours, append_only=appended)


if __name__ == "__main__":
    main()
