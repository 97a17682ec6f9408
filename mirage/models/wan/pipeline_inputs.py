# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a pipeline is handed, checked and brought into one form."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras

from ...cameras import CameraController


def check_prompts(
    text_dim: int, prompt: str | None, negative: str | None, embeds: Tensor | None, negative_embeds: Tensor | None
) -> None:
    """Raise where prompts and embeddings (1, words, text dim) do not fit together."""
    for name, words in (("prompt", prompt), ("negative_prompt", negative)):
        if words is not None and not isinstance(words, str):
            raise TypeError(f"{name}: expected one text, got {type(words).__name__}")
    if (prompt is None) == (embeds is None):
        raise ValueError(f"prompt: expected it or prompt_embeds, got {'both' if prompt is not None else 'neither'}")
    if negative is not None and (negative_embeds is not None or embeds is not None):
        raise ValueError("negative_prompt: expected none with embeddings given, got one")
    for name, tensor in (("prompt_embeds", embeds), ("negative_prompt_embeds", negative_embeds)):
        if tensor is not None and (tensor.dim() != 3 or tensor.shape[0] != 1 or tensor.shape[2] != text_dim):
            raise ValueError(f"{name}: expected (1, words, text dim={text_dim}), got {tuple(tensor.shape)}")


def scale_start(
    image: Any,
    depth: Tensor | None,
    exclude: Tensor | None,
    camera: Cameras,
    height: int | None,
    width: int | None,
    step: int,
) -> tuple[Tensor, Tensor | None, Tensor | None, Cameras]:
    """The picture (3, H, W), 0 to 1, with depth and mask (H, W) and camera, at the size that is asked for.

    Args:
        image: PIL's, an array (H, W, 3) or a tensor (3, H, W), 0 to 1.
        depth, exclude: (H, W) of the image.
        camera: over the image's pixels.
        height, width: of the result; by default the image's own.
        step: that they are multiples of.
    """
    picture = _picture(image)
    own = (picture.shape[1], picture.shape[2])
    if camera.size != own:
        raise ValueError(f"cameras: expected the image's size (H={own[0]}, W={own[1]}), got {camera.size}")
    size = (own[0] if height is None else height, own[1] if width is None else width)
    if any(side % step or side < step for side in size):
        raise ValueError(f"height, width: expected multiples of {step}, got {size[0]} and {size[1]}")
    for name, part in (("depth", depth), ("exclude", exclude)):
        if part is not None and tuple(part.shape) != own:
            raise ValueError(f"{name}: expected the image's size (H={own[0]}, W={own[1]}), got {tuple(part.shape)}")
    if picture.shape[1:] != size:
        picture = nnf.interpolate(picture[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)
    if depth is not None:
        # depths are picked, never mixed: a mean of near and far is a surface that is not there
        depth = nnf.interpolate(depth[None, None].float(), size, mode="nearest-exact")[0, 0]
    if exclude is not None:  # with any excluded pixel under it, a pixel is
        exclude = nnf.adaptive_max_pool2d(exclude[None].float(), size)[0] > 0
    return picture, depth, exclude, camera.rescale(size)


def _picture(image: Any) -> Tensor:
    """(3, H, W) float32, 0 to 1, of one picture: PIL's, an array (H, W, 3) or a tensor (3, H, W), with or without a
    dimension of 1 before; bytes or floats from 0 to 1."""
    if isinstance(image, PIL.Image.Image):
        image = np.asarray(image.convert("RGB"))
    if not isinstance(image, (np.ndarray, Tensor)):
        raise TypeError(f"image: expected a PIL picture, an array or a tensor, got {type(image).__name__}")
    picture = torch.as_tensor(np.array(image) if isinstance(image, np.ndarray) else image)
    picture = picture[0] if picture.dim() == 4 and len(picture) == 1 else picture
    picture = picture.movedim(-1, 0) if isinstance(image, np.ndarray) and picture.dim() == 3 else picture
    if picture.dim() != 3 or len(picture) != 3 or not picture.numel():
        raise ValueError(f"image: expected one, (H, W, 3) or a tensor (3, H, W), got {tuple(image.shape)}")
    picture = picture.float() / 255 if picture.dtype == torch.uint8 else picture.float()
    low, high = picture.min().item(), picture.max().item()
    if not 0 <= low <= high <= 1:
        raise ValueError(f"image: expected values from 0 to 1, got {low:g} to {high:g}")
    return picture


def plan_path(
    cameras: Cameras | None, trajectory: str | None, num_frames: int | None, step: float, turn: float
) -> Cameras:
    """Cameras of every frame."""
    if cameras is None:
        raise ValueError("cameras: expected those of every frame, or the image's with a trajectory, got none")
    if trajectory is not None:
        if len(cameras) != 1:
            raise ValueError(f"cameras: expected the image's alone with a trajectory, got {len(cameras)}")
        cameras = Cameras.cat([cameras, CameraController(cameras, step=step, turn=turn).go(trajectory)])
    if num_frames is not None and num_frames > len(cameras):
        raise ValueError(f"num_frames: expected at most {len(cameras)}, as there are cameras for, got {num_frames}")
    return cameras[:num_frames]
