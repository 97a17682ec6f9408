# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the arguments of a rollout."""

from __future__ import annotations

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..depth import DepthEstimator
from ..memory import LatentSpatialMemory
from .protocols import ChunkModel, Codec


def check_start(
    image: Tensor,
    depth: Tensor | None,
    exclude: Tensor | None,
    camera: Cameras,
    memory: LatentSpatialMemory,
    codec: Codec,
    model: ChunkModel,
    estimator: DepthEstimator | None,
) -> None:
    """Check the arguments of a session.

    Raises:
        ValueError: arguments do not match.
    """
    step = codec.spatial_stride * model.patch
    if image.dim() != 3 or image.shape[0] != 3 or any(side % step or not side for side in image.shape[1:]):
        raise ValueError(f"image: expected (3, H, W) with H and W multiples of {step}, got {tuple(image.shape)}")
    size = (image.shape[1], image.shape[2])
    if depth is None and len(memory) == 0 and estimator is None:
        raise ValueError(f"depth: expected (H={size[0]}, W={size[1]}) or an estimator with an empty memory, got None")
    if depth is not None and depth.shape != size:
        raise ValueError(f"depth: expected (H={size[0]}, W={size[1]}), got {tuple(depth.shape)}")
    if exclude is not None and (exclude.shape != size or exclude.dtype != torch.bool):
        expected = f"bool (H={size[0]}, W={size[1]})"
        raise ValueError(f"exclude: expected {expected}, got {exclude.dtype} {tuple(exclude.shape)}")
    if camera.size != size:
        raise ValueError(f"cameras: expected size (H={size[0]}, W={size[1]}), got {camera.size}")
    if len(camera) != 1:
        raise ValueError(f"camera: expected one camera, got {len(camera)}")
    if memory.channels != codec.channels:
        raise ValueError(f"memory: expected {codec.channels} channels of {codec.name!r}, got {memory.channels}")
    if memory.codec not in ("", codec.name):
        raise ValueError(f"memory: expected latents of {codec.name!r}, got latents of {memory.codec!r}")


def check_conditions(num_references: int, num_preceding: int, threshold: float) -> None:
    """Check what a session conditions the model on.

    Raises:
        ValueError: a number is negative, or the threshold is not from 0 to 1.
    """
    for name, number in (("num_references", num_references), ("num_preceding", num_preceding)):
        if number < 0:
            raise ValueError(f"{name}: expected at least 0, got {number}")
    if not 0 <= threshold <= 1:
        raise ValueError(f"reference_threshold: expected 0 to 1, got {threshold}")


def check_maps(depth: Tensor | None, exclude: Tensor | None, count: int, size: tuple[int, int]) -> None:
    """Check known depth and masks of the new latents of a step.

    Raises:
        TypeError: a dtype is wrong.
        ValueError: a shape is wrong.
    """
    for name, value, kind in (("depth", depth, "float"), ("exclude", exclude, "bool")):
        if value is None:
            continue
        if not isinstance(value, Tensor):
            raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")
        expected = f"{kind} (T={count}, H={size[0]}, W={size[1]})"
        if not (value.is_floating_point() if kind == "float" else value.dtype == torch.bool):
            raise TypeError(f"{name}: expected {expected}, got {value.dtype}")
        if value.shape != (count, *size):
            raise ValueError(f"{name}: expected {expected}, got {tuple(value.shape)}")


def check_sources(boundary: str, references: str, decode: bool, needs_frames: bool) -> None:
    """Check where a session takes latents from, and whether it decodes the frames that it needs.

    Raises:
        ValueError: a source is unknown, or frames are needed and not decoded.
    """
    for name, source in (("boundary", boundary), ("references", references)):
        if source not in ("latent", "frame"):
            raise ValueError(f"{name}: expected 'latent' or 'frame', got {source!r}")
        if source == "frame" and not decode:
            raise ValueError(f"decode: expected True with {name}='frame', got False")
    if not decode and needs_frames:
        raise ValueError("decode: expected True with an estimator or filters, got False")
