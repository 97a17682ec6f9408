# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""How many denoising steps a small model needs: held-out procedural scenes with several numbers of them.

The walks of :mod:`.closed_loop` and the clips of :mod:`.holes`, with the memory.
``python -m mirage.evaluation.denoising_steps`` prints a table and writes ``denoising_steps.json``.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from tqdm import tqdm  # type: ignore[import-untyped]

from ..cameras import out_and_back, pan
from ..models.nano.files import NANO
from . import _studies
from .chunk_models import open_models
from .closed_loop import CHUNKS, DEGREES, FIRST_SEED, as_table, procedural_starts, walk_loop
from .holes import compare_in_holes, procedural_clips
from .loop_report import summarize_known
from .metrics import psnr

STEPS, SCENES = (1, 2, 4, 6, 8, 12), 10
SCORES = ("closed loop, dB", "in holes, dB", "latent error in holes", "seconds a chunk")
METHOD = "PSNR of the return of a closed loop, PSNR and latent error in holes, and seconds of a chunk of the loop."


def main() -> None:
    options = _studies.parser("denoising_steps", __doc__)
    options.add_argument("--model", default=NANO, metavar="FOLDER", help="small model (default: %(default)s)")
    options.add_argument(
        "--steps", type=int, nargs="+", default=list(STEPS), metavar="N", help="(default: %(default)s)"
    )
    options.add_argument("--scenes", type=int, default=SCENES, metavar="N", help="(default: %(default)s)")
    run(options.parse_args())


def run(args: argparse.Namespace) -> None:
    """Compare the numbers of steps, and write the table."""
    seeds = range(FIRST_SEED, FIRST_SEED + args.scenes)
    starts, clips = procedural_starts(seeds), list(procedural_clips(seeds))
    rows: dict[str, list[dict[str, float]]] = {str(steps): [] for steps in args.steps}
    for steps in tqdm(args.steps, desc="numbers of steps"):
        (model, *_) = open_models(args.model, steps=steps)
        count = CHUNKS * (model.chunk - 1) * model.codec.temporal_stride + 1
        for start, clip in zip(starts, clips, strict=True):
            begin = time.perf_counter()
            frames = walk_loop(model, start, pan(start.camera, out_and_back(count), DEGREES))
            row = {"closed loop, dB": psnr(frames[-1], start.image),
                   "seconds a chunk": (time.perf_counter() - begin) / CHUNKS}  # fmt: skip
            if found := compare_in_holes([model], clip):
                row |= {"in holes, dB": found[model.name]["psnr"],
                        "latent error in holes": found[model.name]["latent_rmse"]}  # fmt: skip
            rows[str(steps)].append(row)
    summary = {name: summarize_known(found, SCORES) for name, found in rows.items()}
    print(as_table(summary))
    settings: dict[str, Any] = {name: str(value) for name, value in vars(args).items()}
    _studies.write(args.out, "denoising_steps", f"{args.scenes} held-out procedural scenes.", METHOD, settings=settings,
                   summary=summary)  # fmt: skip


if __name__ == "__main__":
    main()
