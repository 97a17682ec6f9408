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
from .prompts import one_of_list


def prepare_image(
    image: Any,
    depth: Any,
    exclude: Any,
    camera: Cameras,
    height: int | None,
    width: int | None,
    step: int,
) -> tuple[Tensor, Tensor | None, Tensor | None, Cameras]:
    """Convert the start image to a tensor, and scale it with its depth, mask and camera.

    Args:
        image: a PIL image, an array (H, W, 3) or a tensor (3, H, W), 0 to 1.
        depth: z-depth of the image in the unit of the poses: a tensor or an array (H, W), or a PIL image of mode F, I
            or I;16, whose values are not scaled; or None.
        exclude: mask of the image: a bool tensor or array (H, W), or a PIL image of mode 1 or L, in which what is not 0
            is excluded; or None.
        camera: the image's camera, over its pixels.
        height, width: size of the result; by default the image's own.
        step: the height and width must be multiples of it.

    Returns:
        Image (3, H, W) float32, depth (H, W) float32, mask (H, W) bool and camera, at the new size.

    Raises:
        TypeError: ``image``, ``depth`` or ``exclude`` is of another type or dtype.
        ValueError: a size does not match the image's, or is not a multiple of ``step``, or the image is invalid.
    """
    pixels = _to_tensor(one_of_list("image", image))
    depth, exclude = _to_map("depth", one_of_list("depth", depth)), _to_map("exclude", one_of_list("exclude", exclude))
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
        depth = nnf.interpolate(depth[None, None], size, mode="nearest-exact")[0, 0]
    if exclude is not None:  # a pixel is excluded if any of its source pixels is
        exclude = nnf.adaptive_max_pool2d(exclude[None].float(), size)[0] > 0
    return pixels, depth, exclude, camera.rescale(size)


_MAP_MODES = {"depth": ("F", "I", "I;16", "I;16L", "I;16B", "I;16N"), "exclude": ("1", "L")}


def _to_map(name: str, value: Any) -> Tensor | None:
    """Convert depth to (H, W) float32, or a mask to (H, W) bool. Dimensions of 1 before and after are dropped."""
    if value is None:
        return None
    if isinstance(value, PIL.Image.Image):
        if value.mode not in _MAP_MODES[name]:
            expected = " or ".join(_MAP_MODES[name][:3])
            raise TypeError(f"{name}: expected a PIL image of mode {expected}, got mode {value.mode}")
        value = np.array(value)
        value = value != 0 if name == "exclude" else value
    if not isinstance(value, np.ndarray | Tensor):
        raise TypeError(f"{name}: expected a tensor, an array or a PIL image, got {type(value).__name__}")
    if isinstance(value, np.ndarray) and name == "depth" and value.dtype.kind in "iuf":
        value = value.astype(np.float32)  # torch does not take every dtype and byte order
    is_number = isinstance(value, np.ndarray) and value.dtype.kind in "iuf"
    if isinstance(value, Tensor):
        is_number = value.dtype != torch.bool and not value.is_complex()
    if is_number != (name == "depth"):
        expected = "numbers" if name == "depth" else "bool"
        raise TypeError(f"{name}: expected {expected}, got {value.dtype}")
    result = torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value
    while result.dim() > 2 and result.shape[0] == 1:
        result = result[0]
    result = result[..., 0] if result.dim() == 3 and result.shape[-1] == 1 else result
    return result.float() if name == "depth" else result


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


def prepare_generator(generator: Any) -> torch.Generator:
    """Return the generator of a session.

    Args:
        generator: a generator or a list of one. For None, a new one is seeded from PyTorch's default generator.

    Raises:
        TypeError: it is something else.
        ValueError: it is a list of more than one.
    """
    generator = one_of_list("generator", generator)
    if generator is None:
        seed = int(torch.randint(2**63 - 1, (), dtype=torch.int64, device="cpu"))
        return torch.Generator(device="cpu").manual_seed(seed)
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator: expected one torch.Generator, got {type(generator).__name__}")
    return generator
