# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""How well a walk that returns agrees with what it began with, and what the memory cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..io.images import contact_sheet
from ..models.embedded import FillModel
from ..rollout import ChunkModel, Codec
from .chunk_models import ComparedModel, WithoutMemory
from .colored_memory import ColoredCodec
from .metrics import MIN_SIDE, image_scores, stored_psnr
from .walks import (
    Walk,
    WalkStart,
    check_returns,
    drift_in_cells,
    find_revisits,
    flicker,
    known_share,
    repeat_path,
    revisit_scores,
    take_walk,
)

__all__ = ["VARIANTS", "LoopModel", "compare_walks", "score_walk"]

VARIANTS = {
    "memory": "the latent spatial memory",
    "none": "the model sees an empty memory",
    "colored": "a memory of colored points, rendered as images and encoded again",
    "fill": "the memory with smoothly filled holes, without the model",
}
ERROR_GAIN = 4.0  # of the maps of absolute differences

Perceptual = Callable[[Tensor, Tensor], float]


class LoopModel(NamedTuple):
    """The model that walks, of which :meth:`variant` makes those that are compared.

    Attributes:
        codec: of its latents.
        model: generates.
        session_options: of the rollout.
        memory_options: of the memory.
        chunk: latents of a chunk, the first one included.
    """

    codec: Codec
    model: ChunkModel
    session_options: dict[str, Any]
    memory_options: dict[str, Any]
    chunk: int

    def variant(self, name: str) -> ComparedModel:
        """One of :data:`VARIANTS`, for one walk."""
        codec = ColoredCodec(self.codec) if name == "colored" else self.codec
        model = WithoutMemory(self.model) if name == "none" else FillModel() if name == "fill" else self.model
        session = {} if name == "fill" else self.session_options
        return ComparedModel(name, codec, model, session, self.memory_options, self.chunk)


def score_walk(walk: Walk, image: Tensor, cell: int, laps: int, perceptual: Perceptual | None = None) -> dict[str, Any]:
    """Score a walk that returns.

    Args:
        walk: the walk.
        image: (3, H, W), what it began with.
        cell: pixels of a latent cell.
        laps: times that the path was walked.
        perceptual: LPIPS of two images, if its weights are at hand.

    Returns:
        JSON values: ``scores`` by name, None where there is none; ``laps``, the PSNR of the first image at the end of
        each; and ``revisits``, a row for each frame whose camera is that of an earlier one: the two frames, the turn
        in degrees and the way in world units from the start, and their PSNR.

    Raises:
        ValueError: the path does not return.
    """
    frames = len(walk.frames)
    revisits = check_returns(walk.cameras, max(walk.stride, 2))
    last = revisits[-1]
    truth = image if last.earlier == 0 else walk.image(last.earlier)
    scores: dict[str, float] = {**image_scores(walk.image(last.frame), truth)}
    if perceptual is not None:
        scores["lpips"] = perceptual(walk.image(last.frame), truth)
    scores["drift"] = drift_in_cells(walk.image(last.frame), truth, cell)
    scores |= revisit_scores(walk, revisits)
    scores |= {"flicker": flicker(walk), "known": known_share(walk)}
    scores |= {"seconds": median(walk.seconds), "points": walk.points[-1], "bytes": walk.nbytes}
    lap = (frames - 1) // laps
    turned, moved = _ways(walk)
    rows = [
        [now, before, turned[now], moved[now], _finite(stored_psnr(walk.image(now), walk.image(before)))]
        for now, before in revisits
    ]
    return {
        "scores": {name: _finite(value) for name, value in scores.items()},
        "laps": [_finite(stored_psnr(walk.image(n * lap), image)) for n in range(1, laps + 1)]
        if last.earlier == 0
        else [],
        "revisits": rows,
    }


def _finite(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _ways(walk: Walk) -> tuple[list[float], list[float]]:
    """The turn in degrees and the distance of each frame's camera from the first one."""
    poses = walk.cameras.cam2world.double().cpu()
    cosine = (torch.einsum("ab,iab->i", poses[0, :3, :3], poses[:, :3, :3]) - 1) / 2
    turned = torch.rad2deg(torch.arccos(cosine.clamp(-1, 1)))
    moved = (poses[:, :3, 3] - poses[0, :3, 3]).norm(dim=1)
    return [round(value, 3) for value in turned.tolist()], [round(value, 4) for value in moved.tolist()]


def compare_walks(
    model: LoopModel,
    start: WalkStart,
    variants: Sequence[str],
    *,
    laps: int = 1,
    perceptual: Perceptual | None = None,
    on_chunk: Callable[[], Any] = lambda: None,
    **options: Any,
) -> tuple[dict[str, Any], Tensor]:
    """Take a walk with several variants of a model.

    Args:
        model: the model.
        start: the walk, for one lap.
        variants: names among :data:`VARIANTS`.
        laps: times that the path is walked.
        perceptual: see :func:`score_walk`.
        on_chunk: called after every chunk.
        options: of :func:`mirage.evaluation.walks.take_walk`.

    Returns:
        By variant, what :func:`score_walk` returns; and a picture (3, H', W') with a row for each variant.

    Raises:
        ValueError: the path does not return.
    """
    if min(start.cameras.size) < MIN_SIDE:
        raise ValueError(f"expected frames of at least {MIN_SIDE} pixels a side, got {start.cameras.size}")
    start = start._replace(cameras=repeat_path(start.cameras, laps))
    check_returns(start.cameras, max(model.codec.temporal_stride, 2))
    results, rows, labels = {}, [], []
    for name in variants:
        walk = take_walk(model.variant(name), start, on_chunk=on_chunk, **options)
        results[name] = score_walk(walk, start.image, model.codec.spatial_stride, laps, perceptual)
        shown, texts = _picture(walk, start.image)
        rows.append(shown)
        labels.append([f"{name}: {text}" for text in texts])
    return results, contact_sheet(rows, labels)


def _picture(walk: Walk, image: Tensor) -> tuple[list[Tensor], list[str]]:
    """The first frame, the one that is farthest from it, the last revisit, and where that differs."""
    last = find_revisits(walk.cameras, apart=max(walk.stride, 2))[-1]
    turned, moved = _ways(walk)
    span = max(moved) or 1.0
    far = max(range(len(turned)), key=lambda n: turned[n] / 180 + moved[n] / span)
    truth = image if last.earlier == 0 else walk.image(last.earlier)
    error = (ERROR_GAIN * (walk.image(last.frame) - truth).abs()).clamp(0, 1)
    texts = [f"frame {last.earlier}", f"frame {far}", f"frame {last.frame}", f"difference x {ERROR_GAIN:g}"]
    return [truth, walk.image(far), walk.image(last.frame), error], texts
