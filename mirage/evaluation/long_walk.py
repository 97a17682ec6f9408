# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a chunk costs along a walk of many chunks: a small model walks through a procedural scene from its first frame.

``python -m mirage.evaluation.long_walk`` prints the seconds of the chunks and writes ``long_walk.json``
and a picture of some of the frames.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import torch
from tqdm import tqdm  # type: ignore[import-untyped]

from ..data.procedural import ProceduralScene
from ..io.images import contact_sheet
from ..models.nano.files import NANO
from . import _studies
from .chunk_models import open_models
from .closed_loop import FIRST_SEED, SIZE, LoopStart, walk_loop

CHUNKS, SHOWN = 50, 12
METHOD = "Seconds of each chunk, decoding included, after a walk of one chunk to warm up; the walk goes on and on."


def main() -> None:
    options = _studies.parser("long_walk", __doc__)
    options.add_argument("--model", default=NANO, metavar="FOLDER", help="small model (default: %(default)s)")
    options.add_argument("--chunks", type=int, default=CHUNKS, metavar="N", help="(default: %(default)s)")
    run(options.parse_args())


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Walk, and write the seconds."""
    model = open_models(args.model)[0]
    step = (model.chunk - 1) * model.codec.temporal_stride
    count = args.chunks * step + 1
    scene = ProceduralScene(FIRST_SEED, frames=count)
    cameras = scene.cameras(count, SIZE, "on")
    image, depth, moving = scene.draw(cameras[:1], 0)
    start = LoopStart(f"scene {FIRST_SEED}", image.float() / 255, depth, cameras[:1], moving | (depth == 0))
    walk_loop(model, start, cameras[: 1 + step])
    seconds: list[float] = []
    with tqdm(total=args.chunks, unit="chunk") as bar:
        since = [time.perf_counter()]

        def on_chunk() -> None:
            seconds.append(time.perf_counter() - since[0])
            bar.update()
            since[0] = time.perf_counter()

        frames = walk_loop(model, start, cameras, on_chunk=on_chunk)
    tenth = max(len(seconds) // 10, 1)
    ratio = median(seconds[-tenth:]) / median(seconds[1 : 1 + tenth] or seconds)
    print(f"{median(seconds):.3g} s a chunk of {step} frames; last {tenth} over chunks 2 to {1 + tenth}: {ratio:.2f}")
    result = {"seconds": seconds, "frames_a_chunk": step, "late_over_early": ratio,
              "threads": torch.get_num_threads()}  # fmt: skip
    _studies.write(args.out, "long_walk", f"Procedural scene {FIRST_SEED}, {args.chunks} chunks.", METHOD, **result)
    picks = torch.linspace(0, count - 1, SHOWN, dtype=torch.float64, device="cpu").round().int().tolist()
    rows = [picks[first : first + 4] for first in range(0, SHOWN, 4)]
    sheet = contact_sheet([[frames[n] for n in row] for row in rows], [[f"frame {n}" for n in row] for row in rows])
    _studies.save_image(args.out / "long_walk.jpg", sheet)
    return result


if __name__ == "__main__":
    main()
