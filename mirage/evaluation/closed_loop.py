# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Closed loops: a camera turns away and comes back, and the last frame should look like the first.

The start is the first frame of held-out procedural scenes with its depth. Three models are compared on the same codec:
a small model with its memory, the same without (it sees an empty memory), and the one that fills holes smoothly.

``python -m mirage.evaluation.closed_loop`` prints a table and writes ``closed_loop.json`` and pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from mirage_kernels import Cameras

from ..cameras import out_and_back, pan
from ..data.procedural import ProceduralScene
from ..io.images import contact_sheet
from ..models.nano.files import NANO
from ..rollout import RolloutSession
from . import _studies
from .chunk_models import ComparedModel, open_models
from .metrics import image_scores

__all__ = ["LoopStart", "confidence_interval", "procedural_starts", "walk_loop"]

SIZE, FIRST_SEED, SCENES, CHUNKS, DEGREES = (256, 384), 10_000_000, 20, 3, 60.0
RESAMPLES = 2000
METHOD = (
    "Turn away from the first frame of a procedural scene and back, over a number of chunks; compare the last frame "
    "with the first image. Intervals hold 95 % of the means of 2,000 resampled sets of scenes."
)


class LoopStart(NamedTuple):
    """What a loop starts from.

    Attributes:
        name: of the scene.
        image: (3, H, W), values 0 to 1.
        depth: (H, W) float32 z-depth, 0 where unknown.
        camera: one camera over (H, W).
        exclude: (H, W) bool, pixels that are not remembered.
    """

    name: str
    image: Tensor
    depth: Tensor
    camera: Cameras
    exclude: Tensor | None = None


def procedural_starts(seeds: Sequence[int], size: tuple[int, int] = SIZE) -> list[LoopStart]:
    """The first frames of procedural scenes."""
    starts = []
    for seed in tqdm(seeds, desc="scenes"):
        scene = ProceduralScene(seed, frames=2)
        camera = scene.cameras(2, size, "on")[:1]
        image, depth, moving = scene.draw(camera, 0)
        starts.append(LoopStart(f"scene {seed}", image.float() / 255, depth, camera, moving | (depth == 0)))
    return starts


def walk_loop(
    compared: ComparedModel,
    start: LoopStart,
    cameras: Cameras,
    seed: int = 0,
    on_chunk: Callable[[], Any] | None = None,
) -> Tensor:
    """Generate along a path.

    Args:
        compared: the model.
        start: first frame.
        cameras: of all frames; the first is that of the start.
        seed: of the noise.
        on_chunk: called after every chunk.

    Returns:
        (F, 3, H, W) frames, values 0 to 1.
    """
    session = RolloutSession(
        start.image,
        start.depth,
        start.camera,
        memory=compared.make_memory(),
        codec=compared.codec,
        model=compared.model,
        generator=torch.Generator(device="cpu").manual_seed(seed),
        exclude=start.exclude,
        **compared.session_options,
    )
    frames, step = [], (compared.chunk - 1) * compared.codec.temporal_stride
    for first in range(1, len(cameras), step):
        frames.append(session.step(cameras[first : first + step]).frames)
        if on_chunk is not None:
            on_chunk()
    return torch.cat(frames, 1).movedim(1, 0)


def confidence_interval(values: Sequence[float]) -> tuple[float, float]:
    """The interval that holds 95 % of the means of resampled values (Efron 1979).

    Example:
        >>> confidence_interval([1.0, 1.0, 1.0])
        (1.0, 1.0)
    """
    numbers = np.asarray(values, dtype=np.float64)
    picks = np.random.default_rng(0).integers(len(numbers), size=(RESAMPLES, len(numbers)))
    low, high = np.percentile(numbers[picks].mean(1), [2.5, 97.5])
    return float(low), float(high)


def summarize(rows: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and interval of every score."""
    found = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        low, high = confidence_interval(values)
        found[name] = {"mean": float(np.mean(values)), "low": low, "high": high}
    return found


def as_table(summary: dict[str, dict[str, dict[str, float]]]) -> str:
    """A Markdown table of models and scores."""
    names = list(dict.fromkeys(name for scores in summary.values() for name in scores))
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for model, scores in summary.items():
        cells = [_cell(scores[name]) if name in scores else "-" for name in names]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(score: dict[str, float]) -> str:
    if score["low"] == score["high"]:  # a single row
        return f"{score['mean']:.3g}"
    return f"{score['mean']:.3g} ({score['low']:.3g} to {score['high']:.3g})"


def main() -> None:
    options = _studies.parser("closed_loop", __doc__)
    options.add_argument("--model", default=NANO, metavar="FOLDER", help="small model (default: %(default)s)")
    options.add_argument("--lora", metavar="NAME", help="LoRA of the small model (default: none)")
    options.add_argument("--steps", type=int, metavar="N", help="denoising steps (default: of the model)")
    for name, default in (("scenes", SCENES), ("chunks", CHUNKS)):
        options.add_argument(f"--{name}", type=int, default=default, metavar="N", help="(default: %(default)s)")
    options.add_argument("--degrees", type=float, default=DEGREES, help="that the camera turns (default: %(default)g)")
    run(options.parse_args())


def run(args: argparse.Namespace) -> None:
    """Compare the models, and write table and pictures."""
    models = open_models(args.model, lora=args.lora, steps=args.steps)
    starts = procedural_starts(range(FIRST_SEED, FIRST_SEED + args.scenes))
    rows: dict[str, list[dict[str, float]]] = {compared.name: [] for compared in models}
    shown: list[tuple[list[Tensor], list[str]]] = []
    for start in tqdm(starts, desc="loops"):
        for compared in models:
            step = (compared.chunk - 1) * compared.codec.temporal_stride
            cameras = pan(start.camera, out_and_back(args.chunks * step + 1), args.degrees)
            frames = walk_loop(compared, start, cameras)
            rows[compared.name].append(image_scores(frames[-1], start.image))
            if len(shown) < 5 * len(models):
                picks = [round(n * (len(frames) - 1) / 4) for n in range(5)]
                shown.append(([frames[n] for n in picks], [f"{compared.name}, frame {n}" for n in picks]))
    summary = {name: summarize(found) for name, found in rows.items()}
    print(as_table(summary))
    settings = {name: str(value) for name, value in vars(args).items()}
    _studies.write(args.out, "closed_loop", "Held-out procedural scenes.", METHOD, settings=settings, summary=summary,
                   rows=rows)  # fmt: skip
    rows_shown, labels = zip(*shown, strict=True)
    _studies.save_image(args.out / "closed_loop.jpg", contact_sheet(list(rows_shown), list(labels)))


if __name__ == "__main__":
    main()
