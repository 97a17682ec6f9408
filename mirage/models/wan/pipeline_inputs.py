# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Checks the arguments of the pipeline and converts them to tensors and cameras."""

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
    """Check that prompts and prompt embeddings are valid and do not contradict each other.

    Args:
        text_dim: size of an embedding.
        prompt: one prompt; None with ``embeds``.
        negative: one negative prompt, or None.
        embeds: (1, tokens, text_dim), embeddings instead of the prompt.
        negative_embeds: (1, tokens, text_dim), embeddings instead of the negative prompt.

    Raises:
        TypeError: a prompt is not a string.
        ValueError: both or none of prompt and embeddings are set, or embeddings have another shape.
    """
    for name, text in (("prompt", prompt), ("negative_prompt", negative)):
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{name}: expected one str, got {type(text).__name__}")
    if (prompt is None) == (embeds is None):
        got = "both" if prompt is not None else "neither"
        raise ValueError(f"prompt: expected either prompt or prompt_embeds, got {got}")
    if negative is not None and (negative_embeds is not None or embeds is not None):
        raise ValueError("negative_prompt: expected None if embeddings are passed, got a prompt")
    for name, tensor in (("prompt_embeds", embeds), ("negative_prompt_embeds", negative_embeds)):
        if tensor is not None and (tensor.dim() != 3 or tensor.shape[0] != 1 or tensor.shape[2] != text_dim):
            raise ValueError(f"{name}: expected (1, tokens, text dim={text_dim}), got {tuple(tensor.shape)}")


def prepare_image(
    image: Any,
    depth: Tensor | None,
    exclude: Tensor | None,
    camera: Cameras,
    height: int | None,
    width: int | None,
    step: int,
) -> tuple[Tensor, Tensor | None, Tensor | None, Cameras]:
    """Convert the start image to a tensor, and scale it with its depth, mask and camera.

    Args:
        image: a PIL image, an array (H, W, 3) or a tensor (3, H, W), 0 to 1.
        depth: (H, W) z-depth of the image, or None.
        exclude: (H, W) bool mask of the image, or None.
        camera: the image's camera, over its pixels.
        height, width: size of the result; by default the image's own.
        step: the height and width must be multiples of it.

    Returns:
        Image (3, H, W) float32, depth (H, W) float32, mask (H, W) bool and camera, at the new size.

    Raises:
        TypeError: ``image`` is of another type.
        ValueError: a size does not match the image's, or is not a multiple of ``step``, or the image is invalid.
    """
    pixels = _to_tensor(image)
    own = (pixels.shape[1], pixels.shape[2])
    if camera.size != own:
        raise ValueError(f"cameras: expected the image's size (H={own[0]}, W={own[1]}), got {camera.size}")
    size = (own[0] if height is None else height, own[1] if width is None else width)
    if any(side % step or side < step for side in size):
        raise ValueError(f"height, width: expected multiples of {step}, got {size[0]} and {size[1]}")
    for name, part in (("depth", depth), ("exclude", exclude)):
        if part is not None and tuple(part.shape) != own:
            raise ValueError(f"{name}: expected the image's size (H={own[0]}, W={own[1]}), got {tuple(part.shape)}")
    if pixels.shape[1:] != size:
        pixels = nnf.interpolate(pixels[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)
    if depth is not None:
        # Nearest: averaging near and far depths would create a surface that does not exist.
        depth = nnf.interpolate(depth[None, None].float(), size, mode="nearest-exact")[0, 0]
    if exclude is not None:  # a pixel is excluded if any of its source pixels is
        exclude = nnf.adaptive_max_pool2d(exclude[None].float(), size)[0] > 0
    return pixels, depth, exclude, camera.rescale(size)


def _to_tensor(image: Any) -> Tensor:
    """Convert a PIL image, an array (H, W, 3) or a tensor (3, H, W), uint8 or float from 0 to 1, to (3, H, W) float32.
    A batch dimension of 1 is dropped."""
    if isinstance(image, PIL.Image.Image):
        image = np.asarray(image.convert("RGB"))
    if not isinstance(image, (np.ndarray, Tensor)):
        raise TypeError(f"image: expected a PIL image, an array or a tensor, got {type(image).__name__}")
    pixels = torch.from_numpy(np.array(image)) if isinstance(image, np.ndarray) else image
    pixels = pixels[0] if pixels.dim() == 4 and len(pixels) == 1 else pixels
    pixels = pixels.movedim(-1, 0) if isinstance(image, np.ndarray) and pixels.dim() == 3 else pixels
    if pixels.dim() != 3 or len(pixels) != 3 or not pixels.numel():
        raise ValueError(f"image: expected an array (H, W, 3) or a tensor (3, H, W), got {tuple(image.shape)}")
    pixels = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()
    low, high = pixels.min().item(), pixels.max().item()
    if not 0 <= low <= high <= 1:
        raise ValueError(f"image: expected values from 0 to 1, got {low:g} to {high:g}")
    return pixels


def prepare_cameras(
    cameras: Cameras | None, trajectory: str | None, num_frames: int | None, step: float, turn: float
) -> Cameras:
    """Make one camera per frame.

    Args:
        cameras: one camera per frame; with a trajectory, only the image's.
        trajectory: actions from the image's camera, such as ``"w*16 l*24"``.
        num_frames: number of cameras to return; by default all.
        step: world units that an action moves per frame.
        turn: degrees that an action turns per frame.

    Raises:
        ValueError: there are no cameras, more than one with a trajectory, or fewer than ``num_frames``.
    """
    if cameras is None:
        raise ValueError("cameras: expected one per frame, or the image's camera with a trajectory, got None")
    if trajectory is not None:
        if len(cameras) != 1:
            raise ValueError(f"cameras: expected only the image's camera with a trajectory, got {len(cameras)} cameras")
        cameras = Cameras.cat([cameras, CameraController(cameras, step=step, turn=turn).go(trajectory)])
    if num_frames is not None and num_frames > len(cameras):
        raise ValueError(f"num_frames: expected at most {len(cameras)} (the number of cameras), got {num_frames}")
    return cameras[:num_frames]
