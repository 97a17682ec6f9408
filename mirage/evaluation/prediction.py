# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""How well a model predicts a clip from its first frame along the clip's own path, and what it shows when the camera
has gone the same way back: the two tables of RealEstate10K in papers on video world models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from torch import Tensor

from ..io.images import contact_sheet
from .image_to_video import ImageToVideo
from .loop_scores import LoopModel, Perceptual
from .metrics import image_scores
from .novel_view import ViewedClip
from .walks import Walk, WalkStart, known_share, take_walk

__all__ = ["GENERATOR", "PAPER", "predict_clip"]

GENERATOR = "generator"
SHOWN = 4  # frames of a picture
# The paper's RealEstate10K (arXiv 2606.09828): PSNR, SSIM and LPIPS of the prediction, then of the closed loop.
PAPER = {
    "Mirage (paper)": (18.38, 0.779, 0.250, 20.05, 0.825, 0.228),
    "Spatia (paper)": (18.58, 0.646, 0.254, 19.38, 0.579, 0.213),
    "Voyager (paper)": (17.79, 0.636, 0.297, 17.66, 0.540, 0.380),
}


def predict_clip(
    model: LoopModel,
    clip: ViewedClip,
    variants: Sequence[str],
    *,
    generator: ImageToVideo | None = None,
    prompt: str = "",
    seed: int = 0,
    perceptual: Perceptual | None = None,
    on_chunk: Callable[[], Any] = lambda: None,
    **options: Any,
) -> tuple[dict[str, Any], Tensor]:
    """Walk along a clip's path and back, from its first frame and that frame's depth.

    Args:
        model: walks.
        clip: the clip. Frames that are left over when its length is not one of the codec's are not used.
        variants: names among :data:`mirage.evaluation.loop_scores.VARIANTS`, or ``"generator"``.
        generator: a model without cameras, for the variant of this name.
        prompt: for the models.
        seed: of the noise.
        perceptual: LPIPS of two images, if its weights are at hand.
        on_chunk: called after every chunk.
        options: of :func:`mirage.evaluation.walks.take_walk`.

    Returns:
        By variant, as JSON values: ``scores``, the means over all frames but the first against the clip's, and, with
        ``loop_`` before their names, those of the last frame against the first; and ``frames``, PSNR by frame. And a
        picture (3, H', W') with a row for the clip and for each variant.

    Raises:
        ValueError: the clip has too few frames.
    """
    stride = model.codec.temporal_stride
    count = (len(clip.frames) - 1) // stride * stride + 1
    if count < 2:
        raise ValueError(f"{clip.name}: expected at least {stride + 1} frames, got {len(clip.frames)}")
    there_and_back = [*range(count), *reversed(range(count - 1))]
    image = clip.frames[0].float() / 255
    exclude = None if clip.exclude is None else clip.exclude[0]
    start = WalkStart(clip.name, image, clip.depth[0], clip.cameras[there_and_back], exclude, prompt, seed)
    picks = [round(n * (count - 1) / (SHOWN - 2)) for n in range(SHOWN - 1)]
    rows = [[*(clip.frames[n].float() / 255 for n in picks), image]]
    labels = [[*(f"frame {clip.numbers[n]}" for n in picks), "back at the start"]]
    results: dict[str, Any] = {}
    for name in variants:
        walk = None
        if name == GENERATOR:
            if generator is None:
                raise ValueError("generator: expected a model for the variant 'generator', got none")
            frames = generator(image, len(there_and_back), prompt, seed)
        else:
            walk = take_walk(model.variant(name), start, on_chunk=on_chunk, **options)
            frames = walk.frames
        results[name] = _score(frames, clip, count, perceptual, walk)
        rows.append([frames[n].float() / 255 for n in (*picks, -1)])
        labels.append([name, *[""] * (SHOWN - 1)])
    return results, contact_sheet(rows, labels)


def _score(
    frames: Tensor, clip: ViewedClip, count: int, perceptual: Perceptual | None, walk: Walk | None
) -> dict[str, Any]:
    def compare(frame: int, truth: int) -> dict[str, float]:
        a, b = frames[frame].float() / 255, clip.frames[truth].float() / 255
        return image_scores(a, b) | ({} if perceptual is None else {"lpips": perceptual(a, b)})

    of_frames = [compare(n, n) for n in range(1, count)]
    scores = {name: fmean(row[name] for row in of_frames) for name in of_frames[0]}
    scores |= {f"loop_{name}": value for name, value in compare(-1, 0).items()}
    if walk is not None:
        scores |= {"known": known_share(walk), "bytes": walk.nbytes}
        scores["seconds"] = sum(walk.seconds) / (len(walk.frames) - 1)
    return {
        "scores": {name: float(f"{value:.6g}") for name, value in scores.items() if math.isfinite(value)},
        "frames": [[clip.numbers[n], round(row["psnr"], 4)] for n, row in enumerate(of_frames, 1)],
    }
