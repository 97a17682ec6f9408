# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a LoRA changes the look and keeps the place: closed loops by day without it, and by night with it.

The walks are those of :mod:`.closed_loop` through the same held-out scenes, by day or by night. Both models generate
all cells, because a LoRA does. ``python -m mirage.evaluation.lora_place`` prints a table and writes
``lora_place.json`` and a picture.
"""

from __future__ import annotations

import argparse
from typing import Any

from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from ..cameras import out_and_back, pan
from ..data.procedural import ProceduralScene
from ..io.images import contact_sheet
from ..models.nano.files import NANO
from . import _studies
from .chunk_models import ComparedModel, open_models
from .closed_loop import (
    CHUNKS,
    DEGREES,
    FIRST_SEED,
    SCENES,
    LoopStart,
    as_table,
    procedural_starts,
    summarize,
    walk_loop,
)
from .walks import drift_in_cells

LORA, SHOWN = "night", 4
METHOD = (
    "The error of the last frame of a closed loop against the first image, over that image's deviation; how far it is "
    "shifted; and the mean brightness of the last frame. By night, the first image is the same view by night."
)


def by_night(start: LoopStart, seed: int) -> LoopStart:
    """The same view of a scene by night."""
    image, _, _ = ProceduralScene(seed, frames=2, look="night").draw(start.camera, 0)
    return start._replace(image=image.float() / 255)


def score_return(image: Tensor, truth: Tensor, cell: int) -> dict[str, float]:
    """Compare the last frame (3, H, W) of a loop with the first image."""
    error = (image - truth).square().mean().sqrt() / truth.std()
    return {
        "error / deviation": error.item(),
        "drift, cells": drift_in_cells(image, truth, cell),
        "brightness": image.mean().item(),
    }


def main() -> None:
    options = _studies.parser("lora_place", __doc__)
    options.add_argument("--model", default=NANO, metavar="FOLDER", help="small model (default: %(default)s)")
    options.add_argument("--lora", default=LORA, metavar="NAME", help="(default: %(default)s)")
    options.add_argument("--scenes", type=int, default=SCENES, metavar="N", help="(default: %(default)s)")
    run(options.parse_args())


def run(args: argparse.Namespace) -> None:
    """Walk with and without LoRA, and write the table."""
    without, with_lora = open_models(args.model, keep_known=False)[0], open_models(args.model, lora=args.lora)[0]
    rows: dict[str, list[dict[str, float]]] = {"by day, without LoRA": [], "by night, with LoRA": []}
    pictures: list[list[Tensor]] = []
    seeds = range(FIRST_SEED, FIRST_SEED + args.scenes)
    for seed, day in zip(tqdm(seeds, desc="loops"), procedural_starts(seeds), strict=True):
        starts = {"by day, without LoRA": (without, day), "by night, with LoRA": (with_lora, by_night(day, seed))}
        for name, (model, start) in starts.items():
            frames = _walk(model, start)
            rows[name].append(score_return(frames[-1], start.image, model.codec.spatial_stride))
            if len(pictures) < 2 * SHOWN:
                pictures.append([frames[round(n * (len(frames) - 1) / 4)] for n in range(5)])
    summary = {name: summarize(found) for name, found in rows.items()}
    print(as_table(summary))
    settings: dict[str, Any] = {name: str(value) for name, value in vars(args).items()}
    _studies.write(args.out, "lora_place", "Held-out procedural scenes.", METHOD, settings=settings, summary=summary,
                   rows=rows)  # fmt: skip
    labels = [[f"{name}, {n} of 4" for n in range(5)] for name in rows] * len(pictures)
    _studies.save_image(args.out / "lora_place.jpg", contact_sheet(pictures, labels[: len(pictures)]))


def _walk(model: ComparedModel, start: LoopStart) -> Tensor:
    count = CHUNKS * (model.chunk - 1) * model.codec.temporal_stride + 1
    return walk_loop(model, start, pan(start.camera, out_and_back(count), DEGREES))


if __name__ == "__main__":
    main()
